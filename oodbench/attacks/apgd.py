"""APGD: ascent with momentum whose step size adapts to each image. Croce and Hein 2020, arXiv:2003.01690, algorithm 1.

Every image has its own step size, counters and best point, and its own place in the schedule: an image that is done
leaves the batch and the next one takes its place.
"""

from dataclasses import dataclass, fields
from math import inf

import torch
from torch import Tensor

from oodbench.attacks.ascent import EARLY, Ascent, ball, not_a_number, nowhere
from oodbench.gradient import PerImage, value_and_gradient

MOMENTUM = 0.75
"""Share of the gradient step in a move; the rest is the last move."""

ENOUGH = 0.75
"""Share of the steps between two checkpoints that must have gone up."""


@dataclass
class _Slots:
    """Images under way, a row each."""

    rows: Tensor
    current: Tensor
    previous: Tensor
    best: Tensor
    best_direction: Tensor
    step: Tensor
    value: Tensor
    best_value: Tensor
    best_at_checkpoint: Tensor
    went_up: Tensor
    iteration: Tensor
    improved: Tensor
    cut: Tensor

    def only(self, keep: Tensor) -> "_Slots":
        """Those rows alone."""
        return _Slots(*(getattr(self, field.name)[keep] for field in fields(self)))

    def with_more(self, more: "_Slots") -> "_Slots":
        """These, then `more`."""
        return _Slots(*(torch.cat([getattr(self, field.name), getattr(more, field.name)]) for field in fields(self)))


def checkpoints(iterations: int) -> list[int]:
    """Iterations at which the step size is reconsidered: 0.22, 0.41, 0.57, ... of all (section 3.2)."""
    percents = [0, 22]
    while percents[-1] + 6 <= 100:
        percents.append(percents[-1] + max(percents[-1] - percents[-2] - 3, 6))
    return sorted({-(-percent * iterations // 100) for percent in percents[1:]})


def apgd(
    objective: PerImage,
    images: Tensor,
    *,
    epsilon: float,
    iterations: int,
    start: Tensor | None = None,
    enough: float = inf,
    batch: int = 64,
) -> Ascent:
    """Climb `objective` inside the L-infinity ball of radius `epsilon` around `images`, and inside [0, 1].

    Args:
        objective: no labels; must treat the images of a batch one by one.
        images: float (N, C, H, W) in [0, 1].
        epsilon: radius in 1/255 of pixel space.
        iterations: gradient steps; costs iterations + 1 forward and backward passes at most.
        start: images to start from, projected first; None starts from `images`.
        enough: an image stops where the objective reaches this.
        batch: images at a time.

    Returns:
        Images that are not rounded to the 8-bit grid: whoever keeps them does that and scores them again. `before` is
        the objective at the start; an image that has reached `enough` has not stalled.

    Raises:
        OodbenchError: images outside [0, 1].
    """
    radius = epsilon / 255
    lowest, highest = ball(images, epsilon)
    begin = images if start is None else torch.minimum(torch.maximum(start, lowest), highest)
    due, since = _schedule(iterations, images.device)
    numbers, flags = images.new_zeros((2, len(images)), dtype=torch.float64), images.new_zeros((3, len(images))).bool()
    found = Ascent(begin.clone(), *numbers, *flags)
    waiting = torch.arange(len(images), device=images.device)
    slots = _entering(waiting[:0], begin, radius)
    while len(waiting) or len(slots.rows):
        room = batch - len(slots.rows)
        if room and len(waiting):
            slots, waiting = slots.with_more(_entering(waiting[:room], begin, radius)), waiting[room:]
        value, gradient = value_and_gradient(objective, slots.current)
        value, direction = value.double().nan_to_num(-inf, inf, -inf), torch.sign(gradient).nan_to_num(0.0)
        fresh = slots.iteration == 0
        if fresh.any():
            entered = slots.rows[fresh]
            found.before[entered] = value[fresh]
            found.stuck[entered] = nowhere(gradient[fresh])
        found.broken[slots.rows] |= not_a_number(gradient)
        direction = _judged(slots, value, direction, due, since)
        done = (slots.iteration == iterations) | (slots.best_value >= enough)
        if done.any():
            finished = slots.only(done)
            found.images[finished.rows], found.after[finished.rows] = finished.best, finished.best_value
            idle = (finished.improved <= EARLY) & (iterations > EARLY)
            found.stalled[finished.rows] = idle & (finished.best_value < enough)
            slots, direction = slots.only(~done), direction[~done]
        _move(slots, direction, lowest[slots.rows], highest[slots.rows])
    return found


def _schedule(iterations: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """By iteration: whether the step size is reconsidered there, and how many steps ago it was before."""
    due, since, last = torch.zeros(iterations + 1, dtype=torch.bool), torch.ones(iterations + 1), 0
    for point in checkpoints(iterations):
        due[point], since[point], last = True, point - last, point
    return due.to(device), since.to(device)


def _entering(rows: Tensor, begin: Tensor, radius: float) -> _Slots:
    """Slots for images that begin."""
    points = begin[rows]
    lowest = torch.full((len(rows),), -inf, dtype=torch.float64, device=begin.device)
    none = torch.zeros(len(rows), dtype=torch.int64, device=begin.device)
    return _Slots(
        rows=rows,
        current=points,
        previous=points,
        best=points.clone(),
        best_direction=torch.zeros_like(points),
        step=points.new_full((len(rows), 1, 1, 1), 2 * radius),
        value=lowest.clone(),
        best_value=lowest.clone(),
        best_at_checkpoint=lowest.clone(),
        went_up=torch.zeros(len(rows), device=begin.device),
        iteration=none,
        improved=none.clone(),
        cut=torch.ones(len(rows), dtype=torch.bool, device=begin.device),
    )


def _judged(slots: _Slots, value: Tensor, direction: Tensor, due: Tensor, since: Tensor) -> Tensor:
    """Take note of the values at the current points; halve steps that lead nowhere and go back to the best point.

    Returns:
        The direction in which each image moves next.
    """
    fresh = slots.iteration == 0
    slots.went_up += (value > slots.value) & ~fresh
    better = (value > slots.best_value) | fresh
    slots.best[better], slots.best_value[better] = slots.current[better], value[better]
    slots.best_direction[better], slots.improved[better] = direction[better], slots.iteration[better]
    slots.best_at_checkpoint[fresh] = value[fresh]
    slots.value = value
    at = due[slots.iteration]
    few = slots.went_up < ENOUGH * since[slots.iteration]
    stale = ~slots.cut & (slots.best_value <= slots.best_at_checkpoint)
    cut = at & (few | stale)
    slots.step[cut] /= 2
    slots.current, slots.value = slots.current.clone(), slots.value.clone()
    slots.current[cut], slots.value[cut] = slots.best[cut], slots.best_value[cut]
    direction[cut] = slots.best_direction[cut]
    slots.best_at_checkpoint[at], slots.cut[at], slots.went_up[at] = slots.best_value[at], cut[at], 0
    return direction


def _move(slots: _Slots, direction: Tensor, lowest: Tensor, highest: Tensor) -> None:
    """One step along `direction`, with momentum from the second on."""
    share = torch.where(slots.iteration > 0, MOMENTUM, 1.0).to(direction)[:, None, None, None]
    stepped = torch.minimum(torch.maximum(slots.current + slots.step * direction, lowest), highest)
    moved = slots.current + share * (stepped - slots.current) + (1 - share) * (slots.current - slots.previous)
    slots.previous, slots.current = slots.current, torch.minimum(torch.maximum(moved, lowest), highest)
    slots.iteration = slots.iteration + 1
