"""A score around an image: at copies with Gaussian noise. Cohen et al. 2019, arXiv:1902.02918, section 3."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from oodbench.basics.draws import Draws
from oodbench.basics.gradient import PerImage, not_differentiable
from oodbench.networks.network import batch_size


def scores_around(score: PerImage, images: Tensor, sigma: float, numbers: Sequence[int], draws: Draws) -> Tensor:
    """The score of each noisy copy of each image, float64 (D, N); each row is one draw.

    Copies are not cut to [0, 1], nor rounded: the noise is Gaussian, as guarantees ask of it. They are scored in
    batches of the usual size, so that their number costs time and no memory. On the way back only those are scored
    again, with a gradient, that what is made of the scores depends on: of a median one for each image.

    Args:
        score: of one image after the other; called with images outside [0, 1], too.
        images: float (N, C, H, W) in [0, 1].
        sigma: deviation of the noise, in units of [0, 1] pixel space.
        numbers: of the D draws.
        draws: of the images.
    """
    scores: Tensor = _Around.apply(images, score, sigma, tuple(numbers), draws)
    return scores


class _Around(torch.autograd.Function):
    """The autograd function of `scores_around`, whose graph is made again copy by copy."""

    @staticmethod
    def forward(
        ctx: Any, images: Tensor, score: PerImage, sigma: float, numbers: Sequence[int], draws: Draws
    ) -> Tensor:
        ctx.save_for_backward(images)
        ctx.rest = score, sigma, numbers, draws
        rows = [torch.arange(len(images), device=images.device)] * len(numbers)
        scores = [images.new_zeros(0, dtype=torch.float64)]
        with torch.no_grad():
            for some, noise, _ in _noisy_batches(images, numbers, rows, draws):
                scores.append(score(images[some] + sigma * noise).double())
        return torch.cat(scores).view(len(numbers), len(images))

    @staticmethod
    def backward(ctx: Any, weights: Tensor) -> tuple[Tensor, None, None, None, None]:
        (images,) = ctx.saved_tensors
        score, sigma, numbers, draws = ctx.rest
        total = torch.zeros_like(images)
        rows = [row.nonzero()[:, 0] for row in weights]
        for some, noise, of_draw in _noisy_batches(images, numbers, rows, draws):
            with torch.enable_grad():
                copies = (images[some] + sigma * noise).detach().requires_grad_()
                values = score(copies)
                if not values.requires_grad:
                    raise not_differentiable()
                (gradient,) = torch.autograd.grad(values, copies, weights[of_draw, some].to(values))
            total.index_add_(0, some, gradient)
        return total, None, None, None, None


def _noisy_batches(
    images: Tensor, numbers: Sequence[int], rows: Sequence[Tensor], draws: Draws
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield copies in batches: rows of their images (B,), their noise (B, C, H, W), and places (B,) of their draws.

    Args:
        images: (N, C, H, W).
        numbers: of the draws.
        rows: of the images that are wanted of each draw.
        draws: of all images.
    """
    most = batch_size(images.device, images.shape[-1])
    waiting: list[tuple[Tensor, Tensor, Tensor]] = []
    for place, (number, some) in enumerate(zip(numbers, rows, strict=True)):
        if not len(some):
            continue
        noise = draws.normal(number, images)
        for part in torch.split(some, most):
            if waiting and sum(len(rows_waiting) for rows_waiting, _, _ in waiting) + len(part) > most:
                yield _concatenated(waiting)
                waiting = []
            waiting.append((part, noise[part], torch.full_like(part, place)))
    if waiting:
        yield _concatenated(waiting)


def _concatenated(parts: list[tuple[Tensor, Tensor, Tensor]]) -> tuple[Tensor, Tensor, Tensor]:
    rows, noise, places = zip(*parts, strict=True)
    return torch.cat(rows), torch.cat(noise), torch.cat(places)
