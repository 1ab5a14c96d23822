"""The L-infinity attack on OOD images. Chen et al. 2021, arXiv:2006.15207, in the constants of its reference code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from oodbench.basics.passes import Passes
from oodbench.basics.words import counted
from oodbench.tasks.task import Altered, Task, attacked, check_radius, check_side

if TYPE_CHECKING:
    from torch import Tensor

    from oodbench.attacks.attack_goal import Goal
    from oodbench.tasks.versions import Indices


@dataclass(frozen=True)
class Linf(Task):
    """Each OOD image moves inside an L-infinity ball to where the detector takes it for ID.

    Projected gradient ascent from one random whole-level start; the best iterate by what is climbed is kept, the clean
    image being a candidate. No labels. ID images stay clean unless `side` says otherwise; then they move to where the
    detector takes them for OOD.

    Attributes:
        epsilon: radius, in 1/255 of pixel space.
        steps: gradient steps.
        step: step size, in 1/255.
        objective: "published" climbs what the method's paper climbs (for one that reworks another's score, that score:
            its attacks are transferred), "adaptive" climbs the detector's own score, of a random one the expectation.
        side: "out" attacks OOD images, "in" ID images, "both" both.
    """

    kind = "linf"

    epsilon: int = 8
    steps: int = 40
    step: int = 1
    objective: str = "published"
    side: str = "out"

    def __post_init__(self) -> None:
        check_radius(self.epsilon)
        if self.steps < 1 or self.step < 1:
            raise ValueError(f"steps is {self.steps} and step is {self.step}: an attack needs at least 1 of each")
        if self.objective not in ("published", "adaptive"):
            raise ValueError(f"objective is {self.objective!r}: choose 'published' or 'adaptive'")
        check_side(self.side)

    def alter(self, goal: Goal, images: Tensor, indices: Indices, purpose: str) -> Altered:
        """The strongest images found, with the objective before and after, and where the gradient led nowhere."""
        # What a suite says can be read without torch, which an attack takes.
        import torch

        from oodbench.attacks.balls import LinfBall
        from oodbench.attacks.pgd import pgd, random_start
        from oodbench.basics.randomness import uniform_per_image
        from oodbench.tasks.climbed import climbed

        uniform = uniform_per_image(indices, tuple(images.shape[1:]), "linf", purpose)
        start = random_start(torch.from_numpy(uniform).to(images), self.epsilon)
        objective = goal.published if self.objective == "published" else goal.climbed(purpose)
        found = pgd(
            objective,
            images,
            epsilon=self.epsilon,
            step=self.step,
            steps=self.steps,
            start=start,
        )
        return climbed(found, objective, images, lambda some: LinfBall(some, self.epsilon))

    def passes(self) -> Passes:
        """The attack, then one pass for the score."""
        return Passes(self.steps + 2, self.steps) + Passes(forward=1)

    def threat(self) -> str:
        """The ball, and what is climbed in it."""
        return (
            f"{attacked(self.side)}; L-infinity {self.epsilon}/255, {counted(self.steps, 'step')} of {self.step}/255, "
            f"{self.objective} objective"
        )
