"""The L-infinity attack that follows the detector's own score, in stages; each image keeps the best of them all."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from oodbench.attacks import starting_points
from oodbench.attacks.adam import adam
from oodbench.attacks.apgd import apgd
from oodbench.attacks.ascent import Ascent, summit
from oodbench.attacks.attack_goal import Goal
from oodbench.attacks.reducer import Reducer
from oodbench.attacks.square import square
from oodbench.basics.errors import NoGradientError
from oodbench.basics.gradient import PerImage
from oodbench.basics.passes import Passes
from oodbench.basics.randomness import generators_per_image
from oodbench.networks.network import batch_size
from oodbench.tasks.task import Altered, Task, attacked, check_radius, check_side
from oodbench.tasks.versions import Indices


@dataclass(frozen=True)
class Budget:
    """How much of each stage, for an image that never gets far enough.

    Attributes:
        starts: random corners of the ball, as many random points inside it, and as many points towards ID images.
        score: iterations of APGD on the score, from the best start.
        adam: iterations of Adam on the score, from where that got to.
        surrogate: iterations of APGD on what the method's paper climbs and on each surrogate, from the image itself.
        classes: targets that are tried, those with the largest margins.
        target: iterations on each of them.
        finalists: of them, those that went highest are climbed again.
        final: iterations on each of those.
        restarts: further climbs of the score, each from a corner of its own.
        restart: iterations of each.
        again: iterations of Adam on the score once more, from the best of all.
        queries: of Square at the end.
        blind: queries of Square where there is no gradient to follow; these come on top.
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

