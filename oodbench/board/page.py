"""What people and programs read of a board: a text table, a CSV file, a page without scripts. All made of entries."""

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
"""Of `entries.csv`; figures are fractions."""

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
    """By suite and ball, the strongest detector first."""
    return sorted(
        entries, key=lambda one: (one.case.suite, one.case.norm, one.case.epsilon, -one.figure("auroc"), one.name)
    )


def text(entries: Sequence[Entry]) -> str:
    """A table for a terminal, one for each suite."""
    parts = []
    for suite, own in _by_suite(entries).items():
        rows = [_cells(one) for one in own]
        align = ("left", "left", "left", "right", "right", "right", "right", "left", "left")
        parts.append(f"{suite}\n\n" + tabulate(rows, HEADS, disable_numparse=True, colalign=align))
    return "\n\n".join([*parts, fill(LEGEND, 100)])


def histories(entries: Sequence[Entry]) -> str:
    """Every piece of evidence of every entry, in its order."""
    return "\n\n".join("\n".join([one.name, *(f"  {line}" for line in one.history())]) for one in ordered(entries))


def table(entries: Sequence[Entry]) -> bytes:
    """`entries.csv`."""
    written = io.StringIO()
    rows = csv.writer(written, lineterminator="\n")
    rows.writerow(COLUMNS)
    for one in ordered(entries):
        case = one.case
        figures = [
            f"{value:.6f}"
            for value in (one.clean("auroc"), one.clean("fpr95"), one.figure("auroc"), one.figure("fpr95"))
        ]
        rows.writerow(
            [
                case.suite,
                case.suite_version,
                case.detector,
                case.kept or case.network,
                case.network_digest,
                f"{case.norm}:{case.epsilon}",
                _images(one),
                *figures,
                " + ".join(found.sha256 for found in one.strongest()),
                len(one.evidence),
                one.name,
            ]
        )
    return written.getvalue().encode()


def html(about: About, entries: Sequence[Entry]) -> bytes:
    """`index.html`: a table for each suite, and below it each entry's history; whole by itself."""
    title = escape(about.title)
    body = [f"<h1>{title}</h1>", f"<p>{escape(LEGEND)}</p>"]
    for suite, own in _by_suite(entries).items():
        body += [f"<h2>{escape(suite)}</h2>", '<div class="wide"><table>', _head(), *map(_row, own), "</table></div>"]
        body += map(_history, own)
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
    found: dict[str, list[Entry]] = {}
    for one in ordered(entries):
        case = one.case
        found.setdefault(f"{case.suite}, version {case.suite_version} ({case.suite_fingerprint[:8]})", []).append(one)
    return found


def _cells(one: Entry) -> list[str]:
    case = one.case
    network = case.kept or f"{case.network} {case.network_digest[:8]}"
    figures = [f"{100 * value:.2f}" for value in (one.clean("auroc"), one.figure("auroc"), one.figure("fpr95"))]
    strongest = " + ".join(f"{found.name}, {_short(found.attack)}" for found in one.strongest())
    return [case.detector, network, case.ball, _images(one), *figures, strongest, one.key[:8]]


def _images(one: Entry) -> str:
    counts = sorted({each.count for each in one.sets})
    each = "-".join(map(str, dict.fromkeys([counts[0], counts[-1]])))
    some = f" of {one.sets_of_suite}" if len(one.sets) < one.sets_of_suite else ""
    limited = f", ID {one.case.limit}" if one.case.limit else ""
    return f"{len(one.sets)}{some} sets x {each}{limited}"


def _short(attack: str) -> str:
    """A task's name, or the first words of what somebody says."""
    first, colon, _ = attack.partition(":")
    found = first if colon else attack
    return found if len(found) <= 40 else f"{found[:37]}..."


def _head() -> str:
    numbers = HEADS[3:7]
    return "<tr>" + "".join(f"<th{' class=n' if one in numbers else ''}>{escape(one)}</th>" for one in HEADS) + "</tr>"


def _row(one: Entry) -> str:
    cells = "".join(
        f"<td{' class=n' if 3 <= number <= 6 else ''}>{escape(cell)}</td>" for number, cell in enumerate(_cells(one))
    )
    return f"<tr>{cells}</tr>"


def _history(one: Entry) -> str:
    sets = "".join(_on_set(one, each.name) for each in one.sets)
    lines = "".join(
        f"<li>{escape(line)} {_link(found)}</li>" for line, found in zip(one.history(), one.evidence, strict=True)
    )
    head = "<tr><th>OOD set</th><th>images</th><th>clean AUROC</th><th>AUROC</th><th>FPR@95</th><th>of</th></tr>"
    return (
        f"<details><summary>{escape(one.name)}: {len(one.evidence)} of evidence</summary>"
        f"<p>Weights <code>{one.case.network_digest}</code>; parameters <code>{escape(one.case.parameters)}</code></p>"
        f'<div class="wide"><table>{head}{sets}</table></div><ol>{lines}</ol></details>'
    )


def _on_set(one: Entry, name: str) -> str:
    clean = next(each for each in one.sets if each.name == name)
    auroc, fpr95 = one.standing("auroc", name), one.standing("fpr95", name)
    assert auroc is not None and fpr95 is not None  # the first evidence has all sets
    whose = " / ".join(dict.fromkeys([auroc.evidence.name, fpr95.evidence.name]))
    cells = [
        name,
        str(clean.count),
        *(f"{100 * value:.2f}" for value in (clean.auroc, auroc.value, fpr95.value)),
        whose,
    ]
    return "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"


def _link(found: Accepted) -> str:
    address = found.url or f"evidence/{found.sha256}.zip"
    note = f" {escape(found.note)}" if found.note else ""
    return f'<a href="{escape(address)}">evidence</a>, row {found.row}{note}'
