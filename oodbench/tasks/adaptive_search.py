"""The search of the adaptive tasks: starts and climbs in stages, each image's best kept throughout."""

from collections.abc import Callable, Mapping
from contextlib import suppress

import numpy as np
import torch
from torch import Tensor

from oodbench.attacks import starting_points
from oodbench.attacks.adam import adam
from oodbench.attacks.apgd import apgd
from oodbench.attacks.ascent import Ascent, at_summit
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
"""The stages that may find the best version of an image, as numbered in the extras."""


def search_adaptively(
    budget: Budget, around: Ball, goal: Goal, images: Tensor, indices: Indices, purpose: str
) -> Altered:
    """Search balls around images for the points that score highest, see `oodbench.tasks.adaptive.LinfAdaptive`.

    Extras are scores before and after, which stage won, and what went wrong on the way.
    """
    search = _Search(goal, images, indices, around, purpose)
    for kind, points in starting_points.candidate_points(
        images, indices, around=around, count=budget.starts, lures=goal.lures, purpose=purpose
    ):
        search.offer(kind, points, search.all_rows)
    blind, flags = _climb_in_stages(budget, search, images)
    search.square(budget.blind, blind | flags["stuck"])
    search.square(budget.queries, ~blind & ~flags["stuck"])
    reducer = search.reducer
    retired = reducer.best >= goal.enough
    without_gradient = search.stage.new_tensor([STAGES.index(kind) for kind in (*starting_points.KINDS, "square")])
    guessed = torch.isin(search.stage, without_gradient) & ~retired & ~blind
    doubted = (guessed | flags["stalled"]) & ~blind
    at_summit = torch.zeros_like(doubted)
    at_summit[doubted] = search.at_summit(doubted)
    extras = {
        "blind": blind,
        "stuck": flags["stuck"],
        "stalled": flags["stalled"] & ~at_summit,
        "broken": search.broken,
        "objective_before": reducer.before,
        "objective_after": reducer.best,
        "stage": search.stage,
        "retired": retired,
        "guessed": guessed & ~at_summit,
    }
    return Altered(reducer.images, {name: value.double().cpu().numpy() for name, value in extras.items()})


def _climb_in_stages(budget: Budget, search: "_Search", images: Tensor) -> tuple[Tensor, Mapping[str, Tensor]]:
    """Carry out all climbs that follow a gradient.

    Returns:
        Where the score has no gradient at all, (N,) bool, and where its climb was "stuck" or "stalled", likewise.
    """
    goal = search.goal
    blind = torch.zeros(len(images), dtype=torch.bool, device=images.device)
    flags = {name: torch.zeros_like(blind) for name in ("stuck", "stalled")}
    if goal.expected:  # objectives without draws cost fewer passes, and a climb goes on well from where they led
        _climb_surrogates(budget.surrogate or budget.score, search, images)
    try:
        _climb_score(budget, search, flags)
    except NoGradientError:
        blind[:] = True
    if budget.surrogate and not goal.expected:
        _climb_surrogates(budget.surrogate, search, images)
    if goal.targets and budget.classes:
        with suppress(NoGradientError):  # the score may well have a gradient where its margins have none
            _climb_targets(budget, search, goal.targets)
    if not blind.any():
        _climb_from_afar(budget, search)
    return blind, flags


