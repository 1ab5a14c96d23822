"use strict";

/** Thresholds with a promise: what was promised against what is delivered, for the rows, tasks and view that are shown. */
function operatingTable(board, state) {
  const tasks = shownTasks(board, state);
  const rows = sorted(shownRows(board, state), state.sort, state.view);
  const point = (row) => row.operating.find((one) => one.keep === state.keep);
  const attacked = (task) => rows.some((row) => point(row).id_rejected_attacked[task.name]);
  const heads = tasks.flatMap((task) => [
    make("th", { scope: "col" }, `${task.name}: OOD rejected ↑`),
    attacked(task) ? make("th", { scope: "col" }, `${task.name}: ID rejected ↓`) : null,
  ]);
  const head = make(
    "tr",
    {},
    make("th", { scope: "col", class: "first" }, "detector"),
    make("th", { scope: "col" }, "threshold"),
    make("th", { scope: "col" }, "ID rejected, promised"),
    make("th", { scope: "col" }, "ID rejected, delivered"),
    ...heads.filter(Boolean),
  );
  const body = rows.map((row) => {
    const found = point(row);
    const name = make("th", { scope: "row" }, row.name);
    if (found.note) return make("tr", {}, name, make("td", { colspan: 3 + heads.filter(Boolean).length, class: "missing" }, `none: ${found.note}`));
    const cells = tasks.flatMap((task) => [
      operatingCell(found.caught[task.name]?.[state.view], markOf(row, task.name, state.view)),
      attacked(task) ? operatingCell(found.id_rejected_attacked[task.name], markOf(row, task.name, state.view)) : null,
    ]);
    return make(
      "tr",
      {},
      name,
      make("td", {}, found.threshold.toString()),
      make("td", {}, `≤ ${percent(1 - found.keep)}`),
      operatingCell(found.id_rejected),
      ...cells.filter(Boolean),
    );
  });
  return make("table", { id: "points" }, make("thead", {}, head), make("tbody", {}, ...body));
}

function operatingCell(value, mark) {
  if (value == null) return make("td", { class: "missing" }, "–", unseen("not measured"));
  const flagged = mark ? [make("span", { "aria-hidden": "true" }, mark), unseen(" flagged")] : [];
  const interval = value.low == null ? null : make("span", { class: "interval" }, value.interval);
  return make("td", {}, value.text, ...flagged, interval);
}

/** The section: a choice of the promise, the table, and what it means. */
function operatingSection(board, state, remember) {
  const known = keeps(board);
  const box = make("div");
  const draw = () => box.replaceChildren(scrolling("Operating points", operatingTable(board, state)));
  const choose = (text) => {
    state.keep = known.find((keep) => kept(keep) === text);
    draw();
    remember();
  };
  const chosen = make("div", { class: "controls" }, select("ID images kept", known.map(kept), kept(state.keep), choose));
  const counts = [...new Set(board.rows.flatMap((row) => row.operating.map((one) => one.n_chosen_on)))].filter(Boolean);
  const note = make(
    "p",
    { class: "note" },
    `In percent. Each threshold was chosen on a random half of the ID test images (${counts.join(" or ")} images) so that, in expectation over them, no ` +
      "larger share of ID images than promised scores lower and is rejected. What is delivered is counted on the other half; below it stands its 95 % interval. The " +
      "promise is one for ID images as they are: what an attack makes of ID and OOD images is measured, and nothing is promised of it. " +
      "OOD rejected: the share of OOD images that the same threshold rejects, the higher, the better.",
  );
  return { parts: [chosen, box, note], draw };
}

const kept = (keep) => `${Number((100 * keep).toFixed(4))} %`;
