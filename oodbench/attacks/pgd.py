"""Projected gradient ascent on the 8-bit grid, as the reference code of Chen et al. 2021 does it."""

import torch
from torch import Tensor

from oodbench.attacks.ascent import Ascent, BestPoints, has_nan, vanishes
from oodbench.attacks.balls import require_unit_range
from oodbench.attacks.slope import Slope, value_and_slope
from oodbench.basics.gradient import PerImage


def random_start(uniform: Tensor, epsilon: int) -> Tensor:
    """Whole-level start perturbations from `uniform` draws in [0, 1): round(U(-epsilon, epsilon)), in 1/255."""
    return torch.round((2 * uniform - 1) * epsilon)


def pgd(
    objective: PerImage,
    images: Tensor,
    *,
    epsilon: int,
    step: int,
    steps: int,
    start: Tensor | None = None,
    slope: Slope = value_and_slope,
) -> Ascent:
    """Climb `objective` inside the L-infinity ball of radius `epsilon` around `images`, and inside [0, 1].

    The perturbation moves by `step` times the sign of the gradient (sign(0) = 0), in whole levels of 1/255. Every
    iterate, the input itself among them, is a candidate; per image the first with the highest value wins.

    Args:
        objective: no labels; must treat the images of a batch one by one.
        images: float (N, C, H, W) in [0, 1].
        epsilon: radius in 1/255 of pixel space.
        step: in 1/255.
        steps: gradient steps; costs steps + 2 forward and steps backward passes.
        start: first perturbation in 1/255, clipped to the ball; None starts from the images themselves.
        slope: gives values and gradients of the objective; in training `value_and_gradient`.

    Returns:
        Images on the 8-bit grid where the input was; `before` is the objective at the input.

    Raises:
        OodbenchError: images outside [0, 1].
    """
    require_unit_range(images)
    levels = images * 255
    on_grid = levels.round()
    # u/255*255 is not u in floating point; images that lie on the grid are treated as exact.
    levels = torch.where((levels - on_grid).abs() < 1e-3, on_grid, levels)
    lowest, highest = (levels - epsilon).clamp(min=0), (levels + epsilon).clamp(max=255)
    with torch.no_grad():
        before = objective(levels / 255)
    best = BestPoints(levels, before)
    stuck, broken = torch.zeros_like(before, dtype=torch.bool), before.isnan()
    current = levels if start is None else torch.clamp(levels + start, lowest, highest)
    for iteration in range(steps):
        value, gradient = slope(objective, current / 255)
        best.offer(current, value, iteration)
        stuck = vanishes(gradient) if iteration == 0 else stuck
        broken |= has_nan(gradient)
        # torch's sign of a value that is not a number is 0, too.
        current = torch.clamp(current.add(torch.sign(gradient), alpha=step), lowest, highest)
    with torch.no_grad():
        best.offer(current, objective(current / 255), steps)
    perturbed = levels + (best.points - levels).round()
    return Ascent((perturbed / 255).clamp(0, 1), before, best.values, stuck, broken, best.stalled(steps))
