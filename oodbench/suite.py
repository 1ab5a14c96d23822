"""Suite: a benchmark as plain data. It names image sets, a network, tasks and constants; it runs nothing."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from oodbench import networks
from oodbench.basics.errors import OodbenchError
from oodbench.basics.files import digest
from oodbench.images.augment import check_augmentations
from oodbench.images.preprocessing import Preprocessing
from oodbench.recipe import Recipe as Recipe  # said again: it is a part of suites, and read as one by plugins
from oodbench.tasks.task import Task

DISTANCES = ("near", "far", "aside")
MEANS = ("all", "near", "far")
"""Means over OOD sets that every suite has."""


@dataclass(frozen=True)
class IDSets:
    """The in-distribution side.

    Attributes:
        test: image set whose clean scores set every threshold.
        classes: K; labels run from 0 to K - 1.
        train: image set to train and fit on; None where networks come as checkpoints.
        heldout: images drawn from `train` that are neither trained nor fitted on: detectors are tuned on them.
    """

    test: str
    classes: int
    train: str | None = None
    heldout: int = 0

    def __post_init__(self) -> None:
        if self.classes < 2:
            raise ValueError(f"classes is {self.classes}: a classifier needs at least 2")
        if self.heldout < 0 or (self.heldout and self.train is None):
            raise ValueError(f"heldout is {self.heldout}: choose 0 or more images of the train set, and name that")
        if self.train == self.test:
            raise ValueError(f"train and test are both {self.test!r}: test images would be trained on")


@dataclass(frozen=True)
class OODSet:
    """One out-of-distribution test set, `near` or `far` from the ID classes.

    One that is `aside` has rows of its own in tables and enters no mean.
    """

    set: str
    distance: str

    def __post_init__(self) -> None:
        if self.distance not in DISTANCES:
            raise ValueError(f"distance is {self.distance!r}: choose 'near', 'far' or 'aside'")


@dataclass(frozen=True)
class Outliers:
    """Auxiliary outliers for training.

    Attributes:
        set: image set, used in its own order.
        reserved: images at its front that are kept for validation: what detectors and parameters are tuned on.
        augment: applied to each outlier.
        train_on_reserved: training uses the reserved images as well, as in the code of Chen et al. 2021, where windows
            of candidates begin behind them and run over the end of the set into them, and streams begin anywhere. What
            is then tuned on them has been trained on.
    """

    set: str
    reserved: int = 0
    augment: tuple[str, ...] = ("crop", "flip")
    train_on_reserved: bool = False

    def __post_init__(self) -> None:
        check_augmentations(self.augment, noise=False)  # they get what the recipe gives ID images
        if self.reserved < 0:
            raise ValueError(f"reserved is {self.reserved}: choose 0 or more images")

    @property
    def trained(self) -> slice:
        """Positions of the images that training uses."""
        return slice(0 if self.train_on_reserved else self.reserved, None)

    @property
    def mined_from(self) -> int:
        """The position, among the images that training uses, of the first that is not reserved."""
        return self.reserved if self.train_on_reserved else 0


@dataclass(frozen=True, repr=False)
class NetworkSpec:
    """A network by name, and how images go into it.

    Mean and deviation are the network's own where they are not given: 0 and 1, what timm has, or what its builder says.
    Given both, nobody is asked whether there is such a network before it is built, or its suite is loaded for a run.

    Attributes:
        name: see `oodbench.networks.named`: one that is registered, timm's, or FILE.py:BUILDER.
        mean: subtracted from each RGB channel inside the network, in [0, 1] units.
        std: divides each RGB channel.
        head: name of the last linear layer; "" to find it.
        taps: names of the parts whose outputs are feature maps; () for the network's usual ones.
        preprocessing: how image files become its input; None for the network's own.
    """

    name: str
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    head: str = ""
    taps: tuple[str, ...] = ()
    preprocessing: Preprocessing | None = None

    def __post_init__(self) -> None:
        if not (self.mean and self.std):
            try:
                mean, std = networks.normalisation(self.name)
            except OodbenchError as error:
                raise ValueError(str(error)) from error
            object.__setattr__(self, "mean", self.mean or mean)
            object.__setattr__(self, "std", self.std or std)
        if any(values and len(values) != 3 for values in (self.mean, self.std)) or min(self.std, default=1) <= 0:
            raise ValueError("mean and std are three numbers each, std above 0")

    @property
    def called(self) -> str:
        """Its name, wherever the file lies that has its builder."""
        return networks.called(self.name)

    def meaning(self) -> dict[str, Any]:
        """Its settings in JSON's types, for keys; those that the first results did not know only where they are set."""
        settings = {**asdict(self), "name": self.called}
        return {name: value for name, value in settings.items() if value or name in ("name", "mean", "std")}

    def input_preprocessing(self) -> Preprocessing | None:
        """Return how image files become the network's input, as the suite says or else the network itself.

        None where nobody has said it.

        Raises:
            OodbenchError: no such network.
        """
        return self.preprocessing or networks.preprocessing(self.name)

    @property
    def trained_as(self) -> str:
        """Its text in keys of trained networks: all but its taps, which move no weight."""
        return repr(replace(self, taps=()) if self.taps else self)

    def __repr__(self) -> str:
        settings = {name: getattr(self, name) for name in self.meaning()} | {"name": self.called}
        return f"NetworkSpec({', '.join(f'{name}={value!r}' for name, value in settings.items())})"


