"""The tables and the picture of docs/size-and-epochs, from a results folder.

    python -m docs._pages.sizes RESULTS

What stands between the page's marks is replaced, and the picture beside the page is drawn anew.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import click
import pandas as pd
from tabulate import tabulate

from docs._pages.real_photographs import BEGIN, END, POINT, replaced
from oodbench.networks import by_name
from oodbench.networks.cost import operations
from oodbench.results import tables
from oodbench.results.folder import find_results
from oodbench.results.tables.flags import find_flags, severities

PAGE = Path(__file__).parents[1] / "size-and-epochs" / "index.md"
PICTURE = PAGE.with_name("atom.svg")
MARKS: Mapping[str, tuple[str, str]] = {
    "atom": (BEGIN, END),
    "msp": ("<!-- msp: begin -->", "<!-- msp: end -->"),
}
"""The marks of the page around the table of each detector."""

TASKS = ("clean", "linf")
CLASSES, SHAPE = 10, (3, 32, 32)


@dataclass(frozen=True, eq=False)
class Training:
    """One training, and what its network reaches on held-out images.

    Attributes:
        million_operations: of a pass over one image.
        epochs: of the training.
        network: its name.
        accuracy: on ID images, in percent.
        figures: (FPR@95, AUROC) in percent by task.
        doubted: tasks whose figures may be off by more than a point.
    """

    million_operations: float
    epochs: int
    network: str
    accuracy: float
    figures: Mapping[str, tuple[float, float]]
    doubted: frozenset[str]


def trainings(frame: pd.DataFrame, detector: str) -> list[Training]:
    """The trainings of a detector's network; the smallest network first, and of one network the shortest training.

    Args:
        frame: tidy results.
        detector: its name.
    """
    rows = frame[frame["detector"] == detector]
    sizes_of_flags = severities(find_flags(rows[rows["metric"] != "accuracy"]))
    found = []
    for cell, own in rows.groupby("cell"):
        value = {(str(task), str(metric)): 100 * one for task, metric, one in own[["task", "metric", "value"]].values}
        network = str(own["network"].iloc[0])
        (epochs,) = re.findall(r"training\.epochs=(\d+)", str(own["settings"].iloc[0]))
        figures = {task: (value[task, "fpr95"], value[task, "auroc"]) for task in TASKS}
        doubted = frozenset(task for task in TASKS if sizes_of_flags.get((str(cell), task), 0.0) > POINT)
        accuracy = value["id", "accuracy"]
        found.append(Training(million_operations(network), int(epochs), network, accuracy, figures, doubted))
    return sorted(found, key=lambda training: (training.million_operations, training.epochs))


def million_operations(network: str) -> float:
    """Of a forward pass over one image; a network of a file is one of the file beside the page."""
    name = f"{PAGE.parent}/{network}" if ":" in network else network
    return operations(by_name.build(name, CLASSES), SHAPE) / 1e6


def table(shown: Sequence[Training]) -> str:
    """Markdown, a line a training: network, size and epochs, accuracy, FPR@95 / AUROC clean and attacked."""
    rows = [
        [
            training.network,
            f"{training.million_operations:.1f}",
            str(training.epochs),
            f"{training.accuracy:.1f}",
            *(_figure(training, task) for task in TASKS),
        ]
        for training in shown
    ]
    head = ["network", "million operations", "epochs", "accuracy", *TASKS]
    return tabulate(rows, head, "github", disable_numparse=True)


def _figure(training: Training, task: str) -> str:
    fpr95, auroc = training.figures[task]
    return f"{fpr95:.2f} / {auroc:.2f}" + "‡" * (task in training.doubted)


PANEL, HEIGHT, LEFT, TOP = 300, 240, 44, 64
"""Of the picture, in its units: a panel's width and height, and what is left of a panel and above it."""

LOWEST, HIGHEST, LONGEST = 50, 100, 24
"""Both panels go from 50 percent, where AUROC is guessing, to 100, and to 24 epochs."""

COLOURS = ("#4477aa", "#ee8866", "#228833", "#aa3377", "#999933")
"""Of networks, which also the colour-blind tell apart (Paul Tol's)."""


def picture(shown: Sequence[Training]) -> str:
    """SVG of two panels over epochs, a line for each network: ID accuracy, and AUROC under `linf`, in percent."""
    networks = list(dict.fromkeys(training.network for training in shown))
    colours = dict(zip(networks, cycle(COLOURS), strict=False))
    width, height = 2 * (LEFT + PANEL) + 20, TOP + HEIGHT + 44
    size = f'viewBox="0 0 {width} {height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12">',
        "<title>ATOM: accuracy and AUROC under attack over epochs, for networks of several sizes</title>",
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for number, network in enumerate(networks):
        x = LEFT + 170 * number
        parts.append(f'<circle cx="{x}" cy="18" r="5" fill="{colours[network]}"/>')
        parts.append(f'<text x="{x + 10}" y="22">{network}</text>')
    panels = (
        ("accuracy in percent", {training: training.accuracy for training in shown}),
        ("AUROC under linf in percent", {training: training.figures["linf"][1] for training in shown}),
    )
    for number, (title, values) in enumerate(panels):
        parts += _panel(LEFT + number * (PANEL + LEFT), title, values, colours)
    return "\n".join([*parts, "</svg>", ""])


def _panel(left: int, title: str, values: Mapping[Training, float], colours: Mapping[str, str]) -> list[str]:
    def across(epochs: float) -> float:
        return round(left + PANEL * epochs / LONGEST, 1)

    def down(percent: float) -> float:
        return round(TOP + HEIGHT * (HIGHEST - percent) / (HIGHEST - LOWEST), 1)

    bottom = down(LOWEST)
    parts = [f'<text x="{left}" y="{TOP - 14}" font-size="14">{title}</text>']
    for percent in range(LOWEST, HIGHEST + 1, 10):
        parts.append(f'<path d="M{left} {down(percent)}H{left + PANEL}" stroke="#ddd"/>')
        parts.append(f'<text x="{left - 6}" y="{down(percent) + 4}" text-anchor="end" fill="#555">{percent}</text>')
    for epochs in range(0, LONGEST + 1, 6):
        parts.append(f'<text x="{across(epochs)}" y="{bottom + 18}" text-anchor="middle" fill="#555">{epochs}</text>')
    parts.append(f'<text x="{left + PANEL / 2}" y="{bottom + 36}" text-anchor="middle" fill="#555">epochs</text>')
    for network, colour in colours.items():
        points = [(across(one.epochs), down(value)) for one, value in values.items() if one.network == network]
        line = "L".join(f"{x} {y}" for x, y in points)
        parts.append(f'<path d="M{line}" stroke="{colour}" stroke-width="2" fill="none"/>')
        parts += [f'<circle cx="{x}" cy="{y}" r="4" fill="{colour}"/>' for x, y in points]
    return parts


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("results", type=click.Path(path_type=Path, exists=True))
def main(results: Path) -> None:
    """Write the page's tables and picture from a results folder."""
    frame = tables.tidy(find_results(results).cells, {})
    page = PAGE.read_text(encoding="utf-8")
    for detector, marks in MARKS.items():
        page = replaced(page, table(trainings(frame, detector)), *marks)
    PAGE.write_text(page, encoding="utf-8")
    PICTURE.write_text(picture(trainings(frame, "atom")), encoding="utf-8")
    click.echo(f"{PAGE}: {frame['cell'].nunique()} trainings; {PICTURE}")


if __name__ == "__main__":
    main(prog_name="python -m docs._pages.sizes")
