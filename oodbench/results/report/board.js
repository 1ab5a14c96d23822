"use strict";

/** What of a board is shown, and in which order: changed by its controls alone. */
function initial(board) {
  const attacked = board.tasks.find((task) => task.attack && !task.curve);
  const task = attacked ?? board.tasks[0];
  const views = Object.keys(board.views);
  const whole = (view) => board.rows.some((row) => Object.values(row.means).some((means) => means[view]));
  return {
    text: "",
    view: views.find(whole),
    tasks: new Set(board.tasks.filter((one) => !one.curve || board.tasks.every((other) => other.curve)).map((one) => one.name)),
    sort: { task: task.name, metric: "fpr95", ascending: true },
  };
}

const shownTasks = (board, state) => board.tasks.filter((task) => state.tasks.has(task.name));

/** Rows whose name has one of the words that were typed. */
function shownRows(board, state) {
  const words = state.text.toLowerCase().split(/[\s,]+/).filter(Boolean);
  return board.rows.filter((row) => !words.length || words.some((word) => row.name.toLowerCase().includes(word)));
}

/** What a column holds of a row, null where there is nothing to compare. */
function valueOf(row, { task, metric }, view) {
  if (metric === "name") return row.name;
  if (metric === "accuracy") return row.accuracy;
  return row.means[task]?.[view]?.[metric].value ?? null;
}

/** Rows in order; those without a value come last, whichever way it goes. */
function sorted(rows, sort, view) {
  const sign = sort.ascending ? 1 : -1;
  const compare = (one, other) => (typeof one === "string" ? one.localeCompare(other) : one - other);
  return rows.toSorted((a, b) => {
    const [one, other] = [valueOf(a, sort, view), valueOf(b, sort, view)];
    if (one === null || other === null) return (one === null) - (other === null);
    return sign * compare(one, other);
  });
}

/** What is printed of a row in a column. */
const textOf = (row, { task, metric }, view) => (metric === "accuracy" ? row.accuracy_text : row.means[task][view][metric].text);

/** Whether a row's value may be the best of a column: it stands beside the others, and is not known to be worse. */
const competes = (row, column) => !row.apart[column.task] && !row.doubted.includes(column.task);

/** The best value of a column, as printed; null where rows were not done the same, so that none is better than another. */
function best(rows, column, view, task) {
  const rivals = rows.filter((row) => valueOf(row, column, view) !== null && competes(row, column));
  const values = rivals.map((row) => Number(textOf(row, column, view)));
  if (new Set(values).size < 2 || (task && task.threats.length > 1)) return null;
  return METRICS[column.metric]?.lower ? Math.min(...values) : Math.max(...values);
}

function controls(board, state, changed) {
  const set = (change) => (value) => {
    change(value);
    changed();
  };
  const search = make("input", {
    type: "search",
    id: "filter",
    placeholder: "all",
    autocomplete: "off",
    oninput: (event) => set((text) => (state.text = text))(event.target.value),
  });
  const choose = (task) => (event) => set((on) => (on ? state.tasks.add(task.name) : state.tasks.delete(task.name)))(event.target.checked);
  const tasks = board.tasks.map((task) =>
    make("label", { class: "choice" }, make("input", { type: "checkbox", checked: state.tasks.has(task.name), onchange: choose(task) }), task.name),
  );
  const views = Object.keys(board.views);
  return make(
    "div",
    { class: "controls" },
    make("label", {}, "Detector", search),
    select("OOD images", views, state.view, set((view) => (state.view = view))),
    make("fieldset", {}, make("legend", {}, "Tasks"), ...tasks),
  );
}