class _Search:
    """The state of the search for each image of a batch.

    Attributes:
        reducer: keeps the best version of each image.
        stage: int64 (N,), which of `STAGES` found it.
        broken: (N,) bool: somewhere on a climb of the score or of a margin the gradient was not a number.
        all_rows: the rows of all images.
    """

    def __init__(self, goal: Goal, images: Tensor, indices: Indices, around: Ball, purpose: str) -> None:
        self.goal, self.images, self._around = goal, images, around
        self._indices, self._purpose = indices, purpose
        self._size = batch_size(images.device, images.shape[-1])
        self.reducer = Reducer(self._in_batches(goal.score), images, int(around.epsilon), type(around))
        self.all_rows = torch.arange(len(images), device=images.device)
        self.stage = torch.zeros_like(self.all_rows)
        self.broken = torch.zeros_like(self.all_rows, dtype=torch.bool)

    def score(self, climb: str) -> PerImage:
        """The objective of a climb of the score; a random score has draws of this climb's own."""
        return self.goal.score_for_climb(f"{self._purpose}/{climb}")

    def open_rows(self) -> Tensor:
        """The rows of the images that have not got far enough."""
        return self.all_rows[self.reducer.best < self.goal.enough]

    def indices_of(self, rows: Tensor) -> Indices:
        """The indices of some images in their set, (R,)."""
        indices: Indices = self._indices[rows.cpu().numpy()]
        return indices

    def corners(self, draw: str, rows: Tensor) -> Tensor:
        """A corner of the ball of each of some images, (R, C, H, W), drawn anew under each name."""
        draws = starting_points.uniform_draws(self.images[rows], self.indices_of(rows), draw, self._purpose)
        return self._around.select(rows).corner(draws)

    def offer(self, stage: str, points: Tensor, rows: Tensor) -> Tensor:
        """Score points found for some images exactly, and keep the better ones; the scores (R,)."""
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
        """Climb from some images and offer the points that are found; the ascent, and their exact scores (R,)."""
        ascent = rule(
            objective,
            self.images[rows],
            epsilon=self._around.epsilon,
            ball=type(self._around),
            iterations=iterations,
            start=start,
            # Only scores compare with `enough`. A little beyond it, since rounding to the grid costs something.
            enough=self.goal.enough + 1e-3 * abs(self.goal.enough) if stage in ("score", "adam", "restart") else np.inf,
            batch=self._size,
        )
        if stage != "surrogate":  # a surrogate may be broken in places: the score is climbed as well
            self.broken[rows] |= ascent.broken
        return ascent, self.offer(stage, ascent.images, rows)

    def at_summit(self, marked: Tensor) -> Tensor:
        """True, (R,), for each of R marked images (N,) bool from which no step along the gradient leads on."""
        return at_summit(self.goal.score, self._around.select(marked), self.reducer.images[marked], self._size)

    def square(self, queries: int, marked: Tensor) -> None:
        """Search at random from the image itself, for those of the marked images (N,) bool that have not got far."""
        rows = self.open_rows()
        rows = rows[marked[rows]]
        if not queries or not len(rows):
            return
        generators = generators_per_image(self.indices_of(rows), "square", self._purpose)
        for part, part_generators in zip(torch.split(rows, self._size), _split(generators, self._size), strict=True):
            ascent = square(
                self.score("square"),
                self.images[part],
                epsilon=self._around.epsilon,
                ball=type(self._around),
                queries=queries,
                generators=part_generators,
            )
            self.offer("square", ascent.images, part)

    def _in_batches(self, function: PerImage) -> PerImage:
        return lambda images: torch.cat([function(part) for part in torch.split(images, self._size)])


def _climb_score(budget: Budget, search: _Search, flags: Mapping[str, Tensor]) -> None:
    """Climb the score by two rules from the best that is known, and mark in `flags` which images got nowhere."""
    rows = search.open_rows()
    climbed, _ = search.climb("score", search.score("score"), rows, search.reducer.images[rows], budget.score)
    for name in ("stuck", "stalled"):
        flags[name][rows] = getattr(climbed, name)
    rows = search.open_rows()
    climbed, _ = search.climb("adam", search.score("adam"), rows, search.reducer.images[rows], budget.adam, rule=adam)
    flags["stalled"][rows] &= climbed.stalled


def _climb_from_afar(budget: Budget, search: _Search) -> None:
    """Climb the score from random corners, and once more from the best that is known."""
    for number in range(budget.restarts):
        rows, draw = search.open_rows(), f"restart {number}"
        search.climb("restart", search.score(draw), rows, search.corners(draw, rows), budget.restart)
    if budget.again:
        rows = search.open_rows()
        search.climb("adam", search.score("again"), rows, search.reducer.images[rows], budget.again, rule=adam)


def _climb_surrogates(iterations: int, search: _Search, images: Tensor) -> None:
    """Climb the published objective and each surrogate from the images themselves; skip one without a gradient."""
    for objective in (search.goal.published, *search.goal.surrogates.values()):
        rows = search.open_rows()
        with suppress(NoGradientError):
            search.climb("surrogate", objective, rows, images[rows], iterations)


def _climb_targets(budget: Budget, search: _Search, targets: PerImage) -> None:
    """Climb the most likely targets a little each, and those that went highest once more from where they got to."""
    rows = search.open_rows()
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
        chosen = (tried == target).any(1).nonzero()[:, 0]
        if len(chosen):
            margin = _margin(targets, target)
            climbed, scores = search.climb("target", margin, rows[chosen], starts[chosen], budget.target)
            reached[chosen, target] = scores.double()
            points[target] = (chosen, climbed.images)
    best = reached.argsort(stable=True, dim=1, descending=True)[:, : budget.finalists]
    still_open = search.reducer.best[rows] < search.goal.enough
    for target, (chosen, reached_points) in points.items():
        again = (best[chosen] == target).any(1) & still_open[chosen]
        if again.any():
            margin = _margin(targets, target)
            search.climb("final", margin, rows[chosen[again]], reached_points[again], budget.final)


def _margin(targets: PerImage, target: int) -> PerImage:
    return lambda images: targets(images)[:, target]


def _split(generators: list[np.random.Generator], size: int) -> list[list[np.random.Generator]]:
    return [generators[start : start + size] for start in range(0, len(generators), size)]
