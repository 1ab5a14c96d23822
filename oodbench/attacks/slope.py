"""The gradient that attacks climb, also for networks that hide it where an image is black or white."""

from collections.abc import Callable

import torch
from torch import Tensor

from oodbench.basics.gradient import PerImage, value_and_gradient

Slope = Callable[[PerImage, Tensor], tuple[Tensor, Tensor]]
"""What gives a function's values at images, (N,), and how each rises with its own image, (N, C, H, W)."""

INSIDE = 0.5 / 255
"""How far from black and white a gradient is taken that is hidden there: half a level, which bfloat16 can tell from
either."""


def value_and_slope(function: PerImage, images: Tensor) -> tuple[Tensor, Tensor]:
    """`function` at `images`, (N,), and how each value rises with its own image, (N, C, H, W).

    That is the gradient. A network that cuts its input to [0, 1] has none at exactly 0 and exactly 1, though it is the
    same function of images as one that does not: where none of an image's black values has a gradient, or none of its
    white ones, theirs is taken a little inside.

    Args:
        function: called with some of the images alone, too.
        images: float (N, C, H, W) in [0, 1].

    Raises:
        NoGradientError: `function` cannot be differentiated.
    """
    value, gradient = value_and_gradient(function, images)
    if gradient.all():  # as of most networks: nothing is hidden, and looking where would cost more
        return value, gradient
    hidden = _hidden(images, gradient)
    rows = hidden.flatten(1).any(1)
    if rows.any():
        _, inside = value_and_gradient(function, images[rows].clamp(INSIDE, 1 - INSIDE))
        gradient = gradient.clone()
        gradient[rows] = torch.where(hidden[rows], inside, gradient[rows])
    return value, gradient


def _hidden(images: Tensor, gradient: Tensor) -> Tensor:
    """Where a gradient may be hidden, (N, C, H, W) bool: at an end of [0, 1] where no value of the image has one.

    An image without any gradient is left out, unless it is black and white alone: its score is flat, as a softmax is
    that is 1.
    """
    flat, ends = gradient == 0, (images <= 0, images >= 1)
    found = torch.zeros_like(flat)
    told = ~flat.flatten(1).all(1) | (ends[0] | ends[1]).flatten(1).all(1)
    for end in ends:
        none = told & (flat | ~end).flatten(1).all(1)
        found |= end & none[:, None, None, None]
    return found
