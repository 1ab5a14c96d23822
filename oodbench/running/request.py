"""The request for a run, as plain data, in parts: each function takes the part that it needs."""

import re
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from oodbench.basics.errors import OodbenchError
from oodbench.basics.team import ALONE, Team
from oodbench.detector import Detector
from oodbench.networks.precision import EXACT, Compute
from oodbench.results.conditions import Setup
from oodbench.running.choices import LARGEST_SEED
from oodbench.running.imagesets import Sample
from oodbench.suite import Suite
from oodbench.suitefiles.settings import Setting


@dataclass(frozen=True)
class Machinery:
    """The machinery of a run: device, processes, precision and threads.

    Attributes:
        device: where networks run in this process.
        team: the processes that work together.
        compute: precision of training and scores, and whether networks are compiled.
        threads: of a CPU on which networks run; 0 for as many as suit each network's size.
    """

    device: torch.device
    team: Team = ALONE
    compute: Compute = EXACT
    threads: int = 0

    @property
    def setup(self) -> Setup:
        """The part of it that results tell."""
        return Setup(self.device, self.team.size, self.compute)


@dataclass(frozen=True)
class NetworkSource:
    """Where trained networks come from; a network that comes from none of these is trained.

    Attributes:
        checkpoint: a trained network for every detector.
        pretrained: take the networks that are kept for everybody, each where it is what would be trained.
        features: a feature pack, in place of images and network.
        module: somebody's network in memory, for every detector.
    """

    checkpoint: Path | None = None
    pretrained: bool = False
    features: Path | None = None
    module: nn.Module | None = None

    @property
    def file(self) -> Path | None:
        """The pack or the checkpoint, which is for every detector; None without either."""
        return self.features or self.checkpoint

    @property
    def given(self) -> bool:
        """True if one network or pack is given for every detector, and nothing is trained."""
        return self.file is not None or self.module is not None

    def absolute(self) -> "NetworkSource":
        """The same with absolute paths, which are valid in every working folder."""
        names = ("checkpoint", "features")
        return replace(self, **{name: path.absolute() for name in names if (path := getattr(self, name))})


@dataclass(frozen=True)
class Demands:
    """The demands on a run beside scoring what is missing.

    Attributes:
        again: score once more what is scored already.
        keep_images: store the attacked images with the scores.
        thorough: try other attacks against each one, see `oodbench.attacks.thorough_checks`.
    """

    again: bool = False
    keep_images: bool = False
    thorough: bool = False


@dataclass(frozen=True)
class Request:
    """A request for a run.

    Attributes:
        suites: to run.
        detectors: classes to run on each suite.
        seed: of training and attacks.
        sample: which images of each set.
        machinery: what calculates.
        out: results folder.
        settings: parameters changed for this run.
        source: where trained networks come from.
        demands: what is wanted beside the scores that are missing.
        unnamed: names of those of `detectors` that came with "all"; one that can do nothing with a suite is left out.
    """

    suites: tuple[Suite, ...]
    detectors: tuple[type[Detector], ...]
    seed: int
    sample: Sample
    machinery: Machinery
    out: Path
    settings: tuple[Setting, ...] = ()
    source: NetworkSource = NetworkSource()
    demands: Demands = Demands()
    unnamed: frozenset[str] = frozenset()


MANY = 10_000
"""The most seeds in one command: each is planned before the first one runs."""


def parse_seeds(text: str) -> tuple[int, ...]:
    """Seeds from numbers and ranges that include their ends: `0-4`, `0,2,5`, `0-2,7`.

    Raises:
        OodbenchError: the text is not of this form, a seed is beyond `LARGEST_SEED`, or there are more than `MANY`.
    """
    seeds: dict[int, None] = {}
    for part in text.split(","):
        matched = re.fullmatch(r"(\d+)(?:-(\d+))?", part.strip())
        first, last = (int(matched[1]), int(matched[2] or matched[1])) if matched else (1, 0)
        if first > last:
            raise OodbenchError(
                f"--seeds {text!r}: {part.strip()!r} is neither a number nor a range upwards: write for instance "
                "--seeds 0-4 or --seeds 0,2,7"
            )
        if last > LARGEST_SEED:
            raise OodbenchError(f"--seeds {text!r}: seeds go from 0 to {LARGEST_SEED}")
        if len(seeds) + last - first >= MANY:
            raise OodbenchError(f"--seeds {text!r} are more than {MANY:,} seeds: run them in parts")
        seeds |= dict.fromkeys(range(first, last + 1))
    return tuple(seeds)


def choose_device(name: str) -> torch.device:
    """The device called "auto", "cpu", "cuda" or "cuda:N".

    Raises:
        OodbenchError: the name is not one of these, or torch sees no such GPU.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    name = str(name)  # in Python it may be a torch.device
    kind, _, number = name.partition(":")
    if kind not in ("cpu", "cuda") or (number and not (kind == "cuda" and number.isdecimal())):
        raise OodbenchError(f"device {name!r} is not a device: choose auto, cpu, cuda or cuda:0")
    gpus = torch.cuda.device_count()
    if kind == "cuda" and int(number or 0) >= gpus:
        raise OodbenchError(f"device {name} asks for a GPU and torch sees {gpus}: use auto, or cpu")
    return torch.device(name)
