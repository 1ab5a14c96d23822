"""Climbs an objective from images: the outcome of every climb, and the loop of those whose batches change.

In that loop an image that is done leaves the batch and the next one takes its place, so each image has its own count of
steps and its own state of the rule of ascent.
"""

from dataclasses import dataclass, fields
from math import inf
from typing import Protocol, Self, TypeVar

import torch
from torch import Tensor

from oodbench.attacks.balls import Ball, LinfBall
from oodbench.attacks.slope import value_and_slope
from oodbench.basics.gradient import PerImage

EARLY = 10
"""An ascent that finds nothing better after so many iterations is suspicious."""


@dataclass(frozen=True)
class Ascent:
    """The outcome of an ascent.

    Attributes:
        images: (N, C, H, W) in [0, 1], in the ball.
        before: (N,) the objective where it began.
        after: (N,) the objective at `images`; never below `before`.
        stuck: (N,) bool: the gradient at the start was zero, denormal or not a number in every pixel.
        broken: (N,) bool: at some point of the climb the gradient was not a number in some pixel.
        stalled: (N,) bool: more than `EARLY` iterations, and nothing better after those.
    """

    images: Tensor
    before: Tensor
    after: Tensor
    stuck: Tensor
    broken: Tensor
    stalled: Tensor


def vanishes(gradient: Tensor) -> Tensor:
    """True, (N,), for each image whose gradient, of (N, C, H, W), is zero, denormal or not a number in every pixel.

    Denormal numbers count as zero: so close to underflow, which pixels have a sign at all is an accident.
    """
    return ~(gradient.abs() >= torch.finfo(gradient.dtype).tiny).flatten(1).any(1)


def has_nan(gradient: Tensor) -> Tensor:
    """True, (N,), for each image whose gradient, of (N, C, H, W), is not a number in some pixel, or infinite both ways.

    It takes one pass over the pixels, since it is called in every step.
    """
    return gradient.flatten(1).sum(1).isnan()


class BestPoints:
    """The best point of each image on a climb that moves all images together.

    Args:
        points: (N, C, H, W), where the climb begins.
        values: (N,), the objective there.

    Attributes:
        points: (N, C, H, W), the best so far.
        values: (N,), the objective there.
    """

    def __init__(self, points: Tensor, values: Tensor) -> None:
        self.points, self.values = points.clone(), values.clone()
        self._improved_at = torch.zeros(len(points), dtype=torch.int64, device=points.device)

    def offer(self, points: Tensor, values: Tensor, iteration: int) -> None:
        """Keep those of `points` that are better than any before; anything is better than what is not a number."""
        better = (values > self.values) | (self.values.isnan() & ~values.isnan())
        # Chosen rather than assigned by mask, for which a GPU would have to be waited for in every step.
        torch.where(better, values, self.values, out=self.values)
        torch.where(better[:, None, None, None], points, self.points, out=self.points)
        self._improved_at.masked_fill_(better, iteration)

    def stalled(self, steps: int) -> Tensor:
        """(N,) bool: of more than `EARLY` steps none after those found anything better."""
        return (self._improved_at <= EARLY) & (steps > EARLY)


def at_summit(objective: PerImage, around: Ball, points: Tensor, batch: int = 64) -> Tensor:
    """True, (N,), for each point from which no step along the gradient leads on: it is at the ball's end already.

    An image that gets there in one step has not stalled.

    Args:
        objective: as in `ascend`.
        around: the balls.
        points: (N, C, H, W) in the balls.
        batch: images at a time.

    Raises:
        NoGradientError: the objective has no gradient.
    """
    parts = [torch.zeros(0, dtype=torch.bool, device=points.device)]
    for rows in torch.split(torch.arange(len(points), device=points.device), batch):
        if not len(rows):
            continue  # split makes one part of no rows
        _, gradient = value_and_slope(objective, points[rows])
        parts.append(around.select(rows).is_summit(points[rows], gradient))
    return torch.cat(parts)


@dataclass
class Climbers:
    """The state of images that are being climbed from, a row each. A rule of ascent adds state of its own.

    Attributes:
        rows: int64 (B,), of each among all images.
        current: (B, C, H, W), the current points.
        best: (B, C, H, W), the best points so far.
        best_value: float64 (B,), the objective there.
        iteration: int64 (B,), steps made.
        improved: int64 (B,), steps made when the best point was result.
    """

    rows: Tensor
    current: Tensor
    best: Tensor
    best_value: Tensor
    iteration: Tensor
    improved: Tensor

    def select(self, keep: Tensor) -> Self:
        """The state of the marked images alone."""
        return type(self)(*(getattr(self, field.name)[keep] for field in fields(self)))

    def with_more(self, more: Self) -> Self:
        """The state of these images, then of `more`."""
        return type(self)(
            *(torch.cat([getattr(self, field.name), getattr(more, field.name)]) for field in fields(self))
        )

    def keep_better(self, value: Tensor) -> None:
        """Keep the current points that are better than any before; `value` is float64 (B,)."""
        better = (value > self.best_value) | (self.iteration == 0)
        self.best[better], self.best_value[better] = self.current[better], value[better]
        self.improved[better] = self.iteration[better]


