"""What every attack by ascent is given and gives back: images, the ball around them, the best points in it."""

from dataclasses import dataclass

import torch
from torch import Tensor

from oodbench.errors import OodbenchError

EARLY = 10
"""Iterations after which an ascent that finds nothing more is suspicious."""


@dataclass(frozen=True)
class Ascent:
    """What an ascent found.

    Attributes:
        images: (N, C, H, W) in [0, 1], in the ball.
        before: (N,) the objective where it began.
        after: (N,) the objective at `images`; never below `before`.
        stuck: (N,) bool: the gradient at the start was zero, denormal or not a number in every pixel.
        broken: (N,) bool: at some point of the climb the gradient was not a number in some pixel.
        stalled: (N,) bool: more than `EARLY` iterations, and nothing better after those.
    """

    images: Tensor
    before: Tensor
    after: Tensor
    stuck: Tensor
    broken: Tensor
    stalled: Tensor


def require_unit_range(images: Tensor) -> None:
    """OodbenchError for images outside [0, 1]: a radius means nothing there."""
    if images.numel() and not (images.min() >= 0 and images.max() <= 1):
        raise OodbenchError(
            f"images from {images.min():g} to {images.max():g} cannot be attacked: they must lie in [0, 1]; divide "
            "8-bit values by 255, and leave normalisation to the network"
        )


def ball(images: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
    """Lower and upper ends, (N, C, H, W) each, of the L-infinity ball of `epsilon`/255 around `images`, cut to [0, 1].

    Raises:
        OodbenchError: images outside [0, 1].
    """
    require_unit_range(images)
    radius = epsilon / 255
    return (images - radius).clamp(min=0), (images + radius).clamp(max=1)


def nowhere(gradient: Tensor) -> Tensor:
    """(N,) bool: there is nothing to follow in a gradient (N, C, H, W).

    Denormal numbers count as zero: so close to underflow, which pixels have a sign at all is an accident.
    """
    return ~(gradient.abs() >= torch.finfo(gradient.dtype).tiny).flatten(1).any(1)


def not_a_number(gradient: Tensor) -> Tensor:
    """(N,) bool: a gradient (N, C, H, W) is not a number in some pixel, or infinite upwards and downwards.

    One look at all pixels, since it is asked in every step.
    """
    return gradient.flatten(1).sum(1).isnan()
