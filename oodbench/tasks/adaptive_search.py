"""The search of the adaptive tasks: starts and climbs in stages, each image's best kept throughout."""

from collections.abc import Callable, Mapping
from contextlib import suppress

import numpy as np
import torch
from torch import Tensor

from oodbench.attacks import starting_points
from oodbench.attacks.adam import adam
from oodbench.attacks.apgd import apgd
from oodbench.attacks.ascent import Ascent, summit
from oodbench.attacks.attack_goal import Goal
from oodbench.attacks.balls import Ball
from oodbench.attacks.reducer import Reducer
from oodbench.attacks.square import square
from oodbench.basics.errors import NoGradientError
from oodbench.basics.gradient import PerImage
from oodbench.basics.randomness import generators_per_image
from oodbench.networks.network import batch_size
from oodbench.tasks.adaptive import Budget
from oodbench.tasks.task import Altered
from oodbench.tasks.versions import Indices

STAGES = ("image", *starting_points.KINDS, "score", "adam", "surrogate", "target", "final", "restart", "square")
"""What an image may owe its best version to, as numbered in the extras."""


def altered(budget: Budget, around: Ball, goal: Goal, images: Tensor, indices: Indices, purpose: str) -> Altered:
    """What an adaptive task makes of a batch in balls around it, see `oodbench.tasks.adaptive.LinfAdaptive`.

    Extras are scores before and after, which stage won, and what went wrong on the way.
    """
    search = _Search(goal, images, indices, around, purpose)
    for kind, points in starting_points.guesses(
        images, indices, around=around, count=budget.starts, lures=goal.lures, purpose=purpose
    ):
        search.offer(kind, points, search.everything)
    extras = {
        name: torch.zeros(len(images), dtype=torch.bool, device=images.device) for name in ("blind", "stuck", "stalled")
    }
    if goal.expected:  # what nothing is random in costs fewer passes, and a climb goes on well from there
        _climb_surrogates(budget.surrogate or budget.score, search, images)
    try:
        _climb_score(budget, search, extras)
    except NoGradientError:
        extras["blind"][:] = True
    if budget.surrogate and not goal.expected:
        _climb_surrogates(budget.surrogate, search, images)
    if goal.targets and budget.classes:
        with suppress(NoGradientError):  # the score may well have one where its margins have none
            _climb_targets(budget, search, goal.targets)
    if not extras["blind"].any():
        _climb_from_afar(budget, search)
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


class _Search:
    """What is known of each image of a batch so far.

    Attributes:
        reducer: the best of each image.
        stage: int64 (N,), which of `STAGES` found it.
        broken: (N,) bool: somewhere on a climb of the score or of a margin the gradient was not a number.
        everything: all rows.
    """

    def __init__(self, goal: Goal, images: Tensor, indices: Indices, around: Ball, purpose: str) -> None:
        self.goal, self.images, self._around = goal, images, around
        self._indices, self._purpose = indices, purpose
        self._size = batch_size(images.device, images.shape[-1])
        self.reducer = Reducer(self._in_batches(goal.score), images, int(around.epsilon), type(around))
        self.everything = torch.arange(len(images), device=images.device)
        self.stage = torch.zeros_like(self.everything)
        self.broken = torch.zeros_like(self.everything, dtype=torch.bool)

    def score(self, climb: str) -> PerImage:
        """What a climb of the score climbs; a random one with draws of this climb's own."""
        return self.goal.climbed(f"{self._purpose}/{climb}")

    def open(self) -> Tensor:
        """Rows of the images that have not got far enough."""
        return self.everything[self.reducer.best < self.goal.enough]

    def indices_of(self, rows: Tensor) -> Indices:
        """Where some images stand in their set, (R,)."""
        indices: Indices = self._indices[rows.cpu().numpy()]
        return indices

    def corners(self, draw: str, rows: Tensor) -> Tensor:
        """Of the balls of some images a corner each, (R, C, H, W), drawn anew under each name."""
        drawn = starting_points.drawn(self.images[rows], self.indices_of(rows), draw, self._purpose)
        return self._around.of(rows).corner(drawn)

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
            epsilon=self._around.epsilon,
            ball=type(self._around),
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
        return summit(self.goal.score, self._around.of(wanted), self.reducer.images[wanted], self._size)

    def square(self, queries: int, wanted: Tensor) -> None:
        """Random search, from the image itself, for those of the `wanted` images (N,) bool that are left."""
        rows = self.open()
        rows = rows[wanted[rows]]
        if not queries or not len(rows):
            return
        generators = generators_per_image(self.indices_of(rows), "square", self._purpose)
        for part, some in zip(torch.split(rows, self._size), _split(generators, self._size), strict=True):
            found = square(
                self.score("square"),
                self.images[part],
                epsilon=self._around.epsilon,
                ball=type(self._around),
                queries=queries,
                generators=some,
            )
            self.offer("square", found.images, part)

    def _in_batches(self, function: PerImage) -> PerImage:
        return lambda images: torch.cat([function(part) for part in torch.split(images, self._size)])


def _climb_score(budget: Budget, search: _Search, extras: Mapping[str, Tensor]) -> None:
    """The score by two rules, from the best that is known; which images got nowhere is noted in the `extras`."""
    rows = search.open()
    climbed, _ = search.climb("score", search.score("score"), rows, search.reducer.images[rows], budget.score)
    for name in ("stuck", "stalled"):
        extras[name][rows] = getattr(climbed, name)
    rows = search.open()
    climbed, _ = search.climb("adam", search.score("adam"), rows, search.reducer.images[rows], budget.adam, rule=adam)
    extras["stalled"][rows] &= climbed.stalled


def _climb_from_afar(budget: Budget, search: _Search) -> None:
    """The score from corners that are drawn, and once more from the best that is known."""
    for number in range(budget.restarts):
        rows, draw = search.open(), f"restart {number}"
        search.climb("restart", search.score(draw), rows, search.corners(draw, rows), budget.restart)
    if budget.again:
        rows = search.open()
        search.climb("adam", search.score("again"), rows, search.reducer.images[rows], budget.again, rule=adam)


def _climb_surrogates(iterations: int, search: _Search, images: Tensor) -> None:
    """What the method's paper climbs and each surrogate, from the images themselves; one without a gradient is passed
    over.
    """
    for objective in (search.goal.published, *search.goal.surrogates.values()):
        rows = search.open()
        with suppress(NoGradientError):
            search.climb("surrogate", objective, rows, images[rows], iterations)


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
