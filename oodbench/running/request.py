"""What somebody asked for, as plain data."""

import re
from dataclasses import dataclass
from pathlib import Path

import torch

from oodbench.basics.errors import OodbenchError
from oodbench.basics.team import ALONE, Team
from oodbench.detector import Detector
from oodbench.networks.precision import EXACT, Compute
from oodbench.results.conditions import Setup
from oodbench.suite import Suite
from oodbench.suitefiles.settings import Setting


@dataclass(frozen=True)
class Machinery:
    """What calculates, and with whom.

    Attributes:
        device: where networks run in this process.
        team: the processes that work together.
        compute: precision of training and scores, and whether networks are compiled.
    """

    device: torch.device
    team: Team = ALONE
    compute: Compute = EXACT

    @property
    def setup(self) -> Setup:
        """As results say it."""
        return Setup(self.device, self.team.size, self.compute)


@dataclass(frozen=True)
class Request:
    """What somebody asked for.

    Attributes:
        suites: to run.
        detectors: classes to run on each.
        seed: of training and attacks.
        device: where networks run.
        data: folder of the image packs.
        out: results folder.
        checkpoint: a trained network for every detector, instead of training.
        pretrained: take the trained networks that are kept for everybody where they are what would be trained.
        limit: images taken of each ID and OOD set, of each label its share, evenly spread; None for all.
        images: images taken of each OOD set in the same way; None for all.
        settings: parameters changed for this run.
        again: do what is already there once more.
        keep_images: store what attacks made of the images.
        thorough: judge each attack by others as well, see `oodbench.attacks.checks.thorough`.
        validation: score held-out ID images against reserved outliers instead of the test sets.
        compute: precision of training and scores, and whether networks are compiled.
        team: the processes that work on it together.
        threads: of a CPU on which networks run; 0 for as many as suit each network's size.
    """

    suites: tuple[Suite, ...]
    detectors: tuple[type[Detector], ...]
    seed: int
    device: torch.device
    data: Path
    out: Path
    checkpoint: Path | None = None
    pretrained: bool = False
    limit: int | None = None
    images: int | None = None
    settings: tuple[Setting, ...] = ()
    again: bool = False
    keep_images: bool = False
    thorough: bool = False
    validation: bool = False
    compute: Compute = EXACT
    team: Team = ALONE
    threads: int = 0

    @property
    def machinery(self) -> Machinery:
        """What calculates, and with whom."""
        return Machinery(self.device, self.team, self.compute)

    @property
    def setup(self) -> Setup:
        """What calculates, as results say it."""
        return self.machinery.setup


def parse_seeds(text: str) -> tuple[int, ...]:
    """Seeds from numbers and ranges that include their ends: `0-4`, `0,2,5`, `0-2,7`.

    Raises:
        OodbenchError: something else.
    """
    found: dict[int, None] = {}
    for part in text.split(","):
        matched = re.fullmatch(r"(\d+)(?:-(\d+))?", part.strip())
        first, last = (int(matched[1]), int(matched[2] or matched[1])) if matched else (1, 0)
        if first > last:
            raise OodbenchError(
                f"--seeds {text!r}: {part.strip()!r} is neither a number nor a range upwards: write for instance "
                "--seeds 0-4 or --seeds 0,2,7"
            )
        found |= dict.fromkeys(range(first, last + 1))
    return tuple(found)


def choose_device(name: str) -> torch.device:
    """The device called "auto", "cpu", "cuda" or "cuda:N".

    Raises:
        OodbenchError: it is none of these, or torch sees no such GPU.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, _, number = name.partition(":")
    if kind not in ("cpu", "cuda") or (number and not (kind == "cuda" and number.isdigit())):
        raise OodbenchError(f"--device {name!r} is not a device: choose auto, cpu, cuda or cuda:0")
    found = torch.cuda.device_count()
    if kind == "cuda" and int(number or 0) >= found:
        raise OodbenchError(f"--device {name} asks for a GPU and torch sees {found}: use --device auto, or cpu")
    return torch.device(name)