@dataclass(frozen=True)
class Suite:
    """A benchmark: which images, which network, which tasks.

    Attributes:
        name: its file's stem.
        version: bumped by hand when what it means changes.
        title: one line for people.
        paper: where the protocol comes from.
        id: in-distribution sets.
        ood: out-of-distribution test sets, in table order.
        network: its name, and how images go into it.
        tasks: by name, in table order.
        outliers: for methods that train with some.
        training: None where networks come as checkpoints.
        detectors: parameters by detector name, over the method's own defaults.
        named_means: OOD sets by the name of the mean that a table takes over them, such as "paper". One that names
            sets which the suite lacks, as a suite that extends another may inherit it, is left out of `means`.
        only: OOD sets that a run keeps to; all if empty. The suite stays what it is: results on some of its sets are
            results on the suite.
    """

    name: str
    version: int
    title: str
    paper: str
    id: IDSets
    ood: tuple[OODSet, ...]
    network: NetworkSpec
    tasks: Mapping[str, Task]
    outliers: Outliers | None
    training: Recipe | None
    detectors: Mapping[str, Mapping[str, Any]]
    named_means: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    only: tuple[str, ...] = ()

    @property
    def tested(self) -> tuple[OODSet, ...]:
        """The OOD sets that a run scores."""
        return tuple(ood for ood in self.ood if not self.only or ood.set in self.only)

    @property
    def means(self) -> dict[str, list[str]]:
        """OOD sets behind each mean that a table may show: those of `MEANS` that have any, and the suite's own."""
        every = [ood.set for ood in self.ood]
        means = {"all": [ood.set for ood in self.ood if ood.distance != "aside"]}
        for distance in ("near", "far"):
            means[distance] = [ood.set for ood in self.ood if ood.distance == distance]
        means |= {name: list(sets) for name, sets in self.named_means.items() if set(sets) <= set(every)}
        return {name: sets for name, sets in means.items() if sets}

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the suite's meaning: everything but its words, its means, its tasks and its detector parameters.

        Each result records its task and its parameters itself, so that a suite that learns of a new task or detector
        still compares with what it measured before.
        """
        meaning = {
            "id": asdict(self.id),
            "ood": [asdict(ood) for ood in self.ood],
            "network": self.network.meaning(),
            "outliers": asdict(self.outliers) if self.outliers else None,
            "training": self.training.meaning() if self.training else None,
        }
        return digest(json.dumps(meaning, sort_keys=True))
