"""The L-infinity attack that follows the detector's own score, in stages; each image keeps the best of them all."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from oodbench.attacks.apgd import apgd
from oodbench.attacks.goal import Goal
from oodbench.attacks.reducer import Reducer
from oodbench.passes import Passes
from oodbench.randomness import uniform_per_image
from oodbench.tasks.task import Altered, Task
from oodbench.tasks.versions import Indices


@dataclass(frozen=True)
class Budget:
    """How much of each stage.

    Attributes:
        corners: random corners of the ball that are tried as starts, and as many random points inside it.
        score: iterations of APGD on the score, from the best start.
        surrogate: iterations of APGD on what the method's paper climbs, from the image itself.
        restarts: further climbs of the score, each from a corner of its own.
        restart: iterations of each.
    """

    corners: int
    score: int
    surrogate: int
    restarts: int
    restart: int


LEVELS: Mapping[str, Budget] = {
    "quick": Budget(corners=2, score=40, surrogate=0, restarts=0, restart=0),
    "standard": Budget(corners=8, score=100, surrogate=50, restarts=4, restart=50),
    "plus": Budget(corners=8, score=300, surrogate=150, restarts=12, restart=50),
}


@dataclass(frozen=True)
class LinfAdaptive(Task):
    """Each OOD image moves inside an L-infinity ball to where the detector's score is highest.

    Starts are the image itself, random corners and random points; APGD climbs the score from the best of them, then the
    published objective from the image, then the score again from other corners. Whatever is found is rounded to the
    8-bit grid and scored exactly, and the best is kept, so no stage can make the attack weaker. No labels. ID images
    stay clean.

    Attributes:
        epsilon: radius, in 1/255 of pixel space.
        level: "quick", "standard" or "plus".
    """

    kind = "linf-adaptive"

    epsilon: int = 8
    level: str = "standard"

    def __post_init__(self) -> None:
        if not 0 <= self.epsilon <= 255:
            raise ValueError(f"epsilon is {self.epsilon}, but it counts levels of 1/255: choose 0 to 255")
        if self.level not in LEVELS:
            raise ValueError(f"level is {self.level!r}: choose one of {', '.join(map(repr, LEVELS))}")

    def alter(self, goal: Goal, images: Tensor, indices: Indices, purpose: str) -> Altered:
        """The best images found, the score before and after, which offer won, and where no gradient led anywhere."""
        budget = LEVELS[self.level]
        reducer = Reducer(goal.score, images, self.epsilon)

        def draw(name: str, count: int) -> Tensor:
            """Uniform draws in [-1, 1], (count, N, C, H, W)."""
            uniform = uniform_per_image(indices, (count, *images.shape[1:]), self.kind, name, purpose)
            return (2 * torch.from_numpy(uniform).to(images) - 1).movedim(1, 0)

        radius = self.epsilon / 255
        for start in (*draw("corners", budget.corners).sign(), *draw("points", budget.corners)):
            reducer.offer(images + radius * start)
        climbed = apgd(goal.score, images, epsilon=self.epsilon, iterations=budget.score, start=reducer.images)
        reducer.offer(climbed.images)
        if budget.surrogate:
            surrogate = goal.published
            found = apgd(surrogate, images, epsilon=self.epsilon, iterations=budget.surrogate)
            reducer.offer(found.images)
        for start in draw("restarts", budget.restarts).sign():
            away = images + radius * start
            found = apgd(goal.score, images, epsilon=self.epsilon, iterations=budget.restart, start=away)
            reducer.offer(found.images)
        extras = {
            "objective_before": reducer.before,
            "objective_after": reducer.best,
            "winner": reducer.winner,
            "stuck": climbed.stuck,
        }
        return Altered(reducer.images, {name: value.double().cpu().numpy() for name, value in extras.items()})

    def passes(self) -> Passes:
        """The clean image and its starts, the climbs and an exact score behind each, and the score."""
        budget = LEVELS[self.level]
        climbs = [budget.score, *([budget.surrogate] if budget.surrogate else []), *[budget.restart] * budget.restarts]
        scored = 1 + 2 * budget.corners + len(climbs) + 1
        return Passes(forward=scored) + sum((Passes(climb + 1, climb + 1) for climb in climbs), Passes())

    def threat(self) -> str:
        """The ball, and how hard it was searched."""
        return (
            f"OOD images attacked, L-infinity {self.epsilon}/255, adaptive tier at level {self.level!r} on the "
            "detector's own score; ID clean"
        )
