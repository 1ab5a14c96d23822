"use strict";

/** A board, from its heading to its provenance. */
function showBoard(board, main) {
  const state = initial(board);
  const table = make("div");
  const tasks = make("div");
  const bars = make("div", { class: "charts" });
  const curves = make("div");
  const drawTable = () => {
    table.replaceChildren(scrolling("Leaderboard", leaderboard(board, state, sortBy)));
    tasks.replaceChildren(taskList(board, state));
  };
  const sortBy = ({ task, metric }) => {
    const same = state.sort.task === task && state.sort.metric === metric;
    const first = metric === "name" || (METRICS[metric]?.lower ?? false);
    state.sort = { task, metric, ascending: same ? !state.sort.ascending : first };
    drawTable();
    table.querySelector(`[data-column="${CSS.escape(`${task}/${metric}`)}"] button`).focus();
  };
  let drawn = "";
  const changed = () => {
    drawTable();
    const wanted = [...state.tasks].join(" ");
    if (wanted !== drawn) bars.replaceChildren(...barFigures(board, state));
    else refresh(bars);
    drawn = wanted;
    refresh(curves);
    points.draw();
  };
  const points = operatingSection(board, state);
  curves.replaceChildren(...curveFigures(board, state));
  main.replaceChildren(
    make("h1", {}, board.suite, make("small", {}, board.extent)),
    make("p", {}, board.summary),
    make("h2", { id: "leaderboard", class: "unseen" }, "Leaderboard"),
    controls(board, state, changed),
    table,
    make("p", { class: "note sideways" }, "The table moves sideways."),
    make(
      "p",
      { class: "note" },
      "In percent. FPR@95 is the share of OOD images that are accepted where 95 % of ID images are kept: the lower, the better. AUROC is " +
        "the chance that an ID image scores higher than an OOD image: the higher, the better; 50 is guessing. Bold on a tint: the best of " +
        "the rows shown. †: flagged, and off by one point at most; ‡: flagged, and off by more or by nobody knows how much; under Flags stands how far such a number can be believed.",
    ),
    tasks,
    make("h2", { id: "sets" }, "FPR@95 by task and set"),
    bars,
    ...(curves.hasChildNodes() ? [make("h2", { id: "radii" }, "Over the radius of the attack"), curves] : []),
    make("h2", { id: "operating" }, "Operating points"),
    ...points.parts,
    make("h2", { id: "details" }, "Detectors in detail"),
    make("p", { class: "note" }, "ROC curves, scores, and images that passed: open a row."),
    ...board.rows.map((row) => cell(board, row)),
    make("h2", { id: "flags" }, "Flags"),
    ...flagsOf(board),
    make("h2", { id: "provenance" }, "Provenance"),
    ...board.rows.map(provenanceOf),
  );
  changed();
}

function barFigures(board, state) {
  const sets = () => board.views[state.view];
  return shownTasks(board, state).map((task) =>
    figure(`FPR@95 under ${task.name}`, task.name, (width) => {
      const rows = sorted(shownRows(board, state), state.sort, state.view);
      return rows.length ? barsBySet(rows, task.name, sets(), width) : null;
    }),
  );
}

function curveFigures(board, state) {
  const bases = [...new Set(board.tasks.map((task) => task.curve).filter(Boolean))];
  return bases
    .map((base) => [base, board.tasks.filter((task) => task.point === base)])
    .filter(([, tasks]) => tasks.length > 1)
    .map(([base, tasks]) =>
      make(
        "div",
        { class: "charts curves" },
        ...["fpr95", "auroc"].map((metric) =>
          figure(`${METRICS[metric].title} over radii, ${base}`, `${base}: ${METRICS[metric].title} ${arrow(metric)}`, (width) =>
            overRadii(shownRows(board, state), tasks, state.view, metric, width),
          ),
        ),
      ),
    );
}

function flagsOf(board) {
  const found = board.rows.flatMap((row) =>
    Object.entries(row.flags).map(([task, said]) => ({ row, task, said, severity: row.severity[task] ?? 0 })),
  );
  found.sort((one, other) => other.severity - one.severity);
  const lines = found.map(({ row, task, said }) => make("li", {}, make("b", {}, `${row.name}, ${task}: `), `${said.join("; ")}.`));
  const attacked = board.tasks.some((task) => task.attack);
  if (!lines.length) return [make("p", {}, attacked ? "No attack was flagged." : "Nothing was attacked, and nothing was flagged.")];
  return [
    make("p", { class: "note" }, "Every attack is measured. What follows is what those measurements warn of; an attack that failed makes a detector look better than it is."),
    make("ul", { class: "flags" }, ...lines),
  ];
}

function provenanceOf(row) {
  const lines = Object.entries(row.provenance).flatMap(([heading, text]) => [make("dt", {}, heading), make("dd", {}, text)]);
  return make("details", {}, make("summary", {}, make("span", { class: "name" }, row.name)), make("div", { class: "inside" }, make("dl", {}, ...lines)));
}

/** Dark or light as the system has it, until the button says otherwise. */
function themeButton(button) {
  const system = matchMedia("(prefers-color-scheme: dark)");
  let dark = system.matches;
  const show = () => {
    button.textContent = dark ? "Light" : "Dark";
    button.setAttribute("aria-label", `Show the page ${dark ? "light" : "dark"}`);
    document.documentElement.style.colorScheme = dark === system.matches ? "" : dark ? "dark" : "light";
  };
  button.addEventListener("click", () => {
    dark = !dark;
    show();
  });
  system.addEventListener("change", () => {
    dark = system.matches;
    show();
  });
  show();
}

function start({ oodbench, boards }) {
  const main = document.getElementById("main");
  boards.flatMap((board) => board.rows).forEach((row, number) => (row.id = `row-${number}`));
  const first = boards.toSorted((one, other) => one.changed - other.changed || other.rows.length - one.rows.length)[0];
  const titles = boards.map((board, number) => `${number + 1}. ${board.suite}, ${board.extent}`);
  if (boards.length > 1) {
    const choose = (title) => showBoard(boards[titles.indexOf(title)], main);
    document.getElementById("which").append(select("Results", titles, titles[boards.indexOf(first)], choose));
  }
  showBoard(first, main);
  document.getElementById("colophon").append(
    make("p", {}, `Made by oodbench ${oodbench} from stored scores. Metrics in its default convention. ROC curves are thinned to within 0.2 % of the axis; ` +
      "the outermost bars of a histogram hold all scores beyond them."),
    make("p", {}, "Charts by Observable Plot and D3 (ISC licence). This page loads nothing from elsewhere."),
  );
  themeButton(document.getElementById("theme"));
}

start(JSON.parse(document.getElementById("data").textContent));
