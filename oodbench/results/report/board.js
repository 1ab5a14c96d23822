"use strict";

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

/** Rows in order; those without a value come last, whichever way it goes, and before them those that are not to be believed. */
function sorted(rows, sort, view) {
  const sign = sort.ascending ? 1 : -1;
  const compare = (one, other) => (typeof one === "string" ? one.localeCompare(other) : one - other);
  return rows.toSorted((a, b) => {
    const [one, other] = [valueOf(a, sort, view), valueOf(b, sort, view)];
    if (one === null || other === null) return (one === null) - (other === null);
    const doubted = doubts(a, sort.task, view) - doubts(b, sort.task, view);
    if (doubted) return doubted;
    return sign * compare(one, other);
  });
}

/** What is printed of a row in a column. */
const textOf = (row, { task, metric }, view) => (metric === "accuracy" ? row.accuracy_text : row.means[task][view][metric].text);

/** Whether a row's value may be the best of a column: it stands beside the others, and is not known to be worse. */
const competes = (row, column, view) => !row.apart[column.task] && !doubts(row, column.task, view);

/** Whether the figure of a task may be the best of no column: it is not to be believed, or known to be too good. */
const doubts = (row, task, view) => row.signs[view]?.doubted.includes(task) ?? false;

/** The sign beside the figure of a task, where something is flagged of the sets that it is a mean over. */
const markOf = (row, task, view) => row.signs[view]?.marks[task];

/** What is flagged, for a reader who points at the sign: it is said of the means over all sets. */
const whyMarked = (row, task) => row.flags[task]?.map((flag) => flag.text).join("; ") ?? "its curve over radii, or one of its OOD sets, is flagged";

/** Whether the rows of a column were done the same, so that one can be better than another. */
const comparable = (board, column) => (board.tasks.find((task) => task.name === column.task)?.threats.length ?? 1) < 2;

/** The best value of a column, as printed; null where rows were not done the same, so that none is better than another. */
function best(board, rows, column, view) {
  const rivals = rows.filter((row) => valueOf(row, column, view) !== null && competes(row, column, view));
  const values = rivals.map((row) => Number(textOf(row, column, view)));
  if (new Set(values).size < 2 || !comparable(board, column)) return null;
  return METRICS[column.metric]?.lower ? Math.min(...values) : Math.max(...values);
}

/**
 * The place of every row of the board in a column, the best first, whatever is filtered. Equal figures share a place;
 * those that are not to be believed, or stand apart, have none.
 */
function ranks(board, column, view) {
  if (!comparable(board, column)) return new Map();
  const rivals = board.rows.filter((row) => valueOf(row, column, view) !== null && competes(row, column, view));
  const sign = METRICS[column.metric]?.lower ? 1 : -1;
  const figure = (row) => sign * Number(textOf(row, column, view));
  return new Map(rivals.map((row) => [row, 1 + rivals.filter((other) => figure(other) < figure(row)).length]));
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
    value: state.text,
    oninput: (event) => set((text) => (state.text = text))(event.target.value),
  });
  const choose = (task) => set((on) => (on ? state.tasks.add(task.name) : state.tasks.delete(task.name)));
  const tasks = board.tasks.map((task) => checkbox(task.name, state.tasks.has(task.name), choose(task)));
  const views = Object.keys(board.views);
  return make(
    "div",
    { class: "controls" },
    make("label", {}, "Detector", search),
    select("OOD images", views, state.view, set((view) => (state.view = view))),
    make("fieldset", {}, make("legend", {}, "Tasks"), ...tasks),
    make("fieldset", {}, make("legend", {}, "Show"), checkbox("95 % intervals", state.intervals, set((on) => (state.intervals = on)))),
  );
}

/** The columns of a board from left to right; where the table is too wide, the one it is sorted by is the first. */
function columnsOf(board, state, sortedFirst) {
  const groups = shownTasks(board, state).map((task) => ({ name: task.name, columns: LEADING.map((metric) => ({ task: task.name, metric })) }));
  groups.push({ name: "", columns: [{ task: "", metric: "accuracy" }] });
  if (!sortedFirst || state.sort.metric === "name") return groups;
  const chosen = (column) => column.task === state.sort.task && column.metric === state.sort.metric;
  const ahead = (is) => (one, other) => is(other) - is(one);
  for (const group of groups) group.columns.sort(ahead(chosen));
  return groups.sort(ahead((group) => group.columns.some(chosen)));
}

