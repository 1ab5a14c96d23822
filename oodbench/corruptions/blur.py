"""Blur: defocus, frosted glass, motion, zoom and Gaussian."""

import numpy as np
import torch
from torch import Tensor

from oodbench.corruptions.draws import Draws
from oodbench.corruptions.filters import (
    correlate,
    disk,
    gaussian,
    motion_blurred,
    on_pixel_scale,
    on_unit_scale,
    zoomed,
)


def gaussian_blur(pixels: Tensor, draws: Draws, sigma: float) -> Tensor:
    """A Gaussian of `sigma` pixels."""
    return on_pixel_scale(gaussian(on_unit_scale(pixels), sigma))


def defocus_blur(pixels: Tensor, draws: Draws, radius: float, sigma: float) -> Tensor:
    """A disk of `radius` pixels, smoothed by `sigma`."""
    return on_pixel_scale(correlate(on_unit_scale(pixels), disk(radius, sigma)))


def zoom_blur(pixels: Tensor, draws: Draws, stop: float, step: float) -> Tensor:
    """The mean of the image and its enlargements by 1, 1 + step, 1 + 2 step, ... up to `stop`.

    The factors are those of `numpy.arange`, whose rounding decides whether `stop` is among them.
    """
    images = on_unit_scale(pixels, torch.float32)
    total, exact = torch.zeros_like(images), images.double()
    factors = np.arange(1, stop, step)
    for factor in factors:
        total += zoomed(exact, float(factor)).float()
    return on_pixel_scale((images + total) / (len(factors) + 1))


def motion_blur(pixels: Tensor, draws: Draws, radius: int, sigma: float) -> Tensor:
    """Along a line in a direction within 45 degrees of the horizontal."""
    degrees = -45 + 90 * draws.uniform(1)[:, 0]
    return motion_blurred(pixels, radius, sigma, degrees)


def glass_blur(pixels: Tensor, draws: Draws, sigma: float, reach: int, rounds: int) -> Tensor:
    """Pixels replaced by near ones between two blurs.

    From the lower right to the upper left, each pixel takes the value of one less than `reach` rows and columns away.
    A swap was meant; the source's arrays alias, so it is a copy, and published corruptions have that.
    """
    blurred = on_pixel_scale(gaussian(on_unit_scale(pixels), sigma)).to(torch.uint8)
    height, width = blurred.shape[2:]
    rows = torch.arange(height - reach, reach, -1, device=pixels.device)
    columns = torch.arange(width - reach, reach, -1, device=pixels.device)
    offsets = draws.integers(-reach, reach, rounds, len(rows) * len(columns), 2)
    order = (rows[:, None] * width + columns).flatten()
    for offset in offsets.unbind(1):
        source = order + offset[..., 1] * width + offset[..., 0]
        places = _final_sources(order, source, height * width)
        blurred = blurred.flatten(2).gather(2, places[:, None].expand(-1, blurred.shape[1], -1)).view(blurred.shape)
    return on_pixel_scale(gaussian(on_unit_scale(blurred), sigma))


def _final_sources(order: Tensor, source: Tensor, size: int) -> Tensor:
    """The place from which each pixel has its value in the end, (N, size), if pixels copy one by one in `order`.

    A source that was written before holds a copied value, so its own source is followed; pointers are doubled until
    none leads to such a pixel.

    Args:
        order: (P,) flat places in the order written.
        source: (N, P) flat places copied from.
        size: of an image.
    """
    count = len(source)
    turn = torch.full((size,), len(order), device=order.device)
    turn[order] = torch.arange(len(order), device=order.device)
    places = torch.arange(size, device=order.device).repeat(count, 1)
    places[:, order] = source
    written_before = turn[places] < turn
    while written_before.any():
        further = places.gather(1, places)
        more = written_before.gather(1, places)
        places = torch.where(written_before, further, places)
        written_before = written_before & more
    return places