def first_state(rows: Tensor, points: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The state of images at their first points, in the order of the attributes of `Climbers`."""
    lowest = torch.full((len(rows),), -inf, dtype=torch.float64, device=points.device)
    zero = torch.zeros(len(rows), dtype=torch.int64, device=points.device)
    return rows, points, points.clone(), lowest, zero, zero.clone()


C = TypeVar("C", bound=Climbers)


class Rule(Protocol[C]):
    """How a climb moves from one point to the next."""

    def __init__(self, *, epsilon: float, iterations: int, device: torch.device) -> None:
        """Prepare for balls of radius `epsilon`/255 and so many gradient steps."""

    def enter(self, rows: Tensor, points: Tensor) -> C:
        """The state of the images in `rows`, (B,), at their first points (B, C, H, W)."""

    def move(self, climbers: C, value: Tensor, gradient: Tensor, around: Ball) -> None:
        """Set the climbers' next current points, each in its ball.

        Args:
            climbers: state of B images.
            value: the objective at the current points, float64 (B,).
            gradient: the gradient there, (B, C, H, W), without NaN.
            around: the balls of the B images.
        """


def ascend(
    rule: type[Rule[C]],
    objective: PerImage,
    images: Tensor,
    *,
    epsilon: float,
    iterations: int,
    start: Tensor | None = None,
    enough: float = inf,
    batch: int = 64,
    ball: type[Ball] = LinfBall,
) -> Ascent:
    """Climb `objective` inside the ball of radius `epsilon` around `images`, and inside [0, 1].

    Args:
        rule: of the climb.
        objective: no labels; must treat the images of a batch one by one.
        images: float (N, C, H, W) in [0, 1].
        epsilon: radius in 1/255 of pixel space.
        iterations: gradient steps; costs iterations + 1 forward and backward passes at most.
        start: images to start from, projected first; None starts from `images`.
        enough: an image stops where the objective reaches this.
        batch: images at a time.
        ball: in which norm.

    Returns:
        Images that are not rounded to the 8-bit grid: a caller that keeps them rounds them and scores them again.
        `before` is the objective at the start; an image that has reached `enough` has not stalled.

    Raises:
        OodbenchError: images outside [0, 1].
    """
    around = ball(images, epsilon)
    begin = images if start is None else around.project(start)
    numbers, flags = images.new_zeros((2, len(images)), dtype=torch.float64), images.new_zeros((3, len(images))).bool()
    result = Ascent(begin.clone(), *numbers, *flags)
    steps = rule(epsilon=epsilon, iterations=iterations, device=images.device)
    waiting = torch.arange(len(images), device=images.device)
    climbers = steps.enter(waiting[:0], begin[:0])
    while len(waiting) or len(climbers.rows):
        room = batch - len(climbers.rows)
        if room and len(waiting):
            climbers = climbers.with_more(steps.enter(waiting[:room], begin[waiting[:room]]))
            waiting = waiting[room:]
        value, gradient = value_and_slope(objective, climbers.current)
        value = value.double().nan_to_num(-inf, inf, -inf)
        fresh = climbers.iteration == 0
        if fresh.any():
            entered = climbers.rows[fresh]
            result.before[entered] = value[fresh]
            result.stuck[entered] = vanishes(gradient[fresh])
        result.broken[climbers.rows] |= has_nan(gradient)
        climbers.keep_better(value)
        done = (climbers.iteration == iterations) | (climbers.best_value >= enough)
        if done.any():
            finished = climbers.select(done)
            result.images[finished.rows], result.after[finished.rows] = finished.best, finished.best_value
            idle = (finished.improved <= EARLY) & (iterations > EARLY)
            result.stalled[finished.rows] = idle & (finished.best_value < enough)
            climbers, value, gradient = climbers.select(~done), value[~done], gradient[~done]
        steps.move(climbers, value, gradient.nan_to_num(0.0), around.select(climbers.rows))
        climbers.iteration = climbers.iteration + 1
    return result
