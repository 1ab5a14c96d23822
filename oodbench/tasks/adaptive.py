"""The L-infinity attack that follows the detector's own score, in stages; each image keeps the best of them all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from oodbench.basics.passes import Passes
from oodbench.tasks.task import LATER, NORMS, Altered, Task, attacked_text, check_l2_radius, check_radius, check_side

if TYPE_CHECKING:
    from torch import Tensor

    from oodbench.attacks.attack_goal import Goal
    from oodbench.tasks.versions import Indices


@dataclass(frozen=True)
class Budget:
    """The work of each stage, for an image that never gets far enough.

    Attributes:
        starts: random corners of the ball, as many random points inside it, and as many points towards ID images.
        score: iterations of APGD on the score, from the best start.
        adam: iterations of Adam on the score, from where that got to.
        surrogate: iterations of APGD on the published objective and on each surrogate, from the image itself.
        classes: number of targets that are tried, those with the largest margins.
        target: iterations on each target.
        finalists: number of targets that are climbed again, those that went highest.
        final: iterations on each finalist.
        restarts: further climbs of the score, each from a corner of its own.
        restart: iterations of each restart.
        again: iterations of a last climb of Adam on the score, from the best of all.
        queries: of Square at the end.
        blind: queries of Square where there is no gradient to follow; these come in addition.
    """

    starts: int
    score: int
    adam: int
    surrogate: int = 0
    classes: int = 0
    target: int = 0
    finalists: int = 0
    final: int = 0
    restarts: int = 0
    restart: int = 0
    again: int = 0
    queries: int = 0
    blind: int = 1000


LEVELS: Mapping[str, Budget] = {
    "quick": Budget(starts=2, score=40, adam=40, blind=200),
    "standard": Budget(
        starts=8,
        score=100,
        adam=200,
        surrogate=50,
        classes=9,
        target=20,
        finalists=3,
        final=80,
        restarts=4,
        restart=50,
    ),
    "plus": Budget(
        starts=8,
        score=300,
        adam=600,
        surrogate=150,
        classes=9,
        target=60,
        finalists=3,
        final=240,
        restarts=12,
        restart=50,
        again=400,
        queries=5000,
        blind=10_000,
    ),
}


@dataclass(frozen=True)
class LinfAdaptive(Task):
    """Each OOD image moves inside an L-infinity ball to where the detector's score is highest.

    Starts are the image itself, random corners and points, points towards ID images and towards the image's mean. APGD
    climbs the score from the best of them, and Adam from there. Then APGD climbs the published objective and the
    method's surrogates from the image, then the margin of each likely class, then the score again from other corners,
    and at the level "plus" Adam begins once more from the best of all, with its long first steps.
    Whatever is found is rounded to the 8-bit grid and scored exactly, and the best is kept, so no stage can make the
    attack weaker. An image stops where its score is beyond 99.9 % of the ID scores, or, at the level "plus", beyond all
    of them. Where the score has no gradient at an image there is random search, without any gradient nothing else. No
    labels. ID images stay clean unless `side` says otherwise.

    Of a random score the expectation is climbed, see `oodbench.attacks.attack_goal`, after the published objective and
    the surrogates, which cost fewer passes.

    Attributes:
        epsilon: radius, in 1/255 of pixel space.
        level: "quick", "standard" or "plus".
        side: "out" attacks OOD images, "in" ID images, "both" both.
        eot: draws, at least, over which the mean of a random score is taken at each look; 1 for one score alone.
    """

    kind = "linf-adaptive"
    together = 4

    epsilon: int = 8
    level: str = "standard"
    side: str = "out"
    eot: int = field(default=Task.eot, metadata=LATER)

    def __post_init__(self) -> None:
        self._check_radius()
        if self.eot < 1:
            raise ValueError(f"eot is {self.eot}: an attack on a random score looks at 1 draw or more")
        if self.level not in LEVELS:
            raise ValueError(f"level is {self.level!r}: choose one of {', '.join(map(repr, LEVELS))}")
        check_side(self.side)

    def _check_radius(self) -> None:
        check_radius(self.epsilon)

    def stops_at(self) -> float:
        """The share of the ID scores that an image has to pass for the attack to stop."""
        return 1.0 if self.level == "plus" else 0.999

    def alter(self, goal: Goal, images: Tensor, indices: Indices, purpose: str) -> Altered:
        """The best images found. Extras: scores before and after, which stage won, and what went wrong on the way."""
        # torch is imported here and not above, so that suites can be read without it.
        from oodbench.attacks.balls import BALLS
        from oodbench.tasks.adaptive_search import search_adaptively

        return search_adaptively(
            LEVELS[self.level], BALLS[self.norm](images, self.epsilon), goal, images, indices, purpose
        )

    def passes(self) -> Passes:
        """The most passes that an image with a gradient can take, with one surrogate beside the published objective.

        Many images retire early.
        """
        budget = LEVELS[self.level]
        climbs = [budget.score, budget.adam, *([budget.surrogate] * 2 if budget.surrogate else [])]
        climbs += [budget.restart] * budget.restarts + ([budget.again] if budget.again else [])
        climbs += [budget.target] * budget.classes + [budget.final] * budget.finalists
        scored = 1 + 3 * budget.starts + 1 + len(climbs) + bool(budget.classes) + budget.queries + 1
        return Passes(forward=scored) + sum((Passes(climb + 1, climb + 1) for climb in climbs), Passes())

    def random_passes(self) -> Passes:
        """The passes for a random score: here every level climbs the published objective and a surrogate first."""
        budget = LEVELS[self.level]
        return self.passes() if budget.surrogate else self.passes() + Passes(budget.score + 2, budget.score + 1) * 2

    def threat(self) -> str:
        """A phrase for the ball and for how hard it was searched."""
        return (
            f"{attacked_text(self.side)}; {NORMS[self.norm]} {self.epsilon}/255, adaptive tier at level {self.level!r} "
            "on the detector's own score"
        )


@dataclass(frozen=True)
class L2Adaptive(LinfAdaptive):
    """Each OOD image moves inside an L2 ball to where the detector's score is highest.

    In the stages and with the flags of `linf-adaptive`: APGD and Adam take steps of the length that is theirs there,
    along the gradient's own direction, and end in the nearest point of the ball and of [0, 1]. What is found is brought
    to the 8-bit grid without leaving the ball: changes are rounded down, and up again where there is length left.

    Attributes:
        epsilon: radius: the root of the sum of the squared changes of all pixels and channels, in 1/255 of pixel space.
        level: "quick", "standard" or "plus".
        side: "out" attacks OOD images, "in" ID images, "both" both.
        eot: draws, at least, over which the mean of a random score is taken at each look; 1 for one score alone.
    """

    kind = "l2-adaptive"
    norm = "l2"

    epsilon: int = 128

    def _check_radius(self) -> None:
        check_l2_radius(self.epsilon)
