"""What one ascent leaves of images, and what it shows of itself."""

from collections.abc import Callable

import torch
from torch import Tensor

from oodbench.attacks.ascent import Ascent, summit
from oodbench.attacks.balls import Ball
from oodbench.basics.gradient import PerImage
from oodbench.tasks.task import Altered


def climbed(found: Ascent, objective: PerImage, images: Tensor, ball: Callable[[Tensor], Ball]) -> Altered:
    """The strongest images of an ascent, with the objective before and after, and where the gradient led nowhere.

    Args:
        found: the ascent.
        objective: that was climbed.
        images: as they were, float (N, C, H, W) in [0, 1].
        ball: makes the balls around some of these.
    """
    idle = found.stalled
    arrived = torch.zeros_like(idle)
    arrived[idle] = summit(objective, ball(images[idle]), found.images[idle])
    extras = {
        "objective_before": found.before,
        "objective_after": found.after,
        "stuck": found.stuck,
        "broken": found.broken,
        "stalled": idle & ~arrived,
    }
    return Altered(found.images, {name: value.double().cpu().numpy() for name, value in extras.items()})
