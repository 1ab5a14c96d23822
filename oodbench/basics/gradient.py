"""Gradients with respect to images, the only ones that attacks and input preprocessing need."""

from collections.abc import Callable

import torch
from torch import Tensor

from oodbench.basics.errors import NoGradientError

PerImage = Callable[[Tensor], Tensor]
"""Maps images, float (N, C, H, W) in [0, 1], to one value an image (N,)."""


def value_and_gradient(function: PerImage, images: Tensor) -> tuple[Tensor, Tensor]:
    """`function` at `images`, (N,), and the gradient of each value with respect to its own image, (N, C, H, W).

    Works inside `torch.no_grad()` too.

    Raises:
        NoGradientError: `function` cannot be differentiated.
    """
    images = images.detach().requires_grad_()
    with torch.enable_grad():
        value = function(images)
        return value.detach(), _gradient(value, images, keep_graph=False)


def gradient_through(value: Tensor, images: Tensor) -> Tensor:
    """The gradient of each value (N,) that has been computed from `images` already; the graph between them stays.

    Raises:
        NoGradientError: there is no graph between them.
    """
    return _gradient(value, images, keep_graph=True)


def _gradient(value: Tensor, images: Tensor, keep_graph: bool) -> Tensor:
    if not value.requires_grad:
        raise not_differentiable()
    # The sum keeps one image's gradient independent of the others.
    (gradient,) = torch.autograd.grad(value.sum(), images, retain_graph=keep_graph, allow_unused=True)
    if gradient is None:
        raise not_differentiable()
    return gradient


def not_differentiable() -> NoGradientError:
    """The error for gradients that are asked for where there are none."""
    return NoGradientError(
        "no gradient comes back from the score to the images: the network or the detector is not differentiable "
        "(rounding, argmax, numpy or detach() on the way); leave it out of tasks that need gradients: linf-adaptive "
        "does without, by random search"
    )
