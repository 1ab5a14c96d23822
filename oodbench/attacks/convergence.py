"""Had an attack got as far as it could? A few of its images are climbed on from where it left them.

The climb is Adam's from the start again, with its long first steps: where the attack had stopped because its steps were
too few or too small, or on a slope that is steep in few directions, that gets further.
"""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from oodbench.attacks.adam import adam
from oodbench.attacks.attack_goal import Goal
from oodbench.attacks.balls import Ball, LinfBall
from oodbench.attacks.reducer import Reducer
from oodbench.basics.errors import NoGradientError
from oodbench.basics.passes import Passes
from oodbench.networks.network import batch_size

CONTINUED = 12
"""Images of a set that are climbed on with, at least."""

SHARE = 0.05
"""Of the attack's own passes: so many may be spent on climbing on with more images than `CONTINUED`. What 12 of 1,000
images gain may be far from what all gain, see docs/attack-on-the-table.md."""

ITERATIONS = 200
"""Half of them found 0.9 points of AUROC for a Mahalanobis distance on digits, where a longer attack finds 8."""

COST = Passes(ITERATIONS + 4, ITERATIONS + 1)
"""For each of these images, the score of what was found included."""


def how_many(count: int, attack: Passes) -> int:
    """How many of `count` attacked images are climbed on with: as many as `SHARE` pays for, but at least `CONTINUED`.

    Args:
        count: images that were attacked.
        attack: what it took for each.
    """
    return min(count, max(CONTINUED, int(SHARE * count * attack.both / COST.both)))


def chosen(count: int, attack: Passes) -> npt.NDArray[np.bool_]:
    """Which of `count` images, (count,): at even distances, so that of a sorted set every part has its share.

    Args:
        count: images that were attacked.
        attack: what it took for each.
    """
    wanted = np.zeros(count, dtype=bool)
    few = how_many(count, attack)
    wanted[np.arange(few) * count // few] = True
    return wanted


def climbed_on(goal: Goal, images: Tensor, attacked: Tensor, epsilon: int, ball: type[Ball] = LinfBall) -> Tensor:
    """The best images found from `attacked` on, float (N, C, H, W) on the 8-bit grid; `attacked` itself where nothing
    is better, where an image had got far enough, and where there is no gradient.

    Args:
        goal: of the attack.
        images: (N, C, H, W) in [0, 1], before the attack.
        attacked: the same after it.
        epsilon: radius in 1/255.
        ball: in which norm.
    """
    reducer = Reducer(goal.score, images, epsilon, ball)
    reducer.offer(attacked)
    size = batch_size(images.device, images.shape[-1])
    open_rows = torch.nonzero(reducer.best < goal.enough)[:, 0]
    if len(open_rows):
        try:
            found = adam(
                goal.climbed("further"),
                images[open_rows],
                epsilon=epsilon,
                iterations=ITERATIONS,
                start=attacked[open_rows],
                batch=size,
                enough=goal.enough,
                ball=ball,
            )
        except NoGradientError:
            return attacked
        reducer.offer(found.images, open_rows)
    return reducer.images
