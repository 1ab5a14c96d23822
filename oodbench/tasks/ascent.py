"""The common base of the tasks `linf` and `l2`: one ascent inside a ball."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from oodbench.basics.passes import Passes
from oodbench.basics.words import counted
from oodbench.tasks.task import NORMS, Altered, Task, attacked_text, check_side

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
        """Raise ValueError for a radius that the ball cannot have."""

    @abstractmethod
    def ascend(self, objective: PerImage, images: Tensor, indices: Indices, purpose: str) -> Ascent:
        """Climb the objective from a random start; see `alter`."""

    @property
    @abstractmethod
    def looks(self) -> int:
        """The forward passes that an ascent of `steps` gradients takes for one image."""

    def alter(self, goal: Goal, images: Tensor, indices: Indices, purpose: str) -> Altered:
        """The strongest images found. Extras: the objective before and after, and where the gradient led nowhere."""
        # torch is imported here and not above, so that suites can be read without it.
        from oodbench.attacks.balls import BALLS
        from oodbench.tasks.climbed import altered_by_ascent

        objective = goal.published if self.objective == "published" else goal.score_for_climb(purpose)
        ascent = self.ascend(objective, images, indices, purpose)
        return altered_by_ascent(ascent, objective, images, lambda centers: BALLS[self.norm](centers, self.epsilon))

    def passes(self) -> Passes:
        """The passes of the attack, and one for the score."""
        return Passes(self.looks, self.steps) + Passes(forward=1)

    def threat(self) -> str:
        """A phrase for the ball and for the objective that is climbed in it."""
        return (
            f"{attacked_text(self.side)}; {NORMS[self.norm]} {self.epsilon}/255, {counted(self.steps, 'step')} of "
            f"{self.step}/255, {self.objective} objective"
        )
