"""APGD: ascent with momentum, each image with a step size of its own. Croce and Hein 2020, arXiv:2003.01690, alg. 1."""

from dataclasses import dataclass
from functools import partial
from math import inf

import torch
from torch import Tensor

from oodbench.attacks.ascent import Climbers, ascend, first_state
from oodbench.attacks.balls import Ball

MOMENTUM = 0.75
"""Share of the gradient step in a move; the rest is the last move."""

ENOUGH = 0.75
"""Share of the steps between two checkpoints that must have gone up."""


@dataclass
class _Climbers(Climbers):
    """The state of images under APGD: also a step size each, and what it is adapted by."""

    previous: Tensor
    best_direction: Tensor
    step: Tensor
    value: Tensor
    best_at_checkpoint: Tensor
    went_up: Tensor
    cut: Tensor


def checkpoints(iterations: int) -> list[int]:
    """Iterations at which the step size is reconsidered: 0.22, 0.41, 0.57, ... of all (section 3.2)."""
    percents = [0, 22]
    while percents[-1] + 6 <= 100:
        percents.append(percents[-1] + max(percents[-1] - percents[-2] - 3, 6))
    return sorted({-(-percent * iterations // 100) for percent in percents[1:]})


class APGD:
    """The rule: steps of the gradient's sign (in L2 along it), halved where they lead nowhere; see `ascent.Rule`."""

    def __init__(self, *, epsilon: float, iterations: int, device: torch.device) -> None:
        self._radius = epsilon / 255
        self._due, self._since = _schedule(iterations, device)

    def enter(self, rows: Tensor, points: Tensor) -> _Climbers:
        """The state of images that begin, with steps as long as the ball is wide."""
        lowest = torch.full((len(rows),), -inf, dtype=torch.float64, device=points.device)
        return _Climbers(
            *first_state(rows, points),
            previous=points,
            best_direction=torch.zeros_like(points),
            step=points.new_full((len(rows), 1, 1, 1), 2 * self._radius),
            value=lowest,
            best_at_checkpoint=lowest.clone(),
            went_up=torch.zeros(len(rows), device=points.device),
            cut=torch.ones(len(rows), dtype=torch.bool, device=points.device),
        )

    def move(self, climbers: _Climbers, value: Tensor, gradient: Tensor, around: Ball) -> None:
        """Take a step in the direction of steepest ascent, from the best point where the last steps found nothing."""
        direction = _adapt_steps(climbers, value, around.steepest(gradient), self._due, self._since)
        _move(climbers, direction, around)


apgd = partial(ascend, APGD)
"""`ascent.ascend` by this rule."""


def _schedule(iterations: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """For each iteration, whether the step size is reconsidered there, and how many steps ago it last was."""
    due, since, last = torch.zeros(iterations + 1, dtype=torch.bool), torch.ones(iterations + 1), 0
    for point in checkpoints(iterations):
        due[point], since[point], last = True, point - last, point
    return due.to(device), since.to(device)


def _adapt_steps(climbers: _Climbers, value: Tensor, direction: Tensor, due: Tensor, since: Tensor) -> Tensor:
    """Halve the step size of images whose last steps found too little, and put these back to their best point.

    Returns:
        The direction in which each image moves next.
    """
    fresh = climbers.iteration == 0
    climbers.went_up += (value > climbers.value) & ~fresh
    better = climbers.improved == climbers.iteration
    climbers.best_direction[better] = direction[better]
    climbers.best_at_checkpoint[fresh] = value[fresh]
    climbers.value = value
    checked = due[climbers.iteration]
    few = climbers.went_up < ENOUGH * since[climbers.iteration]
    stale = ~climbers.cut & (climbers.best_value <= climbers.best_at_checkpoint)
    cut = checked & (few | stale)
    climbers.step[cut] /= 2
    climbers.current, climbers.value = climbers.current.clone(), climbers.value.clone()
    climbers.current[cut], climbers.value[cut] = climbers.best[cut], climbers.best_value[cut]
    direction[cut] = climbers.best_direction[cut]
    climbers.best_at_checkpoint[checked], climbers.cut[checked] = climbers.best_value[checked], cut[checked]
    climbers.went_up[checked] = 0
    return direction


def _move(climbers: _Climbers, direction: Tensor, around: Ball) -> None:
    """Take a step along `direction`, with momentum from the second step on."""
    share = torch.where(climbers.iteration > 0, MOMENTUM, 1.0).to(direction)[:, None, None, None]
    stepped = around.project(climbers.current + climbers.step * direction)
    moved = (
        climbers.current + share * (stepped - climbers.current) + (1 - share) * (climbers.current - climbers.previous)
    )
    climbers.previous, climbers.current = climbers.current, around.project(moved)
