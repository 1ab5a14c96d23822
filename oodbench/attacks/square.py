"""Square: random search over square windows, without gradients. Andriushchenko et al. 2020, arXiv:1912.00049.

Windows and signs are drawn for each image by itself, so results do not depend on what else is in the batch.
"""

from collections.abc import Sequence
from math import sqrt

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

from oodbench.attacks.ascent import Ascent
from oodbench.attacks.balls import Ball, LinfBall
from oodbench.basics.gradient import PerImage

FIRST_SHARE = 0.8
"""Share of the image's pixels that the first window covers."""

HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
"""Numbers of the queries, of 10,000, at which that share is halved."""


def window_share(query: int, queries: int) -> float:
    """The share of the image's pixels that the window of a query covers (section 3.1); `query` counts from 0."""
    place = query * 10_000 // queries
    return float(FIRST_SHARE / 2 ** sum(place > halving for halving in HALVINGS))


def square(
    objective: PerImage,
    images: Tensor,
    *,
    epsilon: float,
    queries: int,
    generators: Sequence[Generator],
    ball: type[Ball] = LinfBall,
) -> Ascent:
    """Climb `objective` inside the ball of radius `epsilon` around `images`, and inside [0, 1].

    In L2 a window that moves as far as the whole ball is wide takes the place of what was there, and the image is
    projected: simpler than the windows of the paper's section 3.3.

    Args:
        objective: no labels; called without gradients; must treat the images of a batch one by one.
        images: float (N, C, H, W) in [0, 1].
        epsilon: radius in 1/255 of pixel space.
        queries: windows tried; costs queries + 2 forward passes.
        generators: of random numbers, one for each image.
        ball: of the norm.

    Returns:
        The best points, which lie in corners of the ball; no flags, there being no gradient.

    Raises:
        OodbenchError: images outside [0, 1].
    """
    around = ball(images, epsilon)
    count, channels, height, width = images.shape

    def signs(shape: tuple[int, ...]) -> Tensor:
        """Draw signs, +1 or -1, for each image, (N, *shape)."""
        drawn = np.stack([generator.integers(0, 2, shape) for generator in generators])
        return torch.from_numpy(2 * drawn - 1).to(images)

    with torch.no_grad():
        before = objective(images)
        best, after = images.clone(), before.clone()
        radius = around.amplitude(channels * height * width)
        stripes = (images + radius * signs((channels, 1, width))).clamp(0, 1)
        _keep_better(best, after, stripes, objective(stripes))
        for query in range(queries):
            side = min(max(round(sqrt(window_share(query, queries) * height * width)), 1), height, width)
            corners = [generator.integers(0, (height - side + 1, width - side + 1)) for generator in generators]
            inside = _windows(np.stack(corners), side, height, width).to(images.device)
            radius = around.amplitude(channels * side * side)
            proposed = (images + radius * signs((channels, 1, 1))).clamp(0, 1)
            candidates = around.project(torch.where(inside, proposed, best))
            _keep_better(best, after, candidates, objective(candidates))
    no_flags = torch.zeros(count, dtype=torch.bool, device=images.device)
    return Ascent(best, before, after, stuck=no_flags, broken=no_flags, stalled=no_flags)


def _windows(corners: "np.typing.NDArray[np.int64]", side: int, height: int, width: int) -> Tensor:
    """Mark square windows, bool (N, 1, H, W), of a side, by their upper left corners (N, 2)."""
    rows, columns = (torch.from_numpy(corners[:, axis, None]) for axis in (0, 1))
    down, across = torch.arange(height), torch.arange(width)
    in_rows, in_columns = (down >= rows) & (down < rows + side), (across >= columns) & (across < columns + side)
    return (in_rows[:, :, None] & in_columns[:, None, :])[:, None]


def _keep_better(best: Tensor, after: Tensor, candidates: Tensor, values: Tensor) -> None:
    better = values > after
    best[better], after[better] = candidates[better], values[better]