/** The table; `sortBy` is told a column. */
function leaderboard(board, state, sortBy) {
  const tasks = shownTasks(board, state);
  const rows = sorted(shownRows(board, state), state.sort, state.view);
  const columns = [
    ...tasks.flatMap((task) => ["fpr95", "auroc"].map((metric) => ({ task: task.name, metric, of: task }))),
    { task: "", metric: "accuracy", of: null },
  ].map((column) => ({ ...column, best: best(rows, column, state.view, column.of) }));
  const heading = (column, title, ways, classes) => {
    const active = state.sort.task === column.task && state.sort.metric === column.metric;
    const direction = active ? (state.sort.ascending ? "ascending" : "descending") : null;
    const sign = make("span", { class: "arrow", "aria-hidden": "true" }, active ? (state.sort.ascending ? "▴" : "▾") : "");
    const label = [column.task, title].filter(Boolean).join(" ");
    const button = make("button", { type: "button", "aria-label": `Sort by ${label}`, onclick: () => sortBy(column) }, `${title}${ways}`, sign);
    return make("th", { scope: "col", "aria-sort": direction, class: classes, "data-column": `${column.task}/${column.metric}` }, button);
  };
  const head = make(
    "thead",
    {},
    make("tr", {}, make("td", { class: "first" }), ...tasks.map((task) => make("th", { scope: "colgroup", colspan: 2 }, task.name)), make("td")),
    make(
      "tr",
      {},
      heading({ task: "", metric: "name" }, "detector", "", "first"),
      ...columns.map((column) =>
        column.metric === "accuracy"
          ? heading(column, "ID accuracy", " ↑", "opens")
          : heading(column, METRICS[column.metric].title, ` ${arrow(column.metric)}`, column.metric === "fpr95" ? "opens" : null),
      ),
    ),
  );
  const body = rows.map((row) =>
    make(
      "tr",
      {},
      make("th", { scope: "row" }, make("a", { href: `#${row.id}`, onclick: () => openCell(row.id) }, row.name)),
      ...columns.map((column) => boardCell(row, column, state.view)),
    ),
  );
  const caption = make("caption", { class: "unseen" }, `Detectors by task, mean over ${state.view}, in percent`);
  return make("table", { id: "board" }, caption, head, make("tbody", {}, ...body, ...board.troubled.map((one) => troubledRow(one, columns.length))));
}

function boardCell(row, column, view) {
  const opens = column.metric !== "auroc" ? "opens" : "";
  const value = valueOf(row, column, view);
  if (value === null) {
    const why = column.metric === "accuracy" ? "unknown" : row.means[column.task] ? "incomplete" : "–";
    return make("td", { class: `${opens} missing` }, why, why === "–" ? unseen("not measured") : null);
  }
  const text = textOf(row, column, view);
  const apart = row.apart[column.task];
  const isBest = competes(row, column) && column.best !== null && Number(text) === column.best;
  const flagged = column.task && (row.flags[column.task] ?? (row.marks[column.task] && ["its curve over radii is flagged"]));
  const mean = column.task ? row.means[column.task][view][column.metric] : {};
  const interval = mean.low == null ? null : make("span", { class: "interval" }, mean.interval);
  return make(
    "td",
    { class: isBest ? `${opens} best` : opens },
    text,
    isBest ? unseen(" best") : null,
    flagged ? make("span", { "aria-hidden": "true", title: flagged.join("; ") }, row.marks[column.task] ?? "†") : null,
    flagged ? unseen(" flagged") : null,
    interval,
    apart && column.metric === "fpr95" ? make("span", { class: "interval" }, apart) : null,
  );
}

/** A row for a detector that failed or whose scores are all stale: what is the matter, where its values would be. */
const troubledRow = ([name, why], columns) =>
  make("tr", { class: "troubled" }, make("th", { scope: "row" }, name), make("td", { colspan: columns, class: "opens missing" }, why));

/** What each task does, whether rows did the same, and what their values rest on. */
function taskList(board, state) {
  const lines = shownTasks(board, state).flatMap((task) => [
    make("dt", {}, task.name),
    make("dd", {}, task.threats.length > 1 ? `Rows differ, so none is marked as best: ${task.threats.join(" / ")}.` : `${task.threats[0]}.`),
  ]);
  const basis = Object.entries(board.basis).flatMap(([heading, text]) => [make("dt", {}, heading), make("dd", {}, `${text}.`)]);
  return make("dl", {}, ...lines, ...basis);
}