/** The table; `sortBy` is told a column. */
function leaderboard(board, state, sortBy, sortedFirst) {
  const groups = columnsOf(board, state, sortedFirst);
  const rows = sorted(shownRows(board, state), state.sort, state.view);
  const places = ranks(board, state.ranked, state.view);
  const columns = groups.flatMap((group) =>
    group.columns.map((column, number) => ({ ...column, opens: number === 0, best: best(board, rows, column, state.view) })),
  );
  const heading = (column, title, ways, classes) => {
    const active = state.sort.task === column.task && state.sort.metric === column.metric;
    const direction = active ? (state.sort.ascending ? "ascending" : "descending") : null;
    const sign = make("span", { class: "arrow", "aria-hidden": "true" }, active ? (state.sort.ascending ? "▴" : "▾") : "");
    const label = [column.task, title].filter(Boolean).join(" ");
    const button = make("button", { type: "button", "aria-label": `Sort by ${label}`, onclick: () => sortBy(column) }, `${title}${ways}`, sign);
    const printed = make("span", { class: "on-paper", "aria-hidden": "true" }, `${title}${ways}`);
    return make("th", { scope: "col", "aria-sort": direction, class: classes, "data-column": `${column.task}/${column.metric}` }, button, printed);
  };
  const { task, metric } = state.ranked;
  const ranked = [task, METRICS[metric]?.title ?? "ID accuracy"].filter(Boolean).join(" ");
  const head = make(
    "thead",
    {},
    make(
      "tr",
      {},
      make("td", {}),
      make("td", { class: "first" }),
      ...groups.map((group) => (group.name ? make("th", { scope: "colgroup", colspan: group.columns.length }, group.name) : make("td", {}))),
    ),
    make(
      "tr",
      {},
      make("th", { scope: "col", class: "rank", title: `By ${ranked}` }, "#", unseen(` rank by ${ranked}`)),
      heading({ task: "", metric: "name" }, "detector", "", "first"),
      ...columns.map((column) =>
        column.metric === "accuracy"
          ? heading(column, "ID accuracy", " ↑", "opens")
          : heading(column, METRICS[column.metric].title, ` ${arrow(column.metric)}`, column.opens ? "opens" : null),
      ),
    ),
  );
  const body = rows.map((row) =>
    make(
      "tr",
      {},
      make("td", { class: "rank" }, places.has(row) ? `${places.get(row)}` : "–", places.has(row) ? null : unseen("not ranked")),
      make("th", { scope: "row" }, rowLink(row), row.outliers ? outliersMark() : null),
      ...columns.map((column) => boardCell(row, column, state)),
    ),
  );
  const caption = make("caption", { class: "unseen" }, `Detectors by task, mean over ${state.view}, in percent, ranked by ${ranked}`);
  return make("table", { id: "board" }, caption, head, make("tbody", {}, ...body, ...board.troubled.map((one) => troubledRow(one, columns.length))));
}

const rowLink = (row) => make("a", { href: `#${row.id}`, "data-row": row.name }, row.name);

const outliersMark = () => make("span", { class: "tag", title: "its method trains the network with outliers: OOD images, other ones than it is tested on" }, "outliers");

function boardCell(row, column, state) {
  const opens = column.opens ? "opens" : "";
  const value = valueOf(row, column, state.view);
  if (value === null) {
    const why = column.metric === "accuracy" ? "unknown" : row.means[column.task] ? "incomplete" : "–";
    return make("td", { class: `${opens} missing` }, why, why === "–" ? unseen("not measured") : null);
  }
  const text = textOf(row, column, state.view);
  const apart = row.apart[column.task];
  const isBest = competes(row, column, state.view) && column.best !== null && Number(text) === column.best;
  const mark = markOf(row, column.task, state.view);
  const mean = column.task ? row.means[column.task][state.view][column.metric] : {};
  const interval = state.intervals && mean.low != null ? make("span", { class: "interval" }, mean.interval) : null;
  return make(
    "td",
    { class: isBest ? `${opens} best` : opens },
    text,
    isBest ? unseen(" best") : null,
    mark ? make("span", { "aria-hidden": "true", title: `Over all OOD sets: ${whyMarked(row, column.task)}` }, mark) : null,
    mark ? unseen(" flagged") : null,
    interval,
    apart && column.opens ? make("span", { class: "interval" }, apart) : null,
  );
}

/** A row for a detector that failed or whose scores are all stale: what is the matter, where its values would be. */
const troubledRow = ([name, why], columns) =>
  make(
    "tr",
    { class: "troubled" },
    make("td", { class: "rank" }, "–", unseen("not ranked")),
    make("th", { scope: "row" }, name),
    make("td", { colspan: columns, class: "opens missing" }, why),
  );

/** What each task does, whether rows did the same, and what their values rest on. */
function taskList(board, state) {
  const lines = shownTasks(board, state).flatMap((task) => [
    make("dt", {}, task.name),
    make("dd", {}, task.threats.length > 1 ? `Rows differ, so none is marked as best: ${task.threats.join(" / ")}.` : `${task.threats[0]}.`),
  ]);
  const basis = Object.entries(board.basis).flatMap(([heading, text]) => [make("dt", {}, heading), make("dd", {}, `${text}.`)]);
  return make("dl", {}, ...lines, ...basis);
}

/** The table as it is shown, for a spreadsheet: figures in percent with all their digits, their intervals and flags. */
function boardAsCsv(board, state) {
  const columns = columnsOf(board, state, false).flatMap((group) => group.columns);
  const places = ranks(board, state.ranked, state.view);
  const figure = (value) => (value == null ? "" : Number((100 * value).toPrecision(6)));
  const heads = columns.flatMap(({ task, metric }) =>
    metric === "accuracy" ? ["ID accuracy %"] : [`${task} ${metric} %`, `${task} ${metric} % low`, `${task} ${metric} % high`, ...(metric === LEADING.at(-1) ? [`${task} flag`] : [])],
  );
  const flag = (row, task) => (doubts(row, task, state.view) ? "too good or not to be believed" : markOf(row, task, state.view) ? "flagged" : "");
  const lines = sorted(shownRows(board, state), state.sort, state.view).map((row) => [
    places.get(row) ?? "",
    row.name,
    row.outliers === null ? "" : row.outliers ? "yes" : "no",
    ...columns.flatMap(({ task, metric }) => {
      if (metric === "accuracy") return [figure(row.accuracy)];
      const mean = row.means[task]?.[state.view]?.[metric];
      return [figure(mean?.value), figure(mean?.low), figure(mean?.high), ...(metric === LEADING.at(-1) ? [flag(row, task)] : [])];
    }),
  ]);
  return csv([["rank", "detector", "trains with outliers", ...heads], ...lines]);
}

/** Lines of CSV. A text that a spreadsheet would take for a formula is kept one by an apostrophe before it. */
function csv(lines) {
  const cell = (value) => {
    const text = typeof value === "string" && /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value);
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return lines.map((line) => `${line.map(cell).join(",")}\r\n`).join("");
}
