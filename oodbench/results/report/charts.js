"use strict";

/**
 * A figure whose chart is drawn when it comes into view, and again when its width or what it shows changes.
 * `draw` makes it from a width in pixels, or null where nothing is left to show.
 */
function figure(title, caption, draw) {
  const box = make("div", { class: "chart" });
  const saved = () => saveChart(box, title);
  const button = plainButton("SVG", `Save the chart as an SVG file: ${title}`, saved);
  const whole = make("figure", { role: "group", "aria-label": title }, make("figcaption", {}, caption, button), box);
  const state = { width: 0, draw, box };
  charts.set(box, state);
  waiting.push(box);
  visible.observe(box);
  resized.observe(box);
  return whole;
}

const charts = new WeakMap();

const waiting = []; // charts that nobody has scrolled to yet

/** Draw what nobody has scrolled to, whenever there is time: whoever saves or photographs the page has all of it. */
function drawWhenIdle() {
  const whenIdle = window.requestIdleCallback ?? ((work) => setTimeout(() => work({ timeRemaining: () => 0 }), 50));
  whenIdle((deadline) => {
    do {
      const box = waiting.shift();
      if (box?.isConnected && !box.hasChildNodes()) redraw(box);
    } while (waiting.length && deadline.timeRemaining() > 10);
    if (waiting.length) drawWhenIdle();
  });
}

function redraw(box) {
  const state = charts.get(box);
  if (!box.clientWidth) return;
  state.width = box.clientWidth;
  box.replaceChildren(state.draw(state.width) ?? make("p", { class: "note" }, "Nothing to show: the filters leave no row."));
  box.style.setProperty("--height", `${box.scrollHeight}px`);
}

const visible = new IntersectionObserver(
  (entries) => {
    for (const { target, isIntersecting } of entries) {
      if (isIntersecting && charts.has(target) && !target.hasChildNodes()) redraw(target);
    }
  },
  { rootMargin: "200px" },
);

const resized = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    if (target.hasChildNodes() && charts.get(target)?.width !== target.clientWidth) redraw(target);
  }
});

/** Draw again whatever has been drawn inside `part`, once nobody types any more: the filters have changed. */
function refresh(part) {
  clearTimeout(soon.get(part));
  const again = () => {
    for (const box of part.querySelectorAll(".chart")) {
      if (box.hasChildNodes()) redraw(box);
    }
  };
  soon.set(part, setTimeout(again, 120));
}

const soon = new WeakMap();

/** What a chart looks like on the page, without the page: colours and letters as they are computed there. */
const DRAWN = ["fill", "stroke", "stroke-width", "stroke-dasharray", "stroke-opacity", "fill-opacity", "opacity", "font-size", "font-family", "font-weight", "text-anchor", "paint-order"];

/** Save what is drawn in `box`, its legend below it. */
function saveChart(box, title) {
  if (!box.hasChildNodes()) redraw(box);
  const chart = box.querySelector("svg[aria-label]");
  if (chart) save(`${fileName(title)}.svg`, "image/svg+xml", alone(chart, [...box.querySelectorAll("[class*='-swatch']:has(> svg)")]));
}

/** An SVG file of a chart and of the entries of its legend. */
function alone(chart, entries) {
  const copy = withStyle(chart);
  const [width, height] = ["width", "height"].map((name) => Number(chart.getAttribute(name)));
  const line = 20;
  copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  copy.setAttribute("height", height + line * entries.length);
  copy.setAttribute("viewBox", `0 0 ${width} ${height + line * entries.length}`);
  const paper = d3.create("svg:rect").attr("width", "100%").attr("height", "100%").attr("fill", getComputedStyle(document.body).backgroundColor);
  copy.prepend(paper.node());
  entries.forEach((entry, number) => {
    const place = d3.select(copy).append("g").attr("transform", `translate(10, ${height + line * number})`);
    place.append(() => withStyle(entry.querySelector("svg")));
    place.append("text").attr("x", 22).attr("y", 12).attr("fill", getComputedStyle(entry).color).attr("font-size", 12).text(entry.textContent);
  });
  return new XMLSerializer().serializeToString(copy);
}

function withStyle(element) {
  const copy = element.cloneNode(true);
  const [from, to] = [element, copy].map((one) => [one, ...one.querySelectorAll("*")]);
  from.forEach((one, number) => {
    const style = getComputedStyle(one);
    for (const name of DRAWN) to[number].setAttribute(name, style.getPropertyValue(name));
    to[number].removeAttribute("class");
    to[number].removeAttribute("style");
  });
  copy.querySelectorAll("style").forEach((one) => one.remove());
  return copy;
}

const FONT = { fontSize: "12px", fontFamily: "inherit", background: "none" };
const TICK = (value) => `${Math.round(100 * value)}`;

