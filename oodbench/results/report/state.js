"use strict";

/** What of a board is shown, and in which order, before anybody chose. */
function initial(board) {
  const measured = (task) => board.rows.filter((row) => row.means[task.name]).length;
  const attacks = board.tasks.filter((task) => task.attack && !task.curve).sort((one, other) => measured(other) - measured(one));
  const task = attacks[0] ?? board.tasks[0];
  const views = Object.keys(board.views);
  const whole = (view) => board.rows.some((row) => Object.values(row.means).some((means) => means[view]));
  const sort = { task: task.name, metric: "fpr95", ascending: true };
  return {
    text: "",
    view: views.find(whole) ?? views[0],
    tasks: new Set(board.tasks.filter((one) => !one.curve || board.tasks.every((other) => other.curve)).map((one) => one.name)),
    sort,
    ranked: sort, // the column that ranks are of: the one it was sorted by last that holds numbers
    metric: "fpr95",
    intervals: false,
    keep: keeps(board)[0],
    row: "",
  };
}

/** The promises of which a board has operating points. */
const keeps = (board) => [...new Set(board.rows.flatMap((row) => row.operating.map((one) => one.keep)))];

const LEADING = ["fpr95", "auroc"];

/** Which way a column is sorted at first: the best on top, names from a to z. */
const risesAtFirst = (metric) => metric === "name" || (METRICS[metric]?.lower ?? false);

/** The state as the page's address holds it: whatever differs from what is shown at first. */
function addressOf(board, state, number) {
  const usual = initial(board);
  const found = new URLSearchParams();
  if (number !== null) found.set("results", number + 1);
  if (state.text) found.set("filter", state.text);
  if (state.view !== usual.view) found.set("view", state.view);
  if (state.metric !== usual.metric) found.set("metric", state.metric);
  if (state.intervals) found.set("intervals", "on");
  if (state.keep !== usual.keep) found.set("keep", state.keep);
  const { task, metric, ascending } = state.sort;
  if (task !== usual.sort.task || metric !== usual.sort.metric) found.set("sort", `${task}/${metric}`);
  if (ascending !== risesAtFirst(metric)) found.set("order", ascending ? "rising" : "falling");
  if ([...state.tasks].sort().join("\n") !== [...usual.tasks].sort().join("\n")) {
    for (const name of state.tasks) found.append("task", name);
    if (!state.tasks.size) found.append("task", "");
  }
  if (state.row) found.set("row", state.row);
  return found.toString();
}

/** The state that an address asks for; whatever in it does not exist here counts as not said. */
function stateOf(board, address) {
  const asked = new URLSearchParams(address);
  const state = initial(board);
  const among = (name, known, usual) => (known.includes(asked.get(name)) ? asked.get(name) : usual);
  state.text = asked.get("filter") ?? "";
  state.view = among("view", Object.keys(board.views), state.view);
  state.metric = among("metric", LEADING, state.metric);
  state.intervals = asked.get("intervals") === "on";
  state.keep = keeps(board).find((keep) => String(keep) === asked.get("keep")) ?? state.keep;
  const names = board.tasks.map((task) => task.name);
  if (asked.has("task")) state.tasks = new Set(asked.getAll("task").filter((name) => names.includes(name)));
  const columns = [...names.flatMap((name) => LEADING.map((metric) => [name, metric])), ["", "accuracy"], ["", "name"]];
  const column = columns.find(([task, metric]) => `${task}/${metric}` === asked.get("sort"));
  if (column) state.sort = { task: column[0], metric: column[1], ascending: risesAtFirst(column[1]) };
  if (["rising", "falling"].includes(asked.get("order"))) state.sort = { ...state.sort, ascending: asked.get("order") === "rising" };
  if (state.sort.metric !== "name") state.ranked = state.sort;
  state.row = among("row", board.rows.map((row) => row.name), "");
  return state;
}

/** Put an address behind the page's own, so that a reload or a copied link shows the same. */
function writeAddress(address) {
  try {
    history.replaceState(null, "", address ? `#${address}` : location.href.split("#")[0]);
  } catch {
    // Where the page is shown inside another one, or the browser finds that it was asked too often.
  }
}
