"""Digital corruptions: brightness, contrast, elastic warps, pixelation, JPEG and saturation."""

import io
import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from oodbench.corruptions.draws import Draws
from oodbench.corruptions.filters import bell, hsv, mirrored, on_pixel_scale, on_unit_scale, rgb, sampled
from oodbench.images.tensors import channels_first_view


def brightness(pixels: Tensor, draws: Draws, amount: float) -> Tensor:
    """`amount` more value in HSV."""
    hue, saturation, value = hsv(on_unit_scale(pixels))
    return on_pixel_scale(rgb(hue, saturation, (value + amount).clamp(0, 1)))


def saturate(pixels: Tensor, draws: Draws, times: float, plus: float) -> Tensor:
    """`times` the saturation in HSV, and `plus` more."""
    hue, saturation, value = hsv(on_unit_scale(pixels))
    return on_pixel_scale(rgb(hue, (saturation * times + plus).clamp(0, 1), value))


def contrast(pixels: Tensor, draws: Draws, times: float) -> Tensor:
    """Each channel's distance from its mean, `times` as large."""
    images = on_unit_scale(pixels)
    means = images.mean((2, 3), keepdim=True)
    return on_pixel_scale((images - means) * times + means)


def pixelate(pixels: Tensor, draws: Draws, share: float) -> Tensor:
    """Shrunk to `share` of each side by area, and enlarged back."""
    height, width = pixels.shape[2:]
    return _box_resized(_box_resized(pixels, int(height * share), int(width * share)), height, width)


def jpeg(pixels: Tensor, draws: Draws, quality: int) -> Tensor:
    """Through JPEG at `quality` and back. The values depend on the JPEG library below Pillow."""
    decoded = np.stack([_through_jpeg(image, quality) for image in pixels.permute(0, 2, 3, 1).cpu().numpy()])
    return channels_first_view(decoded, pixels.device)


def elastic(pixels: Tensor, draws: Draws, scale: float, sigma: float, corners: float) -> Tensor:
    """An affine warp that moves three points by up to `corners` pixels, then a smooth field of shifts.

    The field is uniform noise under a Gaussian of `sigma` pixels, times `scale`.
    """
    height, width = pixels.shape[2:]
    images = on_unit_scale(pixels, torch.float32)
    moves = ((2 * draws.uniform(3, 2) - 1) * corners).float()
    images = _warped(images, moves, side=min(height, width) // 3)
    across, down = (_shifts(draws, height, width, sigma) * scale for _ in range(2))
    rows, columns = (torch.arange(length, device=pixels.device) for length in (height, width))
    return on_pixel_scale(sampled(images, rows[:, None] + down, columns + across, "reflect"))


def _shifts(draws: Draws, height: int, width: int, sigma: float) -> Tensor:
    """Draw a smooth field (N, H, W): U(-1, 1) under a Gaussian of `sigma` pixels; zero for a sigma of 0."""
    field = 2 * draws.uniform(height, width) - 1
    if not sigma:
        return torch.zeros_like(field)
    down, over = (_smoothing(length, sigma).to(field.device) for length in (height, width))
    return down @ field @ over.T


@lru_cache
def _smoothing(length: int, sigma: float) -> Tensor:
    """A Gaussian of `sigma` pixels, cut off at 3 sigmas, along an axis as a matrix, float64 (length, length).

    Sigma may exceed the axis: then a product is far cheaper than a sum of shifted fields.
    """
    radius = int(3 * sigma + 0.5)
    offsets = torch.arange(-radius, radius + 1)
    weights = torch.tensor(bell(sigma, radius), dtype=torch.float64)[offsets.abs()]
    places = mirrored(torch.arange(length)[:, None] + offsets, length)
    return torch.zeros(length, length, dtype=torch.float64).scatter_add_(1, places, weights.expand(length, -1))


def _through_jpeg(image: npt.NDArray[np.uint8], quality: int) -> npt.NDArray[np.uint8]:
    file, before = io.BytesIO(), Image.fromarray(image)
    before.save(file, "JPEG", quality=quality)
    # The decoder is called directly: opening the file takes twice as long.
    return np.asarray(Image.frombytes("RGB", before.size, file.getvalue(), "jpeg", "RGB", ""))


def _box_resized(pixels: Tensor, height: int, width: int) -> Tensor:
    """Resize `pixels`, uint8, to (N, C, height, width) as Pillow's box filter does: rows, rounded, then columns."""
    for dim, length in ((3, width), (2, height)):
        matrix = _box_matrix(pixels.shape[dim], length).to(pixels.device)
        sums = torch.tensordot(pixels.double(), matrix, dims=([dim], [1])).movedim(-1, dim)
        pixels = sums.add_(2**21).mul_(2**-22).clamp_(0, 255).to(torch.uint8)
    return pixels


@lru_cache
def _box_matrix(before: int, after: int) -> Tensor:
    """Pillow's box filter as a matrix (after, before) of whole numbers, in units of 2^-22."""
    scale = before / after
    stretch = max(scale, 1.0)
    matrix = torch.zeros(after, before, dtype=torch.float64)
    for row in range(after):
        center = (row + 0.5) * scale
        first = max(int(center - 0.5 * stretch + 0.5), 0)
        last = min(int(center + 0.5 * stretch + 0.5), before)
        inside = [-0.5 < (place - center + 0.5) / stretch <= 0.5 for place in range(first, last)]
        for place in range(first, last):
            matrix[row, place] = math.floor(0.5 + inside[place - first] / sum(inside) * 2**22)
    return matrix


def _warped(images: Tensor, moves: Tensor, side: int) -> Tensor:
    """Apply to `images`, (N, C, H, W), the affine map that moves three points around the middle by `moves`, (N, 3, 2).

    The points, (x, y), are `side` pixels away along both axes. As OpenCV warps: source coordinates in 32nds of a pixel.
    """
    height, width = images.shape[2:]
    middle = images.new_tensor([width // 2, height // 2])
    points = middle + side * images.new_tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]])
    targets = (points + moves.to(images)).double()
    points = points.double()
    ones = points.new_ones(len(images), 3, 1)
    # Rows (x, y, 1) of the targets times `inverse` are the points: the map from the new image into the old one.
    inverse = torch.linalg.solve(torch.cat([targets, ones], 2), points.expand(len(images), -1, -1))
    rows, columns = (torch.arange(length, device=images.device).double() for length in (height, width))
    x, y = (
        torch.round(inverse[:, 0, axis, None, None] * columns * 1024)
        + torch.round((inverse[:, 1, axis, None, None] * rows[:, None] + inverse[:, 2, axis, None, None]) * 1024)
        for axis in (0, 1)
    )
    x, y = (torch.floor((place + 16) / 32) / 32 for place in (x, y))
    return sampled(images, y, x, "mirror")
