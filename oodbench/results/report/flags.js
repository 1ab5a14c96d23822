"use strict";

/** Flags by what is left of the figures, the worst first. */
const BELIEFS = [
  ["no", "Not to be believed", "The figure may be off by more than five points, or nobody knows by how much."],
  ["at most", "Too good", "Another attack, or a longer one, does more: the true figure is worse by one point at least."],
  ["within", "To be believed within a few points", "The figure is off by no more than its flag says, which is five points at most."],
  ["left out", "Left out", "Stored scores that are not shown."],
];

function flagsOf(board) {
  const found = board.rows.flatMap((row) => Object.entries(row.flags).flatMap(([task, flags]) => flags.map((flag) => ({ row, task, ...flag }))));
  const attacked = board.tasks.some((task) => task.attack);
  if (!found.length) return [make("p", {}, attacked ? "No attack was flagged." : "Nothing was attacked, and nothing was flagged.")];
  found.sort((one, other) => other.effect - one.effect);
  const groups = BELIEFS.map(([belief, title, about]) => [title, about, found.filter((flag) => flag.belief === belief)]).filter(([, , flags]) => flags.length);
  return [
    make("p", { class: "note" }, "Every attack is measured. What follows is what those measurements warn of; an attack that failed makes a detector look better than it is."),
    ...groups.map(([title, about, flags], number) =>
      make(
        "details",
        { class: "severity", open: number === 0 },
        make("summary", {}, make("span", { class: "name" }, title), make("span", { class: "note" }, `${flags.length} ${flags.length === 1 ? "flag" : "flags"}`)),
        make(
          "div",
          { class: "inside" },
          make("p", { class: "note" }, about),
          make("ul", { class: "flags" }, ...flags.map(({ row, task, text }) => make("li", {}, make("b", {}, `${row.name}, ${task}: `), `${text}.`))),
        ),
      ),
    ),
  ];
}

/** What is flagged of one task of one row. */
function flagList(flags) {
  return make("div", {}, make("h4", {}, "Flagged"), make("ul", { class: "flags" }, ...flags.map((flag) => make("li", {}, `${flag.text}.`))));
}
