"""The gradient that attacks climb, also for networks that hide it where an image is black or white."""

from collections.abc import Callable

import torch
from torch import Tensor

from oodbench.basics.gradient import PerImage, value_and_gradient

Slope = Callable[[PerImage, Tensor], tuple[Tensor, Tensor]]
"""A function that gives an objective's values at images, (N,), and its gradient by each image, (N, C, H, W)."""

INSIDE = 0.5 / 255
"""Distance from black and white at which a gradient is taken that is hidden there: half a level, which bfloat16 can
tell from either."""


def value_and_slope(function: PerImage, images: Tensor) -> tuple[Tensor, Tensor]:
    """The values of `function` at `images`, (N,), and its gradient by each image, (N, C, H, W).

    A network that cuts its input to [0, 1] has none at exactly 0 and exactly 1, though it is the
    same function of images as one that does not: where none of an image's black values has a gradient, or none of its
    white ones, theirs is taken a little inside.

    Args:
        function: called with some of the images alone, too.
        images: float (N, C, H, W) in [0, 1].

    Raises:
        NoGradientError: `function` cannot be differentiated.
    """
    value, gradient = value_and_gradient(function, images)
    if gradient.all():  # as for most networks: nothing is hidden, and a search would only cost time
        return value, gradient
    hidden = _hidden(images, gradient)
    rows = hidden.flatten(1).any(1)
    if rows.any():
        _, inside = value_and_gradient(function, images[rows].clamp(INSIDE, 1 - INSIDE))
        gradient = gradient.clone()
        gradient[rows] = torch.where(hidden[rows], inside, gradient[rows])
    return value, gradient


def _hidden(images: Tensor, gradient: Tensor) -> Tensor:
    """Mark, (N, C, H, W) bool, the values at an end of [0, 1] at which no value of the image has a gradient.

    An image without any gradient is left out, unless it is black and white alone: its score is flat, like a softmax
    that has reached 1.
    """
    flat, ends = gradient == 0, (images <= 0, images >= 1)
    hidden = torch.zeros_like(flat)
    searched = ~flat.flatten(1).all(1) | (ends[0] | ends[1]).flatten(1).all(1)
    for end in ends:
        flat_end = searched & (flat | ~end).flatten(1).all(1)
        hidden |= end & flat_end[:, None, None, None]
    return hidden
