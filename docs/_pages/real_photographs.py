"""The table and the picture of docs/real-photographs.md, from a results folder.

    python -m docs._pages.real_photographs RESULTS

What stands between the page's two marks is replaced, and the picture beside the page is drawn anew.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
from tabulate import tabulate

from oodbench.results import tables
from oodbench.results.folder import find_results
from oodbench.results.tables.flags import find_flags, severities

SUITE = "cifar10-small-adv"
PAGE = Path(__file__).parents[1] / "real-photographs.md"
PICTURE = PAGE.with_suffix(".svg")
BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"

TASKS: Mapping[str, str] = {
    "clean": "clean",
    "corruption": "corrupted",
    "linf": "linf",
    "compositional": "compositional",
    "linf-adaptive": "adaptive",
}
"""Columns, in this order: tasks, and what the page calls them."""

SORTED_BY = ("linf-adaptive", "auroc")

POINT = 0.01
"""Beyond this a flag is marked: the most that the mean may be off by, a fraction."""


@dataclass(frozen=True)
class Line:
    """A detector's means over the OOD sets.

    Attributes:
        detector: its name.
        accuracy: ID accuracy of its network, a fraction.
        figures: (FPR@95, AUROC) by task, fractions; tasks that were not measured are not there.
        doubted: the most that the figures of a task may be off by, where that is more than a point.
    """

    detector: str
    accuracy: float
    figures: Mapping[str, tuple[float, float]]
    doubted: Mapping[str, float]


def lines(results: Path) -> list[Line]:
    """What the folder holds of the suite, of each detector and task what the most images were measured on.

    A task that some OOD set lacks counts as not measured: its mean would stand beside means of other sets.
    """
    frame = tables.tidy(find_results(results).cells, {})
    frame = frame[(frame["suite"] == SUITE) & (frame["settings"] == "")]
    sets = set(frame["ood"]) - {""}
    size = severities(find_flags(frame[frame["metric"] != "accuracy"]))
    found = []
    for detector, own in frame.groupby("detector"):
        figures, doubted = {}, {}
        for task in TASKS:
            rows = own[(own["task"] == task) & (own["ood"] != "")]
            # 0 stands for all images.
            most = max(rows["images"], key=lambda images: images or float("inf"), default=None)
            rows = rows[rows["images"] == most]
            if set(rows["ood"]) != sets:
                continue
            means = rows.groupby("metric")["value"].mean()
            figures[task] = float(means["fpr95"]), float(means["auroc"])
            off = max(size.get((str(cell), task), 0.0) for cell in rows["cell"].unique())
            if off > POINT:
                doubted[task] = off
        accuracy = own[own["metric"] == "accuracy"]["value"]
        found.append(Line(str(detector), float(accuracy.iloc[0]), figures, doubted))
    task, _ = SORTED_BY
    return sorted(found, key=lambda line: -line.figures.get(task, (1.0, -1.0))[1])


def table(shown: Sequence[Line]) -> str:
    """Markdown: FPR@95 / AUROC in percent; what a flag may move by more than a point has a mark."""
    rows = [[line.detector, f"{100 * line.accuracy:.2f}", *(_figure(line, task) for task in TASKS)] for line in shown]
    return tabulate(rows, ["detector", "accuracy", *TASKS.values()], "github", disable_numparse=True)


def _figure(line: Line, task: str) -> str:
    if task not in line.figures:
        return "–"
    fpr95, auroc = (f"{100 * value:.2f}" for value in line.figures[task])
    return f"{fpr95} / {auroc}" + "‡" * (task in line.doubted)


WIDTH, ROW, LEFT, TOP, BELOW = 720, 22, 130, 58, 34
"""Of the picture, in its units: its width, a detector's line, what is left of, above and below the lines."""

COLOURS: Mapping[str, str] = {
    "clean": "#4477aa",
    "corruption": "#999933",
    "linf": "#ee8866",
    "linf-adaptive": "#aa3377",
}
"""Of the tasks that are drawn, which also the colour-blind tell apart (Paul Tol's)."""


def picture(shown: Sequence[Line]) -> str:
    """SVG: for each detector its AUROC under four tasks, as dots on a line from 0 to 100 percent."""
    height = TOP + ROW * len(shown) + BELOW
    size = f'viewBox="0 0 {WIDTH} {height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12">',
        f"<title>AUROC of {len(shown)} detectors on CIFAR-10 against three sets of photographs</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        f'<text x="{LEFT}" y="18" font-size="14">AUROC in percent, mean over SVHN, textures and Tiny-ImageNet</text>',
    ]
    for number, (task, colour) in enumerate(COLOURS.items()):
        x = LEFT + 140 * number
        parts.append(f'<circle cx="{x + 6}" cy="38" r="5" fill="{colour}"/>')
        parts.append(f'<text x="{x + 16}" y="42">{TASKS[task]}</text>')
    for percent in (0, 25, 50, 75, 100):
        here, bottom = _across(percent / 100), height - BELOW + 6
        dash = "" if percent == 50 else ' stroke-dasharray="2 4"'
        parts.append(f'<path d="M{here} {TOP - 6}V{bottom}" stroke="#bbb"{dash}/>')
        parts.append(f'<text x="{here}" y="{bottom + 16}" text-anchor="middle" fill="#555">{percent}</text>')
    for number, line in enumerate(shown):
        parts += _dots(line, TOP + ROW * number + ROW // 2)
    return "\n".join([*parts, "</svg>", ""])


def _across(auroc: float) -> str:
    return f"{LEFT + auroc * (WIDTH - LEFT - 24):.1f}"


def _dots(line: Line, y: int) -> list[str]:
    found = {task: line.figures[task][1] for task in COLOURS if task in line.figures}
    ends = f"M{_across(min(found.values()))} {y}H{_across(max(found.values()))}"
    return [
        f'<text x="{LEFT - 10}" y="{y + 4}" text-anchor="end">{line.detector}</text>',
        f'<path d="{ends}" stroke="#ddd" stroke-width="3"/>',
        *(f'<circle cx="{_across(auroc)}" cy="{y}" r="5" fill="{COLOURS[task]}"/>' for task, auroc in found.items()),
    ]


def replaced(page: str, inside: str, begin: str = BEGIN, end: str = END) -> str:
    """The page with `inside` between two marks."""
    before, rest = page.split(begin)
    return f"{before}{begin}\n{inside}\n{end}{rest.split(end)[1]}"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("results", type=click.Path(path_type=Path, exists=True))
def main(results: Path) -> None:
    """Write the table and the picture of docs/real-photographs.md from a results folder."""
    shown = lines(results)
    PAGE.write_text(replaced(PAGE.read_text(encoding="utf-8"), table(shown)), encoding="utf-8")
    PICTURE.write_text(picture(shown), encoding="utf-8")
    click.echo(f"{PAGE} and {PICTURE}: {len(shown)} detectors")


if __name__ == "__main__":
    main(prog_name="python -m docs._pages.real_photographs")
