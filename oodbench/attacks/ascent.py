"""Ascent: what every climb is given and gives back, and the loop of those whose images come and go.

An image that is done leaves the batch and the next one takes its place, so each has its own count of steps and whatever
else a rule of ascent remembers of it.
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
"""Iterations after which an ascent that finds nothing more is suspicious."""


@dataclass(frozen=True)
class Ascent:
    """What an ascent found.

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


def nowhere(gradient: Tensor) -> Tensor:
    """(N,) bool: there is nothing to follow in a gradient (N, C, H, W).

    Denormal numbers count as zero: so close to underflow, which pixels have a sign at all is an accident.
    """
    return ~(gradient.abs() >= torch.finfo(gradient.dtype).tiny).flatten(1).any(1)


def not_a_number(gradient: Tensor) -> Tensor:
    """(N,) bool: a gradient (N, C, H, W) is not a number in some pixel, or infinite upwards and downwards.

    One look at all pixels, since it is asked in every step.
    """
    return gradient.flatten(1).sum(1).isnan()


def summit(objective: PerImage, around: Ball, points: Tensor, batch: int = 64) -> Tensor:
    """(N,) bool: at these points no step along the gradient is left, since each is where it points, at the end.

    Whoever gets there in one step has not stalled.

    Args:
        objective: as in `ascend`.
        around: the balls.
        points: (N, C, H, W) in the balls.
        batch: images at a time.

    Raises:
        NoGradientError: the objective has none.
    """
    found = [torch.zeros(0, dtype=torch.bool, device=points.device)]
    for rows in torch.split(torch.arange(len(points), device=points.device), batch):
        if not len(rows):
            continue  # split makes one part of nothing
        _, gradient = value_and_slope(objective, points[rows])
        found.append(around.of(rows).arrived(points[rows], gradient))
    return torch.cat(found)


@dataclass
class Climbers:
    """Images under way, a row each. A rule of ascent adds what it remembers of them.

    Attributes:
        rows: int64 (B,), where each stands among all images.
        current: (B, C, H, W), where it is.
        best: (B, C, H, W), the best point so far.
        best_value: float64 (B,), the objective there.
        iteration: int64 (B,), steps made.
        improved: int64 (B,), steps made when the best point was found.
    """

    rows: Tensor
    current: Tensor
    best: Tensor
    best_value: Tensor
    iteration: Tensor
    improved: Tensor

    def only(self, keep: Tensor) -> Self:
        """Those rows alone."""
        return type(self)(*(getattr(self, field.name)[keep] for field in fields(self)))

    def with_more(self, more: Self) -> Self:
        """These, then `more`."""
        return type(self)(
            *(torch.cat([getattr(self, field.name), getattr(more, field.name)]) for field in fields(self))
        )

    def note(self, value: Tensor) -> None:
        """Keep the current points that are better than any before; `value` is float64 (B,)."""
        better = (value > self.best_value) | (self.iteration == 0)
        self.best[better], self.best_value[better] = self.current[better], value[better]
        self.improved[better] = self.iteration[better]


def beginning(rows: Tensor, points: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """What `Climbers` holds of images that stand at their first points, in the order of its attributes."""
    lowest = torch.full((len(rows),), -inf, dtype=torch.float64, device=points.device)
    none = torch.zeros(len(rows), dtype=torch.int64, device=points.device)
    return rows, points, points.clone(), lowest, none, none.clone()


C = TypeVar("C", bound=Climbers)


class Rule(Protocol[C]):
    """How a climb goes on from one point to the next."""

    def __init__(self, *, epsilon: float, iterations: int, device: torch.device) -> None:
        """For balls of radius `epsilon`/255 and so many gradient steps."""

    def enter(self, rows: Tensor, points: Tensor) -> C:
        """Climbers of rows (B,) that stand at their first points (B, C, H, W)."""

    def move(self, climbers: C, value: Tensor, gradient: Tensor, around: Ball) -> None:
        """Set the climbers' next current points, each in its ball.

        Args:
            climbers: B of them.
            value: the objective at the current points, float64 (B,).
            gradient: there, (B, C, H, W), nowhere NaN.
            around: their balls.
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
        Images that are not rounded to the 8-bit grid: whoever keeps them does that and scores them again. `before` is
        the objective at the start; an image that has reached `enough` has not stalled.

    Raises:
        OodbenchError: images outside [0, 1].
    """
    around = ball(images, epsilon)
    begin = images if start is None else around.project(start)
    numbers, flags = images.new_zeros((2, len(images)), dtype=torch.float64), images.new_zeros((3, len(images))).bool()
    found = Ascent(begin.clone(), *numbers, *flags)
    going = rule(epsilon=epsilon, iterations=iterations, device=images.device)
    waiting = torch.arange(len(images), device=images.device)
    climbers = going.enter(waiting[:0], begin[:0])
    while len(waiting) or len(climbers.rows):
        room = batch - len(climbers.rows)
        if room and len(waiting):
            climbers = climbers.with_more(going.enter(waiting[:room], begin[waiting[:room]]))
            waiting = waiting[room:]
        value, gradient = value_and_slope(objective, climbers.current)
        value = value.double().nan_to_num(-inf, inf, -inf)
        fresh = climbers.iteration == 0
        if fresh.any():
            entered = climbers.rows[fresh]
            found.before[entered] = value[fresh]
            found.stuck[entered] = nowhere(gradient[fresh])
        found.broken[climbers.rows] |= not_a_number(gradient)
        climbers.note(value)
        done = (climbers.iteration == iterations) | (climbers.best_value >= enough)
        if done.any():
            finished = climbers.only(done)
            found.images[finished.rows], found.after[finished.rows] = finished.best, finished.best_value
            idle = (finished.improved <= EARLY) & (iterations > EARLY)
            found.stalled[finished.rows] = idle & (finished.best_value < enough)
            climbers, value, gradient = climbers.only(~done), value[~done], gradient[~done]
        going.move(climbers, value, gradient.nan_to_num(0.0), around.of(climbers.rows))
        climbers.iteration = climbers.iteration + 1
    return found
