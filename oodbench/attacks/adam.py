"""Adam inside the ball: ascent that remembers directions, in steps that shrink. Kingma and Ba 2015, arXiv:1412.6980.

For scores that are steep in few directions and flat in most, as squared Mahalanobis distances are: a step by the
gradient's sign is as long in every pixel and overshoots the steep ones, whatever its size.
"""

from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor

from oodbench.attacks.ascent import Ascent, Climbers, ascend, beginning
from oodbench.gradient import PerImage

RATE = 1 / 8
"""The first step, of the ball's radius; from there it falls evenly to nothing."""

MEAN, SPREAD = 0.9, 0.999
"""Share that remains, at every step, of the remembered gradient and of its square; the paper's."""

TINY = 1e-8
"""Beside a root mean square, as in the paper; gradients are scaled so that each image's largest element is 1."""


@dataclass
class _Climbers(Climbers):
    """With the gradients they remember."""

    mean: Tensor
    spread: Tensor


def adam(
    objective: PerImage,
    images: Tensor,
    *,
    epsilon: float,
    iterations: int,
    start: Tensor | None = None,
    enough: float = inf,
    batch: int = 64,
) -> Ascent:
    """Climb `objective` in Adam's steps; see `ascent.ascend`."""
    first = RATE * epsilon / 255

    def move(climbers: _Climbers, value: Tensor, gradient: Tensor, lowest: Tensor, highest: Tensor) -> None:
        largest = gradient.abs().flatten(1).amax(1).clamp(min=torch.finfo(gradient.dtype).tiny)
        gradient = gradient / _per_image(largest)
        climbers.mean = MEAN * climbers.mean + (1 - MEAN) * gradient
        climbers.spread = SPREAD * climbers.spread + (1 - SPREAD) * gradient.square()
        number = _per_image(climbers.iteration + 1).to(gradient)
        mean, spread = climbers.mean / (1 - MEAN**number), climbers.spread / (1 - SPREAD**number)
        step = first * (1 - (number - 1) / iterations)
        moved = climbers.current + step * mean / (spread.sqrt() + TINY)
        climbers.current = torch.minimum(torch.maximum(moved, lowest), highest)

    return ascend(
        objective,
        images,
        _entering,
        move,
        epsilon=epsilon,
        iterations=iterations,
        start=start,
        enough=enough,
        batch=batch,
    )


def _entering(rows: Tensor, points: Tensor) -> _Climbers:
    """Images that begin."""
    return _Climbers(*beginning(rows, points), mean=torch.zeros_like(points), spread=torch.zeros_like(points))


def _per_image(values: Tensor) -> Tensor:
    return values[:, None, None, None]
