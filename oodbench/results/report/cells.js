"use strict";

/** The details of a row, which draws its inside when it is opened for the first time. */
function cell(board, row) {
  const inside = make("div", { class: "inside" });
  const means = board.tasks
    .filter((task) => !task.curve && row.means[task.name])
    .map((task) => [task.name, Object.values(row.means[task.name])[0]?.fpr95])
    .filter(([, value]) => value)
    .map(([task, { text }]) => `${task} ${text}`);
  const summary = make(
    "summary",
    {},
    make("span", { class: "name" }, row.name),
    make("span", { class: "note number" }, means.length ? `FPR@95: ${means.join(", ")}` : ""),
  );
  const opened = () => {
    if (whole.open && !inside.hasChildNodes()) fill(board, row, inside);
  };
  const whole = make("details", { id: row.id, class: "cell", ontoggle: opened }, summary, inside);
  return whole;
}

/** Show a row's details and go there. */
function openCell(row) {
  const found = row && document.getElementById(row.id);
  if (!found) return;
  found.open = true;
  found.scrollIntoView();
  found.querySelector("summary").focus({ preventScroll: true });
}

function aboutAccuracy(row) {
  if (row.accuracy === null) return `How often the classifier is right is unknown: the ${row.n_id} ID images carry no labels.`;
  return `The classifier is right on ${row.accuracy_text} % of ${row.n_id} ID images.`;
}

function fill(board, row, inside) {
  const tasks = [...new Set(row.panels.map((panel) => panel.task))];
  const hardest = board.tasks.find((task) => task.attack && !task.curve && tasks.includes(task.name));
  const chosen = hardest?.name ?? tasks.at(-1);
  const part = make("div");
  const show = (task) => part.replaceChildren(...underTask(board, row, task));
  inside.append(
    make("p", { class: "note" }, `${row.paper}. ${aboutAccuracy(row)}`),
    make("div", { class: "controls" }, select("Task", tasks, chosen, show)),
    part,
  );
  show(chosen);
}

function underTask(board, row, task) {
  const panels = row.panels.filter((panel) => panel.task === task);
  const clean = board.tasks.find((one) => one.clean && one.name !== task)?.name;
  const before = (panel) => row.panels.find((other) => other.task === clean && other.ood === panel.ood);
  const flags = row.flags[task];
  return [
    make("p", { class: "note" }, `${row.threats[task]}.`),
    flags ? flagList(flags) : null,
    key(task, panels.some(before)),
    make("div", { class: "panels" }, ...panels.map((panel) => panelOf(panel, before(panel)))),
    ...(row.sheets[task] ? sheetOf(row.sheets[task]) : []),
    allMetrics(panels),
  ].filter(Boolean);
}

/** Which line is which, by stroke and by colour. */
function key(task, withClean) {
  const sample = (colour, dashes) => {
    const plot = d3.create("svg").attr("width", 28).attr("height", 10).attr("aria-hidden", "true");
    plot.append("line").attr("x2", 28).attr("y1", 5).attr("y2", 5).attr("stroke", colour).attr("stroke-width", 2).attr("stroke-dasharray", dashes);
    return plot.node();
  };
  return make(
    "ul",
    { class: "key" },
    make("li", {}, sample("var(--ood)", null), withClean ? `${task}, with the point where 95 % of ID is kept` : "ROC, with the point where 95 % of ID is kept"),
    withClean ? make("li", {}, sample("var(--clean)", "4 3"), "OOD images as they are") : null,
    make("li", {}, sample("var(--ink)", "2 3"), "score that keeps 95 % of ID (upright, in the histograms)"),
  );
}

function panelOf(panel, clean) {
  const { fpr95, auroc } = panel.metrics;
  return make(
    "section",
    {},
    make("h4", {}, panel.ood),
    make("p", { class: "note number" }, `FPR@95 ${fpr95.text} %, AUROC ${auroc.text} %, ${panel.n_ood} images`),
    make(
      "div",
      { class: "pair" },
      figure(`ROC against ${panel.ood}`, "ROC: ID kept over OOD", (width) => rocCurves(panel, clean, width)),
      figure(`Scores against ${panel.ood}`, "Scores, each to its own height", (width) => scoreHistograms(panel, width)),
    ),
  );
}

function sheetOf(sheet) {
  const passed = Object.entries(sheet.passed).map(([set, [count, all]]) => `${set} ${count} of ${all}`);
  const about = sheet.pictures.length
    ? ` Each picture: before, after, and what was changed${sheet.magnified > 1 ? `, ${sheet.magnified} times as large` : ""} (grey: nothing).`
    : "";
  return [
    make("h3", {}, "Images that passed as ID"),
    make("p", { class: "note" }, `Accepted where 95 % of ID is kept: ${listed(passed)}.${about}`),
    sheet.note ? make("p", { class: "note" }, sheet.note) : null,
    sheet.pictures.length ? make("ul", { class: "sheet" }, ...sheet.pictures.map(pictureOf)) : null,
  ];
}

function pictureOf(picture) {
  const share = (rank) => `${percent(rank, 0)} %`;
  const before = picture.before == null ? "" : ` (before: ${share(picture.before)})`;
  const name = `${picture.ood} ${picture.index}`;
  return make(
    "li",
    {},
    make("img", { src: picture.source, alt: `${name}: before the attack, after it, and the difference`, loading: "lazy" }),
    make("div", { class: "parts", "aria-hidden": "true" }, make("span", {}, "before"), make("span", {}, "after"), make("span", {}, "change")),
    make("p", {}, `${name}: scores above ${share(picture.after)} of ID${before}, taken for class ${picture.prediction}`),
  );
}

function allMetrics(panels) {
  const names = Object.keys(METRICS).filter((metric) => panels[0].metrics[metric]);
  const heads = names.map((metric) => make("th", { scope: "col" }, `${METRICS[metric].title} ${arrow(metric)}`));
  const rows = panels.map((panel) =>
    make("tr", {}, make("th", { scope: "row" }, panel.ood), ...names.map((metric) => make("td", {}, panel.metrics[metric].text))),
  );
  const table = make("table", {}, make("thead", {}, make("tr", {}, make("th", { class: "first" }, "OOD set"), ...heads)), make("tbody", {}, ...rows));
  return make("div", {}, make("h3", {}, "All metrics, in percent"), scrolling("All metrics", table));
}
