"""The L2 attack on OOD images: the task `linf` in another ball."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from oodbench.basics.passes import Passes
from oodbench.basics.words import counted
from oodbench.tasks.task import Altered, Task, attacked, check_l2_radius, check_side

if TYPE_CHECKING:
    from torch import Tensor

    from oodbench.attacks.attack_goal import Goal
    from oodbench.tasks.versions import Indices


@dataclass(frozen=True)
class L2(Task):
    """Each OOD image moves inside an L2 ball to where the detector takes it for ID.

    Projected gradient ascent from one random direction; the best iterate by what is climbed is brought to the 8-bit
    grid without leaving the ball, and kept if it is better there than the clean image. No labels. ID images stay clean
    unless `side` says otherwise; then they move to where the detector takes them for OOD.

    Attributes:
        epsilon: radius: the root of the sum of the squared changes of all pixels and channels, in 1/255 of pixel space;
            128 is the 0.5 of the literature.
        steps: gradient steps.
        step: length of each, in 1/255.
        objective: "published" climbs what the method's paper climbs (for one that reworks another's score, that score:
            its attacks are transferred), "adaptive" climbs the detector's own score, of a random one the expectation.
        side: "out" attacks OOD images, "in" ID images, "both" both.
    """

    kind = "l2"
    norm = "l2"

    epsilon: int = 128
    steps: int = 40
    step: int = 8
    objective: str = "published"
    side: str = "out"

    def __post_init__(self) -> None:
        check_l2_radius(self.epsilon)
        if self.steps < 1 or self.step < 1:
            raise ValueError(f"steps is {self.steps} and step is {self.step}: an attack needs at least 1 of each")
        if self.objective not in ("published", "adaptive"):
            raise ValueError(f"objective is {self.objective!r}: choose 'published' or 'adaptive'")
        check_side(self.side)

    def alter(self, goal: Goal, images: Tensor, indices: Indices, purpose: str) -> Altered:
        """The strongest images found, with the objective before and after, and where the gradient led nowhere."""
        # What a suite says can be read without torch, which an attack takes.
        import torch

        from oodbench.attacks.balls import L2Ball
        from oodbench.attacks.pgd_l2 import pgd_l2
        from oodbench.basics.randomness import uniform_per_image
        from oodbench.tasks.climbed import climbed

        uniform = torch.from_numpy(uniform_per_image(indices, tuple(images.shape[1:]), "l2", purpose)).to(images)
        start = L2Ball(images, self.epsilon).inside(2 * uniform - 1)
        objective = goal.published if self.objective == "published" else goal.climbed(purpose)
        found = pgd_l2(objective, images, epsilon=self.epsilon, step=self.step, steps=self.steps, start=start)
        return climbed(found, objective, images, lambda some: L2Ball(some, self.epsilon))

    def passes(self) -> Passes:
        """The attack, then one pass for the score."""
        return Passes(self.steps + 3, self.steps) + Passes(forward=1)

    def threat(self) -> str:
        """The ball, and what is climbed in it."""
        return (
            f"{attacked(self.side)}; L2 {self.epsilon}/255, {counted(self.steps, 'step')} of {self.step}/255, "
            f"{self.objective} objective"
        )
