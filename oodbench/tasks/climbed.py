"""Turns the outcome of one ascent into what a task returns."""

from collections.abc import Callable

import torch
from torch import Tensor

from oodbench.attacks.ascent import Ascent, at_summit
from oodbench.attacks.balls import Ball
from oodbench.basics.gradient import PerImage
from oodbench.tasks.task import Altered


def altered_by_ascent(ascent: Ascent, objective: PerImage, images: Tensor, ball: Callable[[Tensor], Ball]) -> Altered:
    """The strongest images of an ascent. Extras: the objective before and after, and where the gradient led nowhere.

    Args:
        ascent: its outcome.
        objective: that was climbed.
        images: before the ascent, float (N, C, H, W) in [0, 1].
        ball: makes the balls around given images.
    """
    idle = ascent.stalled
    arrived = torch.zeros_like(idle)
    arrived[idle] = at_summit(objective, ball(images[idle]), ascent.images[idle])
    extras = {
        "objective_before": ascent.before,
        "objective_after": ascent.after,
        "stuck": ascent.stuck,
        "broken": ascent.broken,
        "stalled": idle & ~arrived,
    }
    return Altered(ascent.images, {name: value.double().cpu().numpy() for name, value in extras.items()})
