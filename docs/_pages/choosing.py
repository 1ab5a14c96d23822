"""The page on which detector to take: the measured table, sorted for several wishes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from docs._pages import figures, real_photographs
from docs._pages.detectors import address, cost
from docs._pages.page import Page, table
from oodbench.cli.work.describing import needs
from oodbench.detector import Detector
from oodbench.registry import Registry

SUITE = "cifar10-small-adv"
BEST = 8
MARK = "‡"
"""Beside a figure that may be off by more than a point, see docs/guides/attacks.md."""


@dataclass(frozen=True)
class Line:
    """A detector that was measured.

    Attributes:
        name: of the detector.
        wants: what it needs.
        cost: of scoring an image.
        found: what `figures.measured` gives.
    """

    name: str
    wants: str
    cost: str
    found: Mapping[str, tuple[float, float, str]]


def pages(registry: Registry) -> Iterator[Page]:
    """One page."""
    lines = [line for name in registry.names() if (line := _line(registry[name])).found]
    plain = [line for line in lines if line.wants.startswith("a plainly trained")]
    exposed = [line for line in lines if " with outliers" in line.wants]
    otherwise = [line for line in lines if line not in plain and line not in exposed]
    parts = [
        "# Which detector?",
        _ABOUT,
        "## You have a trained classifier and nobody attacks you",
        "The best of those that need nothing else, by AUROC on clean images:",
        _listed(plain, "clean"),
        "## You can train, and have outliers",
        "Nobody attacks you, and you have images that are none of your classes. By AUROC on clean images:",
        _listed(exposed, "clean"),
        *([_OTHERWISE, _listed(otherwise, "clean")] if otherwise else []),
        "## Somebody may change the images to get past you",
        "By the AUROC that the adaptive attack leaves, what is marked ‡ last. Below 50 percent is worse than guessing:",
        _listed(lines, "linf-adaptive"),
        _REST,
    ]
    yield Page("choosing.md", "Which detector?", "\n\n".join(parts) + "\n")


def _line(detector: type[Detector]) -> Line:
    return Line(detector.name, needs(detector), cost(detector), figures.measured(SUITE, detector.name))


def _listed(lines: Sequence[Line], by: str) -> str:
    measured = (line for line in lines if by in line.found)
    known = sorted(measured, key=lambda line: (bool(_doubt(line, by)), -line.found[by][1]))
    rows = [
        (
            f"[{line.name}]({address(line.name)})",
            figures.cell(line.found, "clean") + _doubt(line, "clean"),
            figures.cell(line.found, "linf-adaptive") + _doubt(line, "linf-adaptive"),
            line.cost,
            line.wants,
        )
        for line in known[:BEST]
    ]
    return table(rows, ["detector", "clean", "adaptive attack", "an image costs", "needs"])


@cache
def _doubted() -> frozenset[tuple[str, str]]:
    """Detectors and tasks whose figure the table of the committed page of real photographs marks."""
    found = set()
    page = real_photographs.PAGE.read_text(encoding="utf-8")
    for row in page.split(real_photographs.BEGIN)[1].split(real_photographs.END)[0].strip().splitlines():
        name, _, *cells = [cell.strip() for cell in row.strip("| ").split("|")] + [""]
        tasks = zip(real_photographs.TASKS, cells, strict=False)
        found |= {(name.rstrip("*"), task) for task, cell in tasks if cell.endswith(MARK)}
    return frozenset(found)


def _doubt(line: Line, task: str) -> str:
    return MARK if (line.name, task) in _doubted() else ""


_OTHERWISE = """
Without outliers, a training of its own alone changes the network, too:
"""

_ABOUT = """
Each figure is *FPR@95 / AUROC* in percent on real photographs, measured by this project: CIFAR-10 against SVHN,
textures and Tiny-ImageNet, with a small network ([what exactly, and what the table does not
say](real-photographs.md)). FPR@95 is the share of other images that are accepted where 95 % of your own are kept, low
is good; AUROC is the chance that one of your own scores above another image, high is good. A figure marked ‡ may be
off by more than a point: [what a mark says](guides/attacks.md). **Your images are other images**: what is best here may
not be best for you, and `oodbench run --detector all` tells you in one go.
""".strip()

_REST = """
## What it costs

Detectors that need a plainly trained network work on the one that you have. Where an image costs 1 forward pass, it is
the pass that your classifier takes anyway. Those that need a training of their own replace your classifier, and some
recognise your images less well: see *accuracy* in [the whole table](real-photographs.md). [What it costs](cost.md) has
trainings and attacks.
""".strip()
