"""Noise: Gaussian, shot, impulse and speckle. Every element of an image (row, column, channel) has its own."""

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from oodbench.corruptions.draws import Draws
from oodbench.corruptions.filters import on_pixel_scale, on_unit_scale

LEVELS = 256
"""Number of values of a pixel."""

GUESSES = 4096
"""Shares of a distribution at which its inverse is tabulated."""


def gaussian_noise(pixels: Tensor, draws: Draws, sigma: float) -> Tensor:
    """X + N(0, sigma^2)."""
    return on_pixel_scale(_normal(pixels, draws).mul_(sigma).add_(on_unit_scale(pixels)))


def shot_noise(pixels: Tensor, draws: Draws, photons: float) -> Tensor:
    """Poisson(photons x) / photons: the count where a white pixel expects `photons`.

    A pixel takes 256 values, so all their distributions are tabled, and inverted in advance at `GUESSES` shares. Only
    where the next of these has another count is the count sought.
    """
    chances, guesses = (table.to(pixels.device) for table in _poisson_tables(photons))
    level, share = pixels.long(), _uniform(pixels, draws)
    counts = guesses.take((share * GUESSES).long().add_(level, alpha=GUESSES))
    unsure = (counts < 0).nonzero(as_tuple=True)
    sought = torch.searchsorted(chances, level[unsure] + share[unsure], right=True)
    counts[unsure] = (sought % (len(chances) // LEVELS)).to(counts.dtype)
    return on_pixel_scale(counts / photons)


def impulse_noise(pixels: Tensor, draws: Draws, share: float) -> Tensor:
    """A `share` of the elements becomes 0 or 1, with equal chances."""
    hit, white = _uniform(pixels, draws) <= share, _uniform(pixels, draws) <= 0.5
    return torch.where(hit, white.to(torch.uint8) * 255, pixels)


def speckle_noise(pixels: Tensor, draws: Draws, sigma: float) -> Tensor:
    """X + x N(0, sigma^2)."""
    images = on_unit_scale(pixels)
    return on_pixel_scale((images * sigma).mul_(_normal(pixels, draws)).add_(images))


def _normal(pixels: Tensor, draws: Draws) -> Tensor:
    _, channels, height, width = pixels.shape
    return draws.normal(height, width, channels).permute(0, 3, 1, 2)


def _uniform(pixels: Tensor, draws: Draws) -> Tensor:
    _, channels, height, width = pixels.shape
    return draws.uniform(height, width, channels).permute(0, 3, 1, 2)


@lru_cache
def _poisson_tables(photons: float) -> tuple[Tensor, Tensor]:
    """Tables of the Poisson distributions of all levels, a row for each level.

    Returns:
        P(count <= k) plus the level, float64 (256 * counts), so that all rows together are in ascending order.
        The least k with a probability above j / GUESSES, int32 (256, GUESSES); -1 where (j + 1) / GUESSES has another.
    """
    from scipy.stats import poisson  # imported late, since it takes long

    means = np.arange(LEVELS) / 255 * photons
    # No float64 below 1 reaches a count beyond these.
    counts = np.arange(int(photons + 12 * photons**0.5) + 30)
    chances = poisson.cdf(counts, means[:, None])
    chances[:, -1] = 1
    least = np.stack([np.searchsorted(row, np.arange(GUESSES + 1) / GUESSES, side="right") for row in chances])
    guesses = np.where(least[:, :-1] == least[:, 1:], least[:, :-1], -1)
    ordered = (chances + np.arange(LEVELS)[:, None]).ravel()
    return torch.from_numpy(ordered), torch.from_numpy(guesses.astype(np.int32))
