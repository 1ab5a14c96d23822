"use strict";

/** An element. Text always goes in as text: no name can become markup. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child != null));
  return element;
}

/** Text for people who listen. */
const unseen = (text) => make("span", { class: "unseen" }, text);

/** A labelled select; `changed` is told the chosen value. */
function select(label, values, chosen, changed) {
  const options = values.map((value) => make("option", { value, selected: value === chosen }, value));
  const box = make("select", { onchange: (event) => changed(event.target.value) }, ...options);
  return make("label", {}, label, box);
}

/** A checkbox with its name behind it; `changed` is told whether it is on. */
function checkbox(label, checked, changed) {
  return make("label", { class: "choice" }, make("input", { type: "checkbox", checked, onchange: (event) => changed(event.target.checked) }), label);
}

/** A button that looks like a link: it saves a file, or shows more. */
const plainButton = (text, label, onclick) => make("button", { type: "button", class: "plain", "aria-label": label, onclick }, text);

/** A table in a box of its own, which scrolls where it is too wide for the page, by keyboard too; then it says so. */
function scrolling(label, table, hint = "The table moves sideways.") {
  const box = make("div", { class: "scroll", role: "region", "aria-label": label, tabindex: 0 }, table);
  const whole = make("div", { class: "wide" }, box, make("p", { class: "note sideways" }, hint));
  overflowing.observe(box);
  overflowing.observe(table);
  return whole;
}

const overflows = (box) => box.scrollWidth > box.clientWidth + 1;

const overflowing = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    const box = target.closest(".scroll");
    box?.parentElement.classList.toggle("overflows", overflows(box));
  }
});

/** Have the browser save a file. */
function save(name, type, text) {
  const address = URL.createObjectURL(new Blob([text], { type }));
  const link = make("a", { href: address, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}

/** What a file about these things may be called anywhere. */
const fileName = (...parts) =>
  parts
    .join(" ")
    .replaceAll(/[^A-Za-z0-9.]+/g, "-")
    .replaceAll(/^[-.]+|[-.]+$/g, "")
    .slice(0, 100) || "oodbench";

/** A fraction in percent. */
const percent = (value, digits = 2) => (100 * value).toFixed(digits);

/** Names in a sentence. */
const listed = (names) => names.join(", ");

const METRICS = {
  fpr95: { title: "FPR@95", lower: true },
  fpr95_oodpos: { title: "FPR@95 OOD+", lower: true },
  fpr95_clean: { title: "FPR@95, clean threshold", lower: true },
  fnr_clean: { title: "ID rejected, clean threshold", lower: true },
  auroc: { title: "AUROC", lower: false },
  aupr_in: { title: "AUPR-in", lower: false },
  aupr_out: { title: "AUPR-out", lower: false },
  detection_error: { title: "detection error", lower: true },
};

const arrow = (metric) => (METRICS[metric].lower ? "↓" : "↑");
