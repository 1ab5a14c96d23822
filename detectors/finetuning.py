"""What methods share that go on from a plainly trained network: a second, short training at a small rate."""

from dataclasses import dataclass
from math import cos, pi

from oodbench.objective import Objective
from oodbench.suite import Recipe


@dataclass(frozen=True)
class Annealed(Recipe):
    """A recipe whose rate falls along half a cosine to nothing."""

    def rate(self, epochs_done: float) -> float:
        """(1 + cos(pi t)) / 2 after the share t of the epochs."""
        return (1 + cos(pi * epochs_done / self.epochs)) / 2


@dataclass(frozen=True)
class FineTuning(Objective):
    """Plain cross-entropy by the suite's recipe, to the weights that a plain network has, then this objective.

    Attributes:
        id_batch: images of the training set a step, in the fine-tuning.
        epochs: of the fine-tuning.
        learning_rate: at its start.
    """

    id_batch: int = 128
    epochs: int = 10
    learning_rate: float = 0.001

    def phases(self) -> tuple[Objective, ...]:
        """The plain training, and what goes on from there."""
        return (Objective(), self)

    def recipe(self, of_suite: Recipe) -> Recipe:
        """Few epochs at a rate that falls; the rest is as the suite says."""
        return Annealed(
            epochs=self.epochs,
            learning_rate=self.learning_rate,
            momentum=of_suite.momentum,
            weight_decay=of_suite.weight_decay,
            augment=of_suite.augment,
        )


@dataclass(frozen=True)
class FineTuningParameters:
    """What these methods share.

    Attributes:
        epochs: of the fine-tuning, 1 or more.
        learning_rate: at its start, above 0.
    """

    epochs: int = 10
    learning_rate: float = 0.001

    def __post_init__(self) -> None:
        if self.epochs < 1 or not self.learning_rate > 0:
            raise ValueError(f"epochs is {self.epochs}, learning_rate {self.learning_rate}: both must be above 0")
