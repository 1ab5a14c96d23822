"use strict";

/** The section that puts this board beside other results: what both have, and what differs; `choice` is of the metric. */
function againstSection(board, state, choice) {
  const { name, only_here: here, only_there: there } = board.against;
  const box = make("div");
  const counts = make("p");
  const draw = () => {
    counts.textContent = againstCounts(board, state);
    box.replaceChildren(scrolling(`Beside ${name}`, againstTable(board, state)));
  };
  return {
    parts: [
      make("h2", { id: "against" }, `Beside ${name}`),
      counts,
      choice,
      box,
      make(
        "p",
        { class: "note" },
        `In percent; differences in points, here less there, with 95 % intervals over images. ▲ better here and ▼ worse here: the interval leaves zero out. ` +
          "≈: no more apart than other images of these kinds would put them. =: the very same scores. ?: a figure here or there is flagged as too good or as not to be " +
          "believed († off by one point at most, ‡ by more), so that the difference says of none that it is better. An attack moves images against each network's own score.",
      ),
      ...(here.length ? [make("p", {}, `Only here: ${listed(here)}.`)] : []),
      ...(there.length ? [make("p", {}, `Only in ${name}: ${listed(there)}.`)] : []),
    ],
    draw,
  };
}

/** What a difference comes to; nothing better or worse where a figure behind it is `doubted`. */
function kindOf(delta, metric, doubted) {
  if (delta.value === 0 && delta.low === 0 && delta.high === 0) return { sign: "=", said: "the same", counts: "same" };
  if (doubted) return { sign: "?", said: "flagged, not compared", counts: "flagged" };
  if (delta.low <= 0 && delta.high >= 0) return { sign: "≈", said: "no more than chance", counts: "chance" };
  return delta.value < 0 === METRICS[metric].lower ? { sign: "▲", said: "better here", counts: "better" } : { sign: "▼", said: "worse here", counts: "worse" };
}

/** Whether a figure here or there is too good, or not to be believed. */
const eitherDoubted = (row, other, task, view) => [row, other].some((one) => doubts(one, task, view));

function againstCounts(board, state) {
  const found = { same: 0, chance: 0, better: 0, worse: 0, flagged: 0 };
  const here = new Map(board.rows.map((row) => [row.name, row]));
  for (const row of board.against.rows) {
    for (const [task, views] of Object.entries(row.deltas)) {
      const doubted = eitherDoubted(here.get(row.name), row, task, state.view);
      for (const metric of LEADING) if (views[state.view]) found[kindOf(views[state.view][metric], metric, doubted).counts] += 1;
    }
  }
  const rows = board.against.rows.length;
  const all = Object.values(found).reduce((sum, count) => sum + count);
  const apart = board.against.rows.filter((row) => row.left_out.length).length;
  const both = `${rows} ${rows === 1 ? "row is" : "rows are"} in both${apart ? `, ${apart} of which could not be compared, or not in everything` : ""}.`;
  if (!all) return both;
  const flagged = found.flagged ? ` ${found.flagged} are flagged, here or there, and not compared.` : "";
  return `${both} Of ${all} figures, means over ${state.view}, ${found.same} are the very same, ${found.chance} differ by no more than chance, ${found.better} are better here and ${found.worse} worse.${flagged}`;
}

function againstTable(board, state) {
  const tasks = shownTasks(board, state);
  const compared = new Map(board.against.rows.map((row) => [row.name, row]));
  const rows = sorted(shownRows(board, state), state.sort, state.view).filter((row) => compared.has(row.name));
  const columns = tasks.map((task) => ({ task: task.name, metric: state.metric }));
  const head = make(
    "thead",
    {},
    make("tr", {}, make("td", { class: "first" }), ...columns.map(({ task, metric }) => make("th", { scope: "colgroup", colspan: 3 }, `${task}: ${METRICS[metric].title} ${arrow(metric)}`)), make("td", {})),
    make(
      "tr",
      {},
      make("th", { scope: "col", class: "first" }, "detector"),
      ...columns.flatMap(() => [make("th", { scope: "col", class: "opens" }, "here"), make("th", { scope: "col" }, "there"), make("th", { scope: "col" }, "difference")]),
      make("th", { scope: "col", class: "left opens" }, "what else differs"),
    ),
  );
  const body = rows.map((row) => againstRow(row, compared.get(row.name), columns, state));
  return make("table", { id: "beside" }, head, make("tbody", {}, ...body));
}

/** A figure with the sign of what it is flagged of. */
function markedCell(value, row, task, view, classes) {
  const mark = markOf(row, task, view);
  const why = `Over all OOD sets: ${whyMarked(row, task)}`;
  return make("td", { class: classes }, value.text, ...(mark ? [make("span", { "aria-hidden": "true", title: why }, mark), unseen(" flagged")] : []));
}

function againstRow(row, other, columns, state) {
  const cells = columns.flatMap(({ task, metric }) => {
    const [ours, theirs, delta] = [row.means, other.means, other.deltas].map((found) => found[task]?.[state.view]?.[metric]);
    const none = () => make("td", { class: "missing" }, "–", unseen("not measured"));
    const differs = delta ? kindOf(delta, metric, eitherDoubted(row, other, task, state.view)) : null;
    const changed = differs && ["▲", "▼"].includes(differs.sign);
    return [
      ours ? markedCell(ours, row, task, state.view, "opens") : none(),
      theirs ? markedCell(theirs, other, task, state.view, null) : none(),
      delta
        ? make(
            "td",
            { class: changed ? "differs" : null },
            `${delta.text} `,
            make("span", { "aria-hidden": "true", title: differs.said }, differs.sign),
            unseen(differs.said),
            state.intervals && differs.sign !== "=" ? make("span", { class: "interval" }, delta.interval) : null,
          )
        : none(),
    ];
  });
  return make("tr", {}, make("th", { scope: "row" }, row.name), ...cells, make("td", { class: "what" }, whatDiffers(other)));
}

function whatDiffers(other) {
  if (!other.changed.length && !other.left_out.length) return "nothing";
  const heads = other.changed.map(([heading]) => heading);
  const lines = other.changed.flatMap(([heading, here, there]) => [make("dt", {}, heading), make("dd", {}, `here: ${here}\nthere: ${there}`)]);
  const more = other.left_out.map((text) => make("p", { class: "note" }, `Not compared: ${text}.`));
  return make("details", { class: "small" }, make("summary", {}, listed([...heads, ...(more.length ? ["not compared"] : [])])), make("dl", {}, ...lines), ...more);
}
