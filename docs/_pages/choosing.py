"""The page on which detector to take: the measured table, sorted for several wishes."""

from collections.abc import Iterator, Mapping, Sequence

from docs._pages import figures
from docs._pages.detectors import address
from docs._pages.page import Page, table
from oodbench.cli.work.describing import needs
from oodbench.registry import Registry

SUITE = "cifar10-small-adv"
BEST = 8

Line = tuple[str, str, Mapping[str, tuple[float, float, str]]]


def pages(registry: Registry) -> Iterator[Page]:
    """One page."""
    lines = [(name, needs(registry[name]), figures.measured(SUITE, name)) for name in registry.names()]
    lines = [line for line in lines if line[2]]
    plain = [line for line in lines if line[1].startswith("a plainly trained")]
    exposed = [line for line in lines if " with outliers" in line[1]]
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
        "By the AUROC that the adaptive attack leaves. What is below 50 percent is worse than guessing:",
        _listed(lines, "linf-adaptive"),
        _REST,
    ]
    yield Page("choosing.md", "Which detector?", "\n\n".join(parts) + "\n")


def _listed(lines: Sequence[Line], by: str) -> str:
    known = sorted((line for line in lines if by in line[2]), key=lambda line: -line[2][by][1])
    rows = [
        (
            f"[{name}]({address(name)})",
            figures.cell(found, "clean"),
            figures.cell(found, "linf-adaptive"),
            wants,
        )
        for name, wants, found in known[:BEST]
    ]
    return table(rows, ["detector", "clean", "adaptive attack", "needs"])


_OTHERWISE = """
Without outliers, a training of its own alone changes the network, too:
"""

_ABOUT = """
Each figure is *FPR@95 / AUROC* in percent on real photographs, measured by this project: CIFAR-10 against SVHN,
textures and Tiny-ImageNet, with a small network ([what exactly, and what the table does not
say](real-photographs.md)). FPR@95 is the share of other images that are accepted where 95 % of your own are kept, low
is good; AUROC is the chance that one of your own scores above another image, high is good. **Your images are other
images**: what is best here may not be best for you, and `oodbench run --detector all` tells you in one go.
""".strip()

_REST = """
## What it costs

Detectors that need a plainly trained network work on the one that you have. Nearly all of them take the one pass
through it that your classifier takes anyway; [their pages](detectors/index.md) say where they take more. Those that
need a training of their own replace your classifier, and some recognise your images less well: see *accuracy* in [the
whole table](real-photographs.md).
""".strip()
