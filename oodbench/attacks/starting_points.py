"""Points of the ball that are found without a gradient: an attack begins there, and must not lose against them."""

from collections.abc import Iterator
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from oodbench.attacks.balls import Ball
from oodbench.basics.randomness import uniform_per_image

Kind = Literal["corner", "point", "lure", "contrast"]

KINDS: tuple[Kind, ...] = ("corner", "point", "lure", "contrast")
"""Corners of the ball, points inside it, points towards images that score high, and towards the image's own mean."""


def uniform_draws(images: Tensor, indices: npt.NDArray[np.int64], name: str, purpose: str) -> Tensor:
    """Draw uniform numbers in [-1, 1) in the shape of `images`, (N, C, H, W), seeded image by image."""
    uniform = uniform_per_image(indices, tuple(images.shape[1:]), "linf-adaptive", name, purpose)
    return (2 * torch.from_numpy(uniform) - 1).to(images)


def candidate_points(
    images: Tensor,
    indices: npt.NDArray[np.int64],
    *,
    around: Ball,
    count: int,
    lures: Tensor | None,
    purpose: str,
) -> Iterator[tuple[Kind, Tensor]]:
    """Yield kinds of points, each with a point for every image, (N, C, H, W), not rounded and not cut to [0, 1].

    Args:
        images: (N, C, H, W) in [0, 1].
        indices: (N,) of each in its set; with `purpose` they seed what is random.
        around: the balls around the images.
        count: number of corners, of inner points and, at most, of lures.
        lures: (M, C, H, W) images that score high.
        purpose: text that names seed and image set.
    """
    for number in range(count):
        yield "corner", around.corner(uniform_draws(images, indices, f"corner {number}", purpose))
        yield "point", around.inner_point(uniform_draws(images, indices, f"point {number}", purpose))
    for lure in lures[:count] if lures is not None else ():
        yield "lure", around.move_towards(lure)
    yield "contrast", around.move_towards(images.mean((1, 2, 3), keepdim=True))
