"""Recipe: how long, at which rates and with which augmentation a network is trained."""

from dataclasses import asdict, dataclass
from math import inf, isfinite
from typing import Any

from oodbench.images.augment import check_augmentations


@dataclass(frozen=True)
class Recipe:
    """How every network of the suite is trained: SGD with Nesterov momentum; defaults of Chen et al. 2021.

    Attributes:
        epochs: number of passes over the ID training set.
        drops: 0-based epochs at whose start the learning rate is divided by ten.
        warm_up: share of the training, from 0 to below 1, in which the learning rate rises evenly from nothing, to fall
            evenly to nothing in the rest of it (one cycle: Smith and Topin 2017, arXiv:1708.07120); 0 for a rate that
            only drops.
        learning_rate: the highest rate, which holds at the start or at the end of the warm-up.
        momentum: of SGD.
        weight_decay: on all parameters.
        augment: applied to each ID image: "crop", "flip", and "gaussian:DEVIATION" for noise, in units of [0, 1] pixel
            space. The outliers of a step get the noise as well: a network would tell them by its absence otherwise.
        start: trained network, by name or file, whose weights training starts from; "" to draw them.
    """

    epochs: int
    drops: tuple[int, ...] = ()
    warm_up: float = 0.0
    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 1e-4
    augment: tuple[str, ...] = ()
    start: str = ""

    def __post_init__(self) -> None:
        check_augmentations(self.augment)
        if self.epochs < 1 or self.learning_rate <= 0:
            raise ValueError(f"epochs is {self.epochs}, learning_rate {self.learning_rate}: both must be above 0")
        if not (isfinite(self.learning_rate) and 0 <= self.momentum < 1 and 0 <= self.weight_decay < inf):
            raise ValueError(
                f"learning_rate is {self.learning_rate}, momentum {self.momentum}, weight_decay {self.weight_decay}: "
                "choose a finite rate, 0 to below 1, and a finite 0 or more"
            )
        if not 0 <= self.warm_up < 1:
            raise ValueError(f"warm_up is {self.warm_up}: it is a share of the training, from 0 to below 1")
        if self.warm_up and self.drops:
            raise ValueError("warm_up and drops are two ways to lower the learning rate: choose one of them")

    def rate(self, epochs_done: float) -> float:
        """The learning rate's share of its highest, after `epochs_done` epochs, from 0 to below `epochs`."""
        if not self.warm_up:
            dropped: float = 0.1 ** sum(epochs_done >= drop for drop in self.drops)
            return dropped
        done = epochs_done / self.epochs
        return min(done / self.warm_up, (1 - done) / (1 - self.warm_up))

    def meaning(self) -> dict[str, Any]:
        """Its values in JSON's types; `start` and `warm_up`, later than the first results, only where they are used."""
        return {name: value for name, value in asdict(self).items() if value or name not in ("start", "warm_up")}
