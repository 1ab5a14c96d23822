"use strict";

/**
 * A board, from its heading to its provenance.
 * `number` is its place among the boards, null where it is shown at first; `attacked` are others, of the same suite under
 * attack, where this one knows no attack: the board, its title and how to get there.
 */
function showBoard(board, main, state, number, attacked) {
  const verdict = make("div", { class: "verdict" });
  const table = make("div");
  const tasks = make("div");
  const setsTitle = make("h2", { id: "sets" });
  const bars = make("div", { class: "charts" });
  const curves = make("div");
  const drawTable = () => {
    const draw = (sortedFirst) => {
      const hint = "The table moves sideways. The column that it is sorted by stands first.";
      table.replaceChildren(scrolling("Leaderboard", leaderboard(board, state, sortBy, sortedFirst), hint));
    };
    draw(false);
    if (overflows(table.querySelector(".scroll"))) draw(true);
    tasks.replaceChildren(taskList(board, state));
  };
  const sortBy = ({ task, metric }) => {
    const same = state.sort.task === task && state.sort.metric === metric;
    state.sort = { task, metric, ascending: same ? !state.sort.ascending : risesAtFirst(metric) };
    if (metric !== "name") state.ranked = state.sort;
    changed();
    table.querySelector(`[data-column="${CSS.escape(`${task}/${metric}`)}"] button`).focus();
  };
  let drawn = "";
  const changed = () => {
    if (verdict.dataset.view !== state.view) verdict.replaceChildren(...verdictOf(board, state, attacked));
    verdict.dataset.view = state.view;
    drawTable();
    const wanted = [state.metric, ...state.tasks].join(" ");
    for (const choice of metricChoices) choice.querySelector("select").value = METRICS[state.metric].title;
    setsTitle.textContent = `${METRICS[state.metric].title} by task and set`;
    if (wanted === drawn) refresh(bars);
    else {
      bars.replaceChildren(...barFigures(board, state));
      drawWhenIdle();
    }
    drawn = wanted;
    refresh(curves);
    points.draw();
    beside?.draw();
    remember();
  };
  const remember = () => writeAddress(addressOf(board, state, number));
  const points = operatingSection(board, state, remember);
  const chooseMetric = (title) => {
    state.metric = LEADING.find((metric) => METRICS[metric].title === title);
    changed();
  };
  const titles = LEADING.map((metric) => METRICS[metric].title);
  const metricChoice = (label) => make("div", { class: "controls" }, select(label, titles, METRICS[state.metric].title, chooseMetric));
  const metricChoices = [metricChoice("Bars show"), metricChoice("Differences of")];
  const beside = board.against ? againstSection(board, state, metricChoices[1]) : null;
  const saveTable = () => save(`${fileName(board.suite, board.extent)}.csv`, "text/csv", boardAsCsv(board, state));
  curves.replaceChildren(...curveFigures(board, state));
  main.replaceChildren(
    make("h1", {}, board.suite, make("small", {}, board.extent)),
    make("p", {}, board.summary),
    verdict,
    make("h2", { id: "leaderboard", class: "unseen", tabindex: -1 }, "Leaderboard"),
    controls(board, state, changed),
    table,
    make("p", { class: "saves" }, plainButton("Save as CSV", "Save the table as it is shown as a CSV file", saveTable)),
    make(
      "p",
      { class: "note" },
      "In percent. FPR@95 is the share of OOD images that are accepted where 95 % of ID images are kept: the lower, the better. AUROC is " +
        "the chance that an ID image scores higher than an OOD image: the higher, the better; 50 is guessing. Bold on a tint: the best of " +
        "the rows shown. #: the place among all rows of the board, by the column that the table is sorted by; a figure that is not to be believed has none. " +
        "†: flagged, and off by one point at most; ‡: flagged, and off by more or by nobody knows how much; under Flags stands how far such a number can be believed." +
        (board.rows.some((row) => row.outliers) ? " outliers: the method trains its network with OOD images, other ones than it is tested on." : ""),
    ),
    tasks,
    ...(beside?.parts ?? []),
    setsTitle,
    metricChoices[0],
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
  table.addEventListener("click", (event) => {
    const name = event.target.closest("[data-row]")?.dataset.row;
    if (name === undefined) return;
    event.preventDefault();
    state.row = name;
    remember();
    openCell(board.rows.find((row) => row.name === name));
  });
  openCell(board.rows.find((row) => row.name === state.row));
  drawWhenIdle();
  return { redraw: drawTable, width: () => table.clientWidth };
}

/** What the rows come to: the most telling sentence first, which may be one about the same suite under attack. */
function verdictOf(board, state, attacked) {
  const sentences = board.verdicts[state.view] ?? [];
  const together = (text) => text.replaceAll(" %", "\u00a0%");
  const told = (said, leads) => [
    make("p", { class: leads ? "headline" : null }, together(said.text)),
    said.aside ? make("p", { class: "note" }, together(said.aside)) : null,
  ];
  const [first] = attacked;
  const elsewhere = first ? (first.board.verdicts[state.view] ?? Object.values(first.board.verdicts)[0])[0] : null;
  const [source, ...others] = attacked.map(({ title, go }) => plainButton(title, `Show results ${title}`, go));
  const rest = [
    others.length ? make("p", { class: "note elsewhere" }, "More attacks: ", ...others) : null,
    ...(elsewhere ? sentences : sentences.slice(1)).flatMap((said) => told(said, false)),
    sentences.length ? make("p", { class: "note rests" }, `AUROC: mean over ${state.view}.`) : null,
  ].filter(Boolean);
  // On a telephone the table is not to be far below.
  const folded = innerWidth < 640 && rest.length ? [make("details", { class: "small more" }, make("summary", {}, "More in words"), ...rest)] : rest;
  return [
    ...(elsewhere ? told(elsewhere, true) : sentences.slice(0, 1).flatMap((said) => told(said, true))),
    source ? make("p", { class: "note elsewhere" }, elsewhere ? "That is from the results " : "Under attack: ", source) : null,
    ...folded,
  ].filter(Boolean);
}

function barFigures(board, state) {
  const sets = () => board.views[state.view];
  const { metric } = state;
  return shownTasks(board, state).map((task) =>
    figure(`${METRICS[metric].title} under ${task.name}`, `${task.name}: ${METRICS[metric].title} ${arrow(metric)}`, (width) => {
      const rows = sorted(shownRows(board, state), state.sort, state.view);
      return rows.length ? barsBySet(rows, task.name, sets(), metric, state.intervals, width) : null;
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
        ...LEADING.map((metric) =>
          figure(`${METRICS[metric].title} over radii, ${base}`, `${base}: ${METRICS[metric].title} ${arrow(metric)}`, (width) =>
            overRadii(shownRows(board, state), tasks, state.view, metric, width),
          ),
        ),
      ),
    );
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
  const usual = boards.indexOf(boards.toSorted((one, other) => one.changed - other.changed || other.rows.length - one.rows.length)[0]);
  const titles = boards.map((board, number) => `${number + 1}. ${board.suite}, ${board.extent}`);
  let shown = null;
  const attacks = (board) => board.tasks.some((task) => task.attack);
  const images = (board) => Math.max(...board.rows.flatMap((row) => row.panels.map((panel) => panel.n_ood)));
  const elsewhere = (board) =>
    (attacks(board) ? [] : boards)
      .map((other, place) => ({ board: other, title: titles[place], go: () => show(place, "") }))
      .filter((other) => attacks(other.board) && other.board.suite === board.suite)
      .sort((one, other) => images(other.board) - images(one.board));
  const show = (number, address) => {
    const board = boards[number];
    shown = showBoard(board, main, stateOf(board, address), number === usual ? null : number, elsewhere(board));
    const chosen = document.querySelector("#which select");
    if (chosen) chosen.value = titles[number];
  };
  if (boards.length > 1) {
    // What was chosen stays chosen on the other board, as far as that has it.
    const choose = (title) => show(titles.indexOf(title), withoutRow(location.hash.slice(1)));
    document.getElementById("which").append(select("Results", titles, titles[usual], choose));
  }
  const fromAddress = () => {
    const address = location.hash.slice(1);
    const number = Number(new URLSearchParams(address).get("results")) - 1;
    show(boards[number] ? number : usual, address);
  };
  const anchor = location.hash.includes("=") ? null : location.hash.slice(1);
  fromAddress();
  if (anchor) openCell(boards[usual].rows.find((row) => row.id === anchor));
  addEventListener("hashchange", () => {
    if (location.hash.includes("=")) fromAddress();
  });
  document.querySelector(".skip").addEventListener("click", (event) => {
    event.preventDefault();
    document.getElementById("leaderboard").focus();
  });
  printing(() => shown);
  let width = innerWidth;
  addEventListener("resize", () => {
    if (innerWidth !== width) shown.redraw();
    width = innerWidth;
  });
  document.getElementById("colophon").append(
    make("p", {}, `Made by oodbench ${oodbench} from stored scores. Metrics in its default convention. ROC curves are thinned to within 0.2 % of the axis; ` +
      "the outermost bars of a histogram hold all scores beyond them."),
    make("p", {}, "Charts by Observable Plot and D3 (ISC licence). This page loads nothing from elsewhere."),
  );
  themeButton(document.getElementById("theme"));
}

const withoutRow = (address) => {
  const found = new URLSearchParams(address);
  found.delete("row");
  return found.toString();
};

/** Pixels across a printed page, A4 or Letter upright, less its margins. */
const PAPER = 680;

/** How large letters are on paper, as the style has them. */
const ON_PAPER = 0.8;

/** On paper every chart is drawn, every flag is open, and tables are as small as it takes to show all of their columns. */
function printing(shown) {
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details.severity:not([open]), details.more:not([open])")];
    for (const one of opened) one.open = true;
    document.querySelectorAll(".chart").forEach(redraw);
    for (const table of document.querySelectorAll(".scroll > table")) {
      table.style.minWidth = "0";
      table.style.setProperty("--fit", Math.min(1, PAPER / (ON_PAPER * table.scrollWidth)).toFixed(3));
      table.style.minWidth = "";
    }
  });
  addEventListener("afterprint", () => {
    for (const one of opened) one.open = false;
    shown().redraw();
  });
}

start(JSON.parse(document.getElementById("data").textContent));
