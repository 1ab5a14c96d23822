"""APGD: ascent with momentum whose step size adapts to each image. Croce and Hein 2020, arXiv:2003.01690, algorithm 1.

Every image has its own step size, counters and best point, so a batch may be put together in any way.
"""

import torch
from torch import Tensor

from oodbench.attacks.pgd import Ascent
from oodbench.gradient import PerImage, value_and_gradient

MOMENTUM = 0.75
"""Share of the gradient step in a move; the rest is the last move."""

ENOUGH = 0.75
"""Share of the steps between two checkpoints that must have gone up."""


def checkpoints(iterations: int) -> list[int]:
    """Iterations at which the step size is reconsidered: 0.22, 0.41, 0.57, ... of all (section 3.2)."""
    percents = [0, 22]
    while percents[-1] + 6 <= 100:
        percents.append(percents[-1] + max(percents[-1] - percents[-2] - 3, 6))
    return sorted({-(-percent * iterations // 100) for percent in percents[1:]})


def apgd(
    objective: PerImage, images: Tensor, *, epsilon: float, iterations: int, start: Tensor | None = None
) -> Ascent:
    """Climb `objective` inside the L-infinity ball of radius `epsilon` around `images`, and inside [0, 1].

    The points are not rounded to the 8-bit grid; whoever stores them does that and scores them again.

    Args:
        objective: no labels; must treat the images of a batch one by one.
        images: float (N, C, H, W) in [0, 1].
        epsilon: radius in 1/255 of pixel space.
        iterations: gradient steps; costs iterations + 1 forward and backward passes.
        start: images to start from, projected first; None starts from `images`.

    Returns:
        `before` at `images` if they are the start, else at the start; the best point and its value; `stuck` where the
        gradient at the start was zero or not a number in every pixel.
    """
    radius = epsilon / 255
    lowest, highest = (images - radius).clamp(min=0), (images + radius).clamp(max=1)

    def project(points: Tensor) -> Tensor:
        return torch.minimum(torch.maximum(points, lowest), highest)

    current = project(images if start is None else start)
    value, direction = _climb(objective, current)
    before, stuck = value.clone(), (direction == 0).flatten(1).all(1)
    best, best_value, best_direction = current.clone(), value.clone(), direction.clone()
    previous = current
    step = current.new_full((len(images), 1, 1, 1), 2 * radius)
    went_up = torch.zeros(len(images), device=images.device)
    best_at_checkpoint, cut_at_checkpoint = best_value.clone(), torch.ones_like(stuck)
    due, last = set(checkpoints(iterations)), 0
    for iteration in range(1, iterations + 1):
        stepped = project(current + step * direction)
        share = MOMENTUM if iteration > 1 else 1.0
        moved = project(current + share * (stepped - current) + (1 - share) * (current - previous))
        previous, current, old_value = current, moved, value
        value, direction = _climb(objective, current)
        went_up += value > old_value
        better = value > best_value
        best[better], best_value[better], best_direction[better] = current[better], value[better], direction[better]
        if iteration in due:
            few = went_up < ENOUGH * (iteration - last)
            stale = ~cut_at_checkpoint & (best_value <= best_at_checkpoint)
            cut = few | stale
            step[cut] /= 2
            current, direction, value = current.clone(), direction.clone(), value.clone()
            current[cut], direction[cut], value[cut] = best[cut], best_direction[cut], best_value[cut]
            best_at_checkpoint, cut_at_checkpoint, last = best_value.clone(), cut, iteration
            went_up.zero_()
    return Ascent(best, before, best_value, stuck)


def _climb(objective: PerImage, points: Tensor) -> tuple[Tensor, Tensor]:
    """Values, and the sign of the gradient with what is not a number taken for zero."""
    value, gradient = value_and_gradient(objective, points)
    return value, torch.sign(gradient).nan_to_num(0.0)
