"""What is to be done on the machine, as data: the tests, the table of ratios, and runs of `oodbench`."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

SMALL, RESNET = "cifar10-small-adv", "cifar10-resnet18-adv"
TESTS = "tests/test_on_gpu.py"
"""All that bear the marker `gpu`; nothing else is imported, which may need what the machine lacks."""

HEADLINE = ("msp", "oe", "ntom", "atom")
"""A plain network, and those that the paper compares it with."""

MINING = (*HEADLINE, "acet")
"""Attacked on more images than the others: what is said of them is to be said with narrow intervals."""


@dataclass(frozen=True)
class Place:
    """Where it happens.

    Attributes:
        device: as `oodbench run --device` takes it.
        data: folder of packs.
        out: folder of all that is left behind, `state.json` and `results` in it.
        jobs: processes of one `oodbench run`; a small network leaves a large GPU waiting where there is one alone.
    """

    device: str
    data: Path
    out: Path
    jobs: int = 1

    @property
    def results(self) -> Path:
        """What `oodbench check` and `oodbench table` read."""
        return self.out / "results"


@dataclass(frozen=True)
class Evaluation:
    """One `oodbench run`.

    Attributes:
        suite: by name.
        detectors: by name.
        tasks: of the suite, or kinds that it lacks; all of the suite's if empty.
        images: of each OOD set; all for None.
        threat: whose images are attacked.
        limit: images of each set; all for None.
        settings: `name=value` each.
        pretrained: score with the networks that are kept in the repository where there are some, else train.
    """

    suite: str
    detectors: tuple[str, ...]
    tasks: tuple[str, ...] = ()
    images: int | None = None
    threat: str = "out"
    limit: int | None = None
    settings: tuple[str, ...] = ()
    pretrained: bool = False

    def arguments(self, only: Sequence[str], place: Place) -> tuple[str, ...]:
        """Of the command, keeping to the OOD sets `only`."""
        named = [("--suite", self.suite), ("--threat", self.threat)]
        named += [("--detector", name) for name in self.detectors]
        named += [("--task", name) for name in self.tasks]
        named += [("--only", name) for name in only]
        named += [("--set", text) for text in self.settings]
        named += [("--images", str(self.images))] if self.images else []
        named += [("--limit", str(self.limit))] if self.limit else []
        named += [("--device", place.device), ("--data", str(place.data)), ("--out", str(place.results))]
        named += [("--jobs", str(place.jobs))]
        return ("run", *(word for pair in named for word in pair), *["--pretrained"] * self.pretrained)


@dataclass(frozen=True)
class Step:
    """One command, to be interrupted and begun again as often as need be.

    Attributes:
        name: of the step, and of the file with what it printed.
        about: for people.
        module: what Python runs.
        words: its arguments; of `oodbench`, those of `evaluation`.
        evaluation: None for what is done in one go.
    """

    name: str
    about: str
    module: str = "oodbench"
    words: tuple[str, ...] = ()
    evaluation: Evaluation | None = None

    def command(self, only: Sequence[str], place: Place) -> tuple[str, ...]:
        """What to start."""
        words = self.evaluation.arguments(only, place) if self.evaluation else self.words
        return (sys.executable, "-m", self.module, *words)


def steps(place: Place, detectors: Sequence[str]) -> list[Step]:
    """All of them in their order: what is cheap and tells most comes first.

    Args:
        place: where.
        detectors: every one that there is.
    """
    rest = tuple(name for name in detectors if name not in HEADLINE)
    others = tuple(name for name in detectors if name not in MINING)
    runs: Mapping[str, tuple[str, Evaluation]] = {
        "small-headline": ("the small network: plain, OE, NTOM, ATOM", Evaluation(SMALL, HEADLINE, pretrained=True)),
        "small-others": ("the same for every other method", Evaluation(SMALL, rest, pretrained=True)),
        "small-adaptive-1000": (
            "the adaptive attack on 1,000 images of each set",
            Evaluation(SMALL, MINING, ("linf-adaptive",), 1000, pretrained=True),
        ),
        "small-adaptive-200": (
            "the same on 200 for all other methods",
            Evaluation(SMALL, others, ("linf-adaptive",), 200, pretrained=True),
        ),
        "resnet18": ("ResNet-18: plain, OE, NTOM, ATOM", Evaluation(RESNET, HEADLINE)),
        "resnet18-adaptive-200": (
            "the adaptive attack on it, on 200 images of each set",
            Evaluation(RESNET, HEADLINE, ("linf-adaptive",), 200),
        ),
    }
    return [_tests(), _rates(place), *(Step(name, about, evaluation=one) for name, (about, one) in runs.items())]


def tiny(place: Place) -> list[Step]:
    """The same kinds of step in seconds, from images that need no pack; the figures mean nothing."""
    runs = {
        "tiny-clean": Evaluation("digits", ("msp",), limit=30, settings=("epochs=40",)),
        "tiny-attacked": Evaluation("digits-adv", ("oe",), ("linf",), limit=20, settings=("epochs=1", "linf.steps=2")),
    }
    rates = _rates(place, "--quick", "--only", "rate")
    return [_tests(), rates, *(Step(name, "to try it", evaluation=one) for name, one in runs.items())]


def _tests() -> Step:
    return Step("tests", "the tests that need a GPU", "pytest", ("-m", "gpu", "-q", "-p", "no:cacheprovider", TESTS))


def _rates(place: Place, *words: str) -> Step:
    groups = words or tuple(word for name in ("rate", "scoring", "attack", "training") for word in ("--only", name))
    about = "what the harness costs, and its share of the card's rate"
    return Step("rates", about, "benchmarks", (*groups, "--device", place.device))
