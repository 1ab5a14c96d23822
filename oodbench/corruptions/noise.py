"""Noise: Gaussian, shot, impulse and speckle. Every element of an image (row, column, channel) has its own."""

from functools import lru_cache

import numpy as np
import torch
from scipy.stats import poisson
from torch import Tensor

from oodbench.corruptions.draws import Draws
from oodbench.corruptions.filters import on_pixel_scale, on_unit_scale

GUESSES = 256
"""Shares of a distribution at which its inverse is tabled."""


def gaussian_noise(pixels: Tensor, draws: Draws, sigma: float) -> Tensor:
    """X + N(0, sigma^2)."""
    return on_pixel_scale(on_unit_scale(pixels) + sigma * _normal(pixels, draws))


def shot_noise(pixels: Tensor, draws: Draws, photons: float) -> Tensor:
    """Poisson(photons x) / photons: the count where a white pixel expects `photons`.

    A pixel takes 256 values, so all their distributions are tabled; each is inverted from a first guess upwards.
    """
    chances, guesses = (table.to(pixels.device) for table in _poisson_tables(photons))
    level, share = pixels.long().flatten(), _uniform(pixels, draws).flatten()
    counts = guesses[level, (share * GUESSES).long()]
    low = torch.arange(len(counts), device=pixels.device)
    while len(low):
        low = low[chances[level[low], counts[low]] <= share[low]]
        counts[low] += 1
    return on_pixel_scale(counts.view(pixels.shape) / photons)


def impulse_noise(pixels: Tensor, draws: Draws, share: float) -> Tensor:
    """A `share` of the elements becomes 0 or 1, with equal chances."""
    hit, white = _uniform(pixels, draws) <= share, _uniform(pixels, draws) <= 0.5
    return torch.where(hit, white * 255.0, pixels.double())


def speckle_noise(pixels: Tensor, draws: Draws, sigma: float) -> Tensor:
    """X + x N(0, sigma^2)."""
    images = on_unit_scale(pixels)
    return on_pixel_scale(images + images * sigma * _normal(pixels, draws))


def _normal(pixels: Tensor, draws: Draws) -> Tensor:
    _, channels, height, width = pixels.shape
    return draws.normal(height, width, channels).permute(0, 3, 1, 2)


def _uniform(pixels: Tensor, draws: Draws) -> Tensor:
    _, channels, height, width = pixels.shape
    return draws.uniform(height, width, channels).permute(0, 3, 1, 2)


@lru_cache
def _poisson_tables(photons: float) -> tuple[Tensor, Tensor]:
    """P(count <= k), float64 (256, most + 1), 1 at the end; and the least k with a chance above j / GUESSES,
    (256, GUESSES). A row a level.
    """
    means = np.arange(256) / 255 * photons
    # Beyond this count nothing is left that a float64 below 1 can reach.
    counts = np.arange(int(photons + 12 * photons**0.5) + 30)
    chances = poisson.cdf(counts, means[:, None])
    chances[:, -1] = 1
    guesses = np.stack([np.searchsorted(row, np.arange(GUESSES) / GUESSES, side="right") for row in chances])
    return torch.from_numpy(chances), torch.from_numpy(guesses)
