"""A board for people and programs: a text table, a CSV file, a page without scripts. All are made of its entries."""

import csv
import io
from collections.abc import Sequence
from html import escape
from textwrap import fill

from tabulate import tabulate

from oodbench.board.entries import About, Accepted, Entry

COLUMNS = (
    "suite",
    "suite_version",
    "detector",
    "network",
    "network_digest",
    "ball",
    "images",
    "clean_auroc",
    "clean_fpr95",
    "auroc",
    "fpr95",
    "strongest",
    "evidence",
    "entry",
)
"""Columns of `entries.csv`, whose figures are fractions."""

HEADS = ("detector", "network", "ball", "images", "clean AUROC", "AUROC", "FPR@95", "strongest evidence", "entry")

LEGEND = (
    "Percent, means over the OOD sets that an entry is of. AUROC, high is good, and FPR@95, the share of OOD images "
    "accepted where 95 % of ID images are kept, low is good: under the strongest attack that anybody has handed in, "
    "set by set, inside the ball. Clean: the same images when nobody attacks. ID: so many ID images, not all of them."
)

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; color: #1b1f24;
  background: #fff; }
table { border-collapse: collapse; width: 100%; margin: 1rem 0; }
th, td { text-align: left; padding: .35rem .6rem; border-bottom: 1px solid #d8dee4; vertical-align: top; }
th.n, td.n { text-align: right; font-variant-numeric: tabular-nums; }
details { margin: .5rem 0; }
code { overflow-wrap: anywhere; }
.wide { overflow-x: auto; }
@media (prefers-color-scheme: dark) { body { color: #e6edf3; background: #0d1117; } th, td { border-color: #30363d; }
  a { color: #58a6ff; } }
"""


def ordered(entries: Sequence[Entry]) -> list[Entry]:
    """Return the entries by suite and ball, the strongest detector first."""
    return sorted(
        entries,
        key=lambda entry: (
            entry.case.suite,
            entry.case.norm,
            entry.case.epsilon,
            -entry.figure("auroc"),
            entry.name,
        ),
    )


def text(entries: Sequence[Entry]) -> str:
    """Return a table for each suite, for a terminal, and below it the detectors' parameters."""
    parts = []
    for suite, entries_of_suite in _by_suite(entries).items():
        rows = [_cells(entry) for entry in entries_of_suite]
        align = ("left", "left", "left", "right", "right", "right", "right", "left", "left")
        parts.append(f"{suite}\n\n" + tabulate(rows, HEADS, disable_numparse=True, colalign=align))
        if lines := [line for entry in entries_of_suite if (line := _parameters_line(entry))]:
            parts.append("\n".join(["parameters:", *lines]))
    return "\n\n".join([*parts, fill(LEGEND, 100)])


def _parameters_line(entry: Entry) -> str:
    """Return the parameters of an entry's detector, as JSON; "" where it has none."""
    parameters = entry.case.parameters
    return "" if parameters in ("", "{}") else f"  {entry.case.detector}, {entry.key[:8]}: {parameters}"


def histories(entries: Sequence[Entry]) -> str:
    """Return every piece of evidence of every entry, in its order."""
    return "\n\n".join(
        "\n".join([entry.name, *(f"  {line}" for line in entry.history())]) for entry in ordered(entries)
    )


def table(entries: Sequence[Entry]) -> bytes:
    """Return the content of `entries.csv`."""
    content = io.StringIO()
    rows = csv.writer(content, lineterminator="\n")
    rows.writerow(COLUMNS)
    for entry in ordered(entries):
        case = entry.case
        figures = [
            f"{value:.6f}"
            for value in (entry.clean("auroc"), entry.clean("fpr95"), entry.figure("auroc"), entry.figure("fpr95"))
        ]
        rows.writerow(
            [
                case.suite,
                case.suite_version,
                case.detector,
                case.kept or case.network,
                case.network_digest,
                f"{case.norm}:{case.epsilon}",
                _images(entry),
                *figures,
                " + ".join(accepted.sha256 for accepted in entry.strongest()),
                len(entry.evidence),
                entry.name,
            ]
        )
    return content.getvalue().encode()


def html(about: About, entries: Sequence[Entry]) -> bytes:
    """Return `index.html`, whole by itself: a table for each suite, and below it each entry's history."""
    title = escape(about.title)
    body = [f"<h1>{title}</h1>", f"<p>{escape(LEGEND)}</p>"]
    for suite, entries_of_suite in _by_suite(entries).items():
        rows = map(_row, entries_of_suite)
        body += [f"<h2>{escape(suite)}</h2>", '<div class="wide"><table>', _head(), *rows, "</table></div>"]
        body += map(_history, entries_of_suite)
    body.append(
        "<p>Every figure follows from attacked images that anybody can score again: <code>oodbench verify "
        "evidence/DIGEST.zip</code>. Lower one by handing in your own.</p>"
    )
    page = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" '
        f'content="width=device-width"><title>{title}</title><style>{STYLE}</style></head>\n<body>\n'
    )
    return (page + "\n".join(body) + "\n</body></html>\n").encode()


def _by_suite(entries: Sequence[Entry]) -> dict[str, list[Entry]]:
    by_suite: dict[str, list[Entry]] = {}
    for entry in ordered(entries):
        case = entry.case
        suite = f"{case.suite}, version {case.suite_version} ({case.suite_fingerprint[:8]})"
        by_suite.setdefault(suite, []).append(entry)
    return by_suite


def _cells(entry: Entry) -> list[str]:
    """Return an entry's cells below `HEADS`."""
    case = entry.case
    network = case.kept or f"{case.network} {case.network_digest[:8]}"
    figures = [f"{100 * value:.2f}" for value in (entry.clean("auroc"), entry.figure("auroc"), entry.figure("fpr95"))]
    strongest = " + ".join(f"{accepted.name}, {_short(accepted.attack)}" for accepted in entry.strongest())
    return [case.detector, network, case.ball, _images(entry), *figures, strongest, entry.key[:8]]


def _images(entry: Entry) -> str:
    """Return how many sets and images of each an entry is of, such as "3 of 7 sets x 200"."""
    counts = sorted({one.count for one in entry.sets})
    of_each = "-".join(map(str, dict.fromkeys([counts[0], counts[-1]])))
    of_suite = f" of {entry.sets_of_suite}" if len(entry.sets) < entry.sets_of_suite else ""
    limited = f", ID {entry.case.limit}" if entry.case.limit else ""
    return f"{len(entry.sets)}{of_suite} sets x {of_each}{limited}"


def _short(attack: str) -> str:
    """Return the name of a task, or the first words of somebody's description of an attack."""
    first, colon, _ = attack.partition(":")
    words = first if colon else attack
    return words if len(words) <= 40 else f"{words[:37]}..."


def _head() -> str:
    numbers = HEADS[3:7]
    cells = "".join(f"<th{' class=n' if head in numbers else ''}>{escape(head)}</th>" for head in HEADS)
    return f"<tr>{cells}</tr>"


def _row(entry: Entry) -> str:
    cells = "".join(
        f"<td{' class=n' if 3 <= number <= 6 else ''}>{escape(cell)}</td>" for number, cell in enumerate(_cells(entry))
    )
    return f"<tr>{cells}</tr>"


def _history(entry: Entry) -> str:
    sets = "".join(_on_set(entry, one.name) for one in entry.sets)
    lines = "".join(
        f"<li>{escape(line)} {_link(accepted)}</li>"
        for line, accepted in zip(entry.history(), entry.evidence, strict=True)
    )
    head = "<tr><th>OOD set</th><th>images</th><th>clean AUROC</th><th>AUROC</th><th>FPR@95</th><th>of</th></tr>"
    case = entry.case
    return (
        f"<details><summary>{escape(entry.name)}: {len(entry.evidence)} of evidence</summary>"
        f"<p>Weights <code>{case.network_digest}</code>; parameters <code>{escape(case.parameters)}</code></p>"
        f'<div class="wide"><table>{head}{sets}</table></div><ol>{lines}</ol></details>'
    )


def _on_set(entry: Entry, name: str) -> str:
    clean = next(one for one in entry.sets if one.name == name)
    auroc, fpr95 = entry.standing("auroc", name), entry.standing("fpr95", name)
    assert auroc is not None and fpr95 is not None  # the first evidence has all sets
    whose = " / ".join(dict.fromkeys([auroc.evidence.name, fpr95.evidence.name]))
    cells = [
        name,
        str(clean.count),
        *(f"{100 * value:.2f}" for value in (clean.auroc, auroc.value, fpr95.value)),
        whose,
    ]
    return "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"


def _link(accepted: Accepted) -> str:
    address = accepted.url or f"evidence/{accepted.sha256}.zip"
    note = f" {escape(accepted.note)}" if accepted.note else ""
    return f'<a href="{escape(address)}">evidence</a>, row {accepted.row}{note}'
