"""Projected gradient ascent in an L2 ball, in steps of one length. Madry et al. 2018, arXiv:1706.06083, section 5."""

import torch
from torch import Tensor

from oodbench.attacks.ascent import Ascent, BestPoints, has_nan, vanishes
from oodbench.attacks.balls import L2Ball
from oodbench.attacks.slope import value_and_slope
from oodbench.basics.gradient import PerImage


def pgd_l2(
    objective: PerImage, images: Tensor, *, epsilon: int, step: int, steps: int, start: Tensor | None = None
) -> Ascent:
    """Climb `objective` inside the L2 ball of radius `epsilon`/255 around `images`, and inside [0, 1].

    Each step is `step`/255 long, along the gradient, and ends in the nearest point of the ball and of [0, 1]. Per image
    the iterate with the highest value is brought to the 8-bit grid, and kept if it is better there than the image.

    Args:
        objective: no labels; must treat the images of a batch one by one.
        images: float (N, C, H, W) in [0, 1], on the 8-bit grid.
        epsilon: radius in 1/255 of pixel space.
        step: in 1/255.
        steps: gradient steps; costs steps + 3 forward and steps backward passes.
        start: points to start from, projected first; None starts from the images themselves.

    Returns:
        Images on the 8-bit grid; `before` is the objective at the input.

    Raises:
        OodbenchError: images outside [0, 1].
    """
    around = L2Ball(images, epsilon)
    with torch.no_grad():
        before = objective(images)
    best = BestPoints(images, before)
    stuck, broken = torch.zeros_like(before, dtype=torch.bool), before.isnan()
    current = images if start is None else around.project(start)
    for iteration in range(steps):
        value, gradient = value_and_slope(objective, current)
        best.offer(current, value, iteration)
        stuck = vanishes(gradient) if iteration == 0 else stuck
        broken |= has_nan(gradient)
        current = around.project(current + step / 255 * around.steepest(gradient.nan_to_num(0.0)))
    with torch.no_grad():
        best.offer(current, objective(current), steps)
        rounded = around.on_grid(best.points) / 255
        after = objective(rounded)
    better = (after > before) | (before.isnan() & ~after.isnan())
    kept = torch.where(better[:, None, None, None], rounded, (images * 255).round() / 255)
    return Ascent(kept, before, torch.where(better, after, before), stuck, broken, best.stalled(steps))