STAGES = ("image", *starting_points.KINDS, "score", "adam", "surrogate", "target", "final", "restart", "square")
"""What an image may owe its best version to, as numbered in the extras."""


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

    Attributes:
        epsilon: radius, in 1/255 of pixel space.
        level: "quick", "standard" or "plus".
        side: "out" attacks OOD images, "in" ID images, "both" both.
    """

    kind = "linf-adaptive"
    together = 4

    epsilon: int = 8
    level: str = "standard"
    side: str = "out"

    def __post_init__(self) -> None:
        check_radius(self.epsilon)
        if self.level not in LEVELS:
            raise ValueError(f"level is {self.level!r}: choose one of {', '.join(map(repr, LEVELS))}")
        check_side(self.side)

    def stops_at(self) -> float:
        """Share of the ID scores that an image has to pass to be left alone."""
        return 1.0 if self.level == "plus" else 0.999

    def alter(self, goal: Goal, images: Tensor, indices: Indices, purpose: str) -> Altered:
        """The best images found; scores before and after, which stage won, and what went wrong on the way."""
        budget, search = LEVELS[self.level], _Search(goal, images, indices, self.epsilon, purpose)
        for kind, points in starting_points.guesses(
            images, indices, epsilon=self.epsilon, count=budget.starts, lures=goal.lures, purpose=purpose
        ):
            search.offer(kind, points, search.everything)
        extras = {
            name: torch.zeros(len(images), dtype=torch.bool, device=images.device)
            for name in ("blind", "stuck", "stalled")
        }
        try:
            rows = search.open()
            climbed, _ = search.climb("score", goal.score, rows, search.reducer.images[rows], budget.score)
            for name in ("stuck", "stalled"):
                extras[name][rows] = getattr(climbed, name)
            rows = search.open()
            climbed, _ = search.climb("adam", goal.score, rows, search.reducer.images[rows], budget.adam, rule=adam)
            extras["stalled"][rows] &= climbed.stalled
            for objective in (goal.published, *goal.surrogates.values()) if budget.surrogate else ():
                rows = search.open()
                search.climb("surrogate", objective, rows, images[rows], budget.surrogate)
            if goal.targets and budget.classes:
                _climb_targets(budget, search, goal.targets)
            for number in range(budget.restarts):
                rows = search.open()
                drawn = starting_points.drawn(images[rows], search.indices_of(rows), f"restart {number}", purpose)
                away = images[rows] + drawn.sign() * self.epsilon / 255
                search.climb("restart", goal.score, rows, away, budget.restart)
            if budget.again:
                rows = search.open()
                search.climb("adam", goal.score, rows, search.reducer.images[rows], budget.again, rule=adam)
        except NoGradientError:
            extras["blind"][:] = True
        search.square(budget.blind, extras["blind"] | extras["stuck"])
        search.square(budget.queries, ~extras["blind"] & ~extras["stuck"])
        extras["broken"], reducer = search.broken, search.reducer
        retired = reducer.best >= goal.enough
        blindly = search.stage.new_tensor([STAGES.index(kind) for kind in (*starting_points.KINDS, "square")])
        guessed = torch.isin(search.stage, blindly) & ~retired & ~extras["blind"]
        doubted = (guessed | extras["stalled"]) & ~extras["blind"]
        arrived = torch.zeros_like(doubted)
        arrived[doubted] = search.at_the_summit(doubted)
        guessed, extras["stalled"] = guessed & ~arrived, extras["stalled"] & ~arrived
        extras |= {
            "objective_before": reducer.before,
            "objective_after": reducer.best,
            "stage": search.stage,
            "retired": retired,
            "guessed": guessed,
        }
        return Altered(reducer.images, {name: value.double().cpu().numpy() for name, value in extras.items()})

    def passes(self) -> Passes:
        """The most that an image with a gradient can cost, with one surrogate beside the published objective.

        Many retire early.
        """
        budget = LEVELS[self.level]
        climbs = [budget.score, budget.adam, *([budget.surrogate] * 2 if budget.surrogate else [])]
        climbs += [budget.restart] * budget.restarts + ([budget.again] if budget.again else [])
        climbs += [budget.target] * budget.classes + [budget.final] * budget.finalists
        scored = 1 + 3 * budget.starts + 1 + len(climbs) + bool(budget.classes) + budget.queries + 1
        return Passes(forward=scored) + sum((Passes(climb + 1, climb + 1) for climb in climbs), Passes())

    def threat(self) -> str:
        """The ball, and how hard it was searched."""
        return (
            f"{attacked(self.side)}; L-infinity {self.epsilon}/255, adaptive tier at level {self.level!r} on the "
            "detector's own score"
        )


class _Search:
    """What is known of each image of a batch so far.

    Attributes:
        reducer: the best of each image.
        stage: int64 (N,), which of `STAGES` found it.
        broken: (N,) bool: somewhere on a climb of the score or of a margin the gradient was not a number.
        everything: all rows.
    """

    def __init__(self, goal: Goal, images: Tensor, indices: Indices, epsilon: int, purpose: str) -> None:
        self.goal, self.images, self.epsilon = goal, images, epsilon
        self._indices, self._purpose = indices, purpose
        self._size = batch_size(images.device, images.shape[-1])
        self.reducer = Reducer(self._in_batches(goal.score), images, epsilon)
        self.everything = torch.arange(len(images), device=images.device)
        self.stage = torch.zeros_like(self.everything)
        self.broken = torch.zeros_like(self.everything, dtype=torch.bool)

    def open(self) -> Tensor:
        """Rows of the images that have not got far enough."""
        return self.everything[self.reducer.best < self.goal.enough]

    def indices_of(self, rows: Tensor) -> Indices:
        """Where some images stand in their set, (R,)."""
        indices: Indices = self._indices[rows.cpu().numpy()]
        return indices

    def offer(self, stage: str, points: Tensor, rows: Tensor) -> Tensor:
        """Exact scores (R,) of points found for some images; the better ones are kept."""
        before = self.reducer.best.clone()
        scores = self.reducer.offer(points, rows)
        self.stage[self.reducer.best > before] = STAGES.index(stage)
        return scores

    def climb(
        self,
        stage: str,
        objective: PerImage,
        rows: Tensor,
        start: Tensor,
        iterations: int,
        rule: Callable[..., Ascent] = apgd,
    ) -> tuple[Ascent, Tensor]:
        """A climb for some images, what it found offered, and the exact scores of that, (R,)."""
        found = rule(
            objective,
            self.images[rows],
            epsilon=self.epsilon,
            iterations=iterations,
            start=start,
            # Only the score knows what is enough. A little beyond it: rounding to the grid costs something.
            enough=self.goal.enough + 1e-3 * abs(self.goal.enough) if stage in ("score", "adam", "restart") else np.inf,
            batch=self._size,
        )
        if stage != "surrogate":  # a surrogate may have its holes: the score is climbed besides
            self.broken[rows] |= found.broken
        return found, self.offer(stage, found.images, rows)

    def at_the_summit(self, wanted: Tensor) -> Tensor:
        """Of the `wanted` images (N,) bool, R of them: no step along the gradient is left where they are, (R,) bool."""
        return summit(self.goal.score, self.images[wanted], self.reducer.images[wanted], self.epsilon, self._size)

    def square(self, queries: int, wanted: Tensor) -> None:
        """Random search, from the image itself, for those of the `wanted` images (N,) bool that are left."""
        rows = self.open()
        rows = rows[wanted[rows]]
        if not queries or not len(rows):
            return
        generators = generators_per_image(self.indices_of(rows), "square", self._purpose)
        for part, some in zip(torch.split(rows, self._size), _split(generators, self._size), strict=True):
            found = square(self.goal.score, self.images[part], epsilon=self.epsilon, queries=queries, generators=some)
            self.offer("square", found.images, part)

    def _in_batches(self, function: PerImage) -> PerImage:
        return lambda images: torch.cat([function(part) for part in torch.split(images, self._size)])


def _climb_targets(budget: Budget, search: _Search, targets: PerImage) -> None:
    """The likeliest targets a little each; those that went highest once more, from where they got to."""
    rows = search.open()
    if not len(rows):
        return
    with torch.no_grad():
        starts = search.reducer.images[rows]
        margins = torch.cat(
            [targets(part) for part in torch.split(starts, batch_size(starts.device, starts.shape[-1]))]
        )
    tried = margins.argsort(stable=True, dim=1, descending=True)[:, : budget.classes]
    reached = torch.full(margins.shape, -torch.inf, dtype=torch.float64, device=margins.device)
    points = {}
    for target in range(margins.shape[1]):
        some = (tried == target).any(1).nonzero()[:, 0]
        if len(some):
            climbed, scores = search.climb("target", _margin(targets, target), rows[some], starts[some], budget.target)
            reached[some, target] = scores.double()
            points[target] = (some, climbed.images)
    best = reached.argsort(stable=True, dim=1, descending=True)[:, : budget.finalists]
    still_open = search.reducer.best[rows] < search.goal.enough
    for target, (some, found) in points.items():
        again = (best[some] == target).any(1) & still_open[some]
        if again.any():
            chosen = rows[some[again]]
            search.climb("final", _margin(targets, target), chosen, found[again], budget.final)


def _margin(targets: PerImage, target: int) -> PerImage:
    return lambda images: targets(images)[:, target]


def _split(generators: list[np.random.Generator], size: int) -> list[list[np.random.Generator]]:
    return [generators[start : start + size] for start in range(0, len(generators), size)]
