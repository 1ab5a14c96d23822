"""Adam inside the ball: ascent that remembers directions, in steps that shrink. Kingma and Ba 2015, arXiv:1412.6980.

For scores that are steep in few directions and flat in most, as squared Mahalanobis distances are: a step by the
gradient's sign is as long in every pixel and overshoots the steep ones, whatever its size.
"""

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from oodbench.attacks.ascent import Climbers, ascend, first_state
from oodbench.attacks.balls import Ball

RATE = 1 / 8
"""Length of the first step as a share of the ball's radius; the length falls evenly to zero."""

MEAN, SPREAD = 0.9, 0.999
"""Decay of the running means of the gradient and of its square, as in the paper."""

TINY = 1e-8
"""Added to the root mean square, as in the paper; gradients are scaled so that each image's largest element is 1."""


@dataclass
class _Climbers(Climbers):
    """The state of images under Adam: also their running means of the gradient and of its square."""

    mean: Tensor
    spread: Tensor


class Adam:
    """The rule of Adam's steps, whose length falls evenly; see `ascent.Rule`."""

    def __init__(self, *, epsilon: float, iterations: int, device: torch.device) -> None:
        self._first, self._iterations = RATE * epsilon / 255, iterations

    def enter(self, rows: Tensor, points: Tensor) -> _Climbers:
        """The state of images that begin, with zero running means."""
        return _Climbers(*first_state(rows, points), mean=torch.zeros_like(points), spread=torch.zeros_like(points))

    def move(self, climbers: _Climbers, value: Tensor, gradient: Tensor, around: Ball) -> None:
        """Take a step along the mean gradient: in L-infinity each pixel by its own scale, in L2 along its direction."""
        largest = gradient.abs().flatten(1).amax(1).clamp(min=torch.finfo(gradient.dtype).tiny)
        gradient = gradient / _per_image(largest)
        climbers.mean = MEAN * climbers.mean + (1 - MEAN) * gradient
        climbers.spread = SPREAD * climbers.spread + (1 - SPREAD) * gradient.square()
        number = _per_image(climbers.iteration + 1).to(gradient)
        mean, spread = climbers.mean / (1 - MEAN**number), climbers.spread / (1 - SPREAD**number)
        step = self._first * (1 - (number - 1) / self._iterations)
        moved = climbers.current + around.scaled_step(mean, spread.sqrt() + TINY, step)
        climbers.current = around.project(moved)


adam = partial(ascend, Adam)
"""`ascent.ascend` by this rule."""


def _per_image(values: Tensor) -> Tensor:
    return values[:, None, None, None]