/** A metric of every row against every OOD set, under one task: a bar each, a small chart a set. */
function barsBySet(rows, task, sets, metric, intervals, width) {
  const measured = (row) => row.panels.filter((panel) => panel.task === task && sets.includes(panel.ood));
  const names = rows.filter((row) => measured(row).length).map((row) => row.name);
  if (!names.length) return null;
  const left = Math.min(0.34 * width, 20 + 6.9 * Math.max(...names.map((name) => name.length)));
  const columns = Math.max(1, Math.min(sets.length, Math.floor((width - left) / 160)));
  const place = new Map(sets.map((set, number) => [set, [number % columns, Math.floor(number / columns)]]));
  const bars = rows.flatMap((row) => measured(row).map((panel) => ({ row: row.name, set: panel.ood, ...panel.metrics[metric] })));
  const facet = { fx: (bar) => place.get(bar.set)[0], fy: (bar) => place.get(bar.set)[1] };
  const titles = sets.map((set) => ({ set }));
  const lines = Math.ceil(sets.length / columns);
  const high = 22 * names.length;
  return Plot.plot({
    width,
    height: lines * high + (lines - 1) * 36 + 24 + 22,
    marginLeft: left,
    marginRight: 30,
    marginTop: 24,
    marginBottom: 22,
    style: FONT,
    ariaLabel: `${METRICS[metric].title} under ${task}, by detector and OOD set`,
    x: { domain: [0, 1], ticks: [0, 0.5, 1], tickFormat: TICK, label: null, tickSize: 0 },
    y: { domain: names, label: null, tickSize: 0, padding: 0.35, tickFormat: (name) => shortened(name, left) },
    fx: { axis: null, paddingInner: 46 / ((width - left) / columns), paddingOuter: 0 },
    fy: { axis: null, paddingInner: lines > 1 ? 36 / (high + 36) : 0, paddingOuter: 0 },
    marks: [
      Plot.gridX([0, 0.5, 1], { stroke: "var(--line)", strokeOpacity: 1 }),
      Plot.barX(bars, { ...facet, x: "value", y: "row", fill: "var(--id)", tip: false }),
      intervals ? Plot.ruleY(bars.filter((bar) => bar.low != null), { ...facet, x1: "low", x2: "high", y: "row", stroke: "var(--ink)", strokeWidth: 1.5 }) : null,
      Plot.text(bars, { ...facet, x: (bar) => (intervals ? bar.high ?? bar.value : bar.value), y: "row", text: (bar) => percent(bar.value, bar.value < 0.9995 ? 1 : 0), textAnchor: "start", dx: 5, fill: "var(--ink)" }),
      Plot.text(titles, { ...facet, text: "set", frameAnchor: "top-left", dy: -17, fill: "var(--ink)" }),
    ],
  });
}

/** A name that fits into so many pixels. */
function shortened(name, pixels) {
  const fitting = Math.floor((pixels - 10) / 6.4);
  return name.length > fitting ? `${name.slice(0, fitting - 1)}…` : name;
}

const SYMBOLS = ["circle", "square", "triangle", "diamond", "cross", "star", "wye", "asterisk", "plus", "times"];

/** One metric over the radius of an attack, a line a row; told apart by symbol and colour. */
function overRadii(rows, tasks, view, metric, width) {
  const points = rows.flatMap((row) =>
    tasks
      .filter((task) => row.means[task.name]?.[view])
      .map((task) => ({ row: row.name, radius: task.radius, value: row.means[task.name][view][metric].value })),
  );
  if (!points.length) return null;
  const names = [...new Set(points.map((point) => point.row))];
  const colours = names.map((_, number) => `var(--line-${(number % 6) + 1})`);
  const symbols = names.map((_, number) => SYMBOLS[number % SYMBOLS.length]);
  const { title } = METRICS[metric];
  return Plot.plot({
    width,
    height: 280,
    marginLeft: 40,
    marginRight: 16,
    marginBottom: 40,
    style: FONT,
    ariaLabel: `${title} over the radius of the attack`,
    x: { label: "radius in 1/255", ticks: [...new Set(points.map((point) => point.radius))], tickFormat: "d", tickSize: 0, inset: 8, labelAnchor: "center", labelArrow: "none" },
    y: { domain: [0, 1], tickFormat: TICK, label: null, tickSize: 0, ticks: 5, insetTop: 6, insetBottom: 6 },
    color: { domain: names, range: colours },
    symbol: { domain: names, range: symbols, legend: true },
    marks: [
      Plot.gridY({ ticks: 5, stroke: "var(--line)", strokeOpacity: 1 }),
      Plot.line(points, { x: "radius", y: "value", z: "row", stroke: "row", strokeWidth: 1.75 }),
      Plot.dot(points, { x: "radius", y: "value", stroke: "row", fill: "var(--paper)", symbol: "row", r: 4.5, strokeWidth: 1.75 }),
      Plot.tip(points, Plot.pointer({ x: "radius", y: "value", fill: "var(--paper)", title: (point) => `${point.row}\nradius ${point.radius}/255\n${title} ${percent(point.value)} %` })),
    ],
  });
}

