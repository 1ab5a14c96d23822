"""Tasks of one ascent inside a ball: what `linf` and `l2` have in common."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from oodbench.basics.passes import Passes
from oodbench.basics.words import counted
from oodbench.tasks.task import NORMS, Altered, Task, attacked, check_side

if TYPE_CHECKING:
    from torch import Tensor

    from oodbench.attacks.ascent import Ascent
    from oodbench.attacks.attack_goal import Goal
    from oodbench.basics.gradient import PerImage
    from oodbench.tasks.versions import Indices


@dataclass(frozen=True)
class OneAscent(Task):
    """Each OOD image moves inside a ball to where the detector takes it for ID. No labels.

    Attributes:
        epsilon: radius, in 1/255 of pixel space.
        steps: gradient steps.
        step: length of each, in 1/255.
        objective: "published" climbs what the method's paper climbs (for one that reworks another's score, that score:
            its attacks are transferred), "adaptive" climbs the detector's own score, of a random one the expectation.
        side: "out" attacks OOD images, "in" ID images, "both" both.
    """

    epsilon: int = 8
    steps: int = 40
    step: int = 1
    objective: str = "published"
    side: str = "out"

    def __post_init__(self) -> None:
        self.check_radius(self.epsilon)
        if self.steps < 1 or self.step < 1:
            raise ValueError(f"steps is {self.steps} and step is {self.step}: an attack needs at least 1 of each")
        if self.objective not in ("published", "adaptive"):
            raise ValueError(f"objective is {self.objective!r}: choose 'published' or 'adaptive'")
        check_side(self.side)

    @staticmethod
    @abstractmethod
    def check_radius(epsilon: int) -> None:
        """ValueError for a radius that its ball cannot have."""

    @abstractmethod
    def ascend(self, objective: PerImage, images: Tensor, indices: Indices, purpose: str) -> Ascent:
        """Climb the objective from a random start; see `alter`."""

    @property
    @abstractmethod
    def looks(self) -> int:
        """Passes forward that an ascent of `steps` gradients takes for one image."""

    def alter(self, goal: Goal, images: Tensor, indices: Indices, purpose: str) -> Altered:
        """The strongest images found, with the objective before and after, and where the gradient led nowhere."""
        # What a suite says can be read without torch, which an attack takes.
        from oodbench.attacks.balls import BALLS
        from oodbench.tasks.climbed import climbed

        objective = goal.published if self.objective == "published" else goal.climbed(purpose)
        found = self.ascend(objective, images, indices, purpose)
        return climbed(found, objective, images, lambda some: BALLS[self.norm](some, self.epsilon))

    def passes(self) -> Passes:
        """The attack, then one pass for the score."""
        return Passes(self.looks, self.steps) + Passes(forward=1)

    def threat(self) -> str:
        """The ball, and what is climbed in it."""
        return (
            f"{attacked(self.side)}; {NORMS[self.norm]} {self.epsilon}/255, {counted(self.steps, 'step')} of "
            f"{self.step}/255, {self.objective} objective"
        )