/** ID kept over OOD accepted: under the task (solid), and as the images are (dashed). */
function rocCurves(panel, clean, width) {
  const line = ({ roc }) => roc.accepted.map((x, number) => [x, roc.kept[number]]);
  const side = Math.min(width, 240);
  return Plot.plot({
    width: side,
    height: side + 4,
    marginLeft: 30,
    marginBottom: 40,
    marginRight: 14,
    marginTop: 10,
    style: FONT,
    ariaLabel: `ROC curve against ${panel.ood} under ${panel.task}, AUROC ${panel.metrics.auroc.text} %`,
    x: { domain: [0, 1], ticks: [0, 0.5, 1], tickFormat: TICK, tickSize: 0, label: "OOD accepted, %", labelAnchor: "center", labelArrow: "none" },
    y: { domain: [0, 1], ticks: [0, 0.5, 1], tickFormat: TICK, tickSize: 0, label: null },
    marks: [
      Plot.gridX([0, 0.5, 1], { stroke: "var(--line)", strokeOpacity: 1 }),
      Plot.gridY([0, 0.5, 1], { stroke: "var(--line)", strokeOpacity: 1 }),
      clean ? Plot.line(line(clean), { stroke: "var(--clean)", strokeWidth: 2, strokeDasharray: "4 3" }) : null,
      Plot.line(line(panel), { stroke: "var(--ood)", strokeWidth: 2 }),
      Plot.dot([[panel.metrics.fpr95.value, 0.95]], { fill: "var(--ood)", r: 4 }),
    ],
  });
}

const LETTER = 7; // pixels of a digit of an axis

/** The ticks of an axis from low to high on so many pixels: as many as have room for labels that tell them apart. */
function scoreTicks(low, high, width) {
  const exponents = Math.max(Math.abs(low), Math.abs(high)) < 1e-4 ? "~e" : undefined;
  for (let count = Math.max(2, Math.floor(width / 80)); ; count -= 1) {
    const ticks = d3.ticks(low, high, count);
    const tickFormat = d3.tickFormat(low, high, count, exponents);
    const longest = d3.max(ticks, (tick) => tickFormat(tick).length) ?? 0;
    const fits = ticks.length * (LETTER * longest + 10) <= width;
    if (fits || !d3.ticks(low, high, count - 1).length) return { ticks, tickFormat, longest };
  }
}

/** Scores of ID images, of OOD images as they are and of those under the task, one below the other, each to its own height. */
function scoreHistograms(panel, width) {
  const { low, high, counts } = panel.histogram;
  const kinds = { id: "ID", clean: "OOD as it is", ood: counts.clean ? `OOD, ${panel.task}` : "OOD" };
  const colours = { id: "var(--id)", clean: "var(--clean)", ood: "var(--ood)" };
  const shown = Object.keys(kinds).filter((kind) => counts[kind]);
  const bars = shown.flatMap((kind) => {
    const step = (high - low) / counts[kind].length;
    const highest = d3.max(counts[kind]);
    return counts[kind].map((count, number) => ({ kind, x1: low + number * step, x2: low + (number + 1) * step, height: count / highest }));
  });
  const { ticks, tickFormat, longest } = scoreTicks(low, high, width - 40);
  const margin = Math.max(20, (LETTER * longest) / 2); // half a label of the axis: the outermost ones stand at its ends
  return Plot.plot({
    width,
    height: 66 * shown.length + 52,
    marginLeft: margin,
    marginRight: margin,
    marginTop: 8,
    marginBottom: 44,
    style: FONT,
    ariaLabel: `Scores against ${panel.ood} under ${panel.task}: ${shown.map((kind) => kinds[kind]).join(", ")}`,
    x: { label: "score: the higher, the more like ID", labelAnchor: "center", labelArrow: "none", ticks, tickFormat, tickSize: 0 },
    y: { axis: null, insetTop: 16 },
    fy: { domain: shown, axis: null, padding: 0.14 },
    marks: [
      Plot.rectY(bars.filter((bar) => bar.height), { fy: "kind", x1: "x1", x2: "x2", y: "height", fill: (bar) => colours[bar.kind], insetLeft: 0.5, insetRight: 0.5 }),
      Plot.ruleY([0], { stroke: "var(--muted)" }),
      panel.threshold >= low && panel.threshold <= high ? Plot.ruleX([panel.threshold], { stroke: "var(--ink)", strokeDasharray: "2 3" }) : null,
      Plot.text(shown, { fy: (kind) => kind, text: (kind) => kinds[kind], frameAnchor: "top-left", dy: -2, fill: "var(--ink)" }),
    ],
  });
}
