"""Filters, zooms, motion blur and colour spaces on batches, from which corruptions are made."""

import math
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import conv2d, grid_sample, pad

SMALL_SIDE = 100
"""Images with a shorter side are corrupted as 32 x 32 ones are, others as 224 x 224."""

QUANTA = 257
"""Levels of 16 bits in one level of 8 bits."""


def is_small(images: Tensor) -> bool:
    """True where `images`, (N, C, H, W), take the constants for 32 x 32 images."""
    return min(images.shape[2:]) < SMALL_SIDE


def on_unit_scale(pixels: Tensor, dtype: torch.dtype = torch.float64) -> Tensor:
    """Scale `pixels`, uint8, to [0, 1]."""
    return pixels.to(dtype).div_(255)


def on_pixel_scale(images: Tensor) -> Tensor:
    """Clip `images` to [0, 1] and scale them to [0, 255]."""
    return images.clamp(0, 1).mul_(255)


def gaussian(images: Tensor, sigma: float) -> Tensor:
    """Blur each channel of `images`, (N, C, H, W), by a Gaussian of `sigma` pixels cut off at 4 sigmas, edges repeated.

    Summed in SciPy's order, outermost pixels first: on flat parts the last bit decides which level remains.
    """
    radius = int(4 * sigma + 0.5)
    taps = bell(sigma, radius)
    for dim, margins in ((2, (0, 0, radius, radius)), (3, (radius, radius, 0, 0))):
        padded = pad(images, margins, mode="replicate")
        length = images.shape[dim]
        filtered = padded.narrow(dim, radius, length) * taps[0]
        for offset in range(radius, 0, -1):
            both = padded.narrow(dim, radius - offset, length) + padded.narrow(dim, radius + offset, length)
            filtered += both.mul_(taps[offset])
        images = filtered
    return images


def bell(sigma: float, radius: int) -> list[float]:
    """Weights of a Gaussian at 0 to `radius` pixels, such that both sides together sum to 1; to SciPy's last bit."""
    weights = np.exp(-0.5 / sigma**2 * np.arange(-radius, radius + 1) ** 2)
    return [float(weight) for weight in weights[radius:] / weights.sum()]


def correlate(images: Tensor, kernel: Tensor) -> Tensor:
    """Correlate each channel of `images`, (N, C, H, W), with `kernel` (odd, odd), mirrored about the edge pixels."""
    vertical, horizontal = kernel.shape[0] // 2, kernel.shape[1] // 2
    height, width = images.shape[2:]
    extended = pad(images, (horizontal, horizontal, vertical, vertical), mode="reflect")
    total = torch.zeros_like(images)
    # A sum of shifted images: in float64 on a CPU ten times faster than torch's convolution.
    for row, weights in enumerate(kernel.tolist()):
        for column, weight in enumerate(weights):
            if weight:
                total.add_(extended[:, :, row : row + height, column : column + width], alpha=weight)
    return total


def zoomed(images: Tensor, factor: float) -> Tensor:
    """Enlarge the middle of `images`, (N, C, H, W), linearly by `factor` along both axes, trimmed to their size."""
    rows, columns = (_zoomed_places(length, factor).to(images.device) for length in images.shape[2:])
    return sampled(images, rows[None, :, None], columns[None, None], "nearest")


def _zoomed_places(length: int, factor: float) -> Tensor:
    """The places along an axis, float64 (length,), from which `zoomed` takes its pixels."""
    cut = math.ceil(length / factor)
    enlarged = round(cut * factor)
    places = torch.arange(length, dtype=torch.float64) + (enlarged - length) // 2
    return (length - cut) // 2 + places * ((cut - 1) / (enlarged - 1))


def mirrored(places: Tensor, length: int) -> Tensor:
    """The pixels of an axis of `length` at `places`, whole numbers; beyond its ends mirrored, edge pixels repeated."""
    places = places % (2 * length)
    return torch.minimum(places, 2 * length - 1 - places)


def sampled(images: Tensor, rows: Tensor, columns: Tensor, border: str) -> Tensor:
    """Sample `images`, (N, C, H, W), linearly at fractional places, in float64: (N, C, H', W').

    Args:
        images: of any floating type.
        rows: float64, of a shape that expands to (N, H', W').
        columns: the same.
        border: "nearest" repeats the edge pixel, "reflect" mirrors with the edge pixel repeated, "mirror" without.
    """
    height, width = images.shape[2:]
    if at_centers := border == "mirror":  # reflections turn about pixel centers
        across, down = 2 * columns / (width - 1) - 1, 2 * rows / (height - 1) - 1
    else:
        across, down = (2 * columns + 1) / width - 1, (2 * rows + 1) / height - 1
    shape = np.broadcast_shapes(across.shape, down.shape)
    grid = torch.stack([across.expand(shape), down.expand(shape)], 3).expand(len(images), -1, -1, -1)
    padding = "border" if border == "nearest" else "reflection"
    return grid_sample(images.double(), grid, padding_mode=padding, align_corners=at_centers).to(images.dtype)


def motion_blurred(pixels: Tensor, radius: int, sigma: float, degrees: Tensor) -> Tensor:
    """Blur each image of `pixels`, uint8 (N, C, H, W), along a line in its own direction, `degrees` (N,); uint8.

    ImageMagick's motion blur: a one-sided Gaussian over whole-pixel offsets, edge pixels repeated, rounded to its 16
    bits and cut to 8.
    """
    count, channels, height, width = pixels.shape
    taps = 2 * radius + 1
    steps = torch.arange(taps, dtype=torch.float64)
    weights = (-(steps**2) / (2 * sigma**2)).exp()
    # The few whole-number offsets are computed on the CPU: a GPU's cosine may round another way.
    angle = torch.deg2rad(degrees.cpu())[:, None]
    across = torch.ceil(steps * angle.cos() - 0.5).long().to(pixels.device)
    down = torch.ceil(steps * angle.sin() - 0.5).long().to(pixels.device)
    rows, columns = (torch.arange(length, device=pixels.device) for length in (height, width))
    flat = pixels.flatten(2).float()
    quanta = torch.zeros_like(flat)
    for tap, weight in enumerate((weights / weights.sum() * QUANTA).tolist()):
        row = (rows + down[:, tap, None]).clamp(0, height - 1) * width
        column = (columns + across[:, tap, None]).clamp(0, width - 1)
        places = (row[:, :, None] + column[:, None, :]).view(count, 1, -1)
        quanta.add_(flat.gather(2, places.expand(-1, channels, -1)), alpha=weight)
    return quanta.round_().div_(QUANTA).to(torch.uint8).view(pixels.shape)


@lru_cache
def disk(radius: float, sigma: float) -> Tensor:
    """A disk of `radius` pixels, smoothed by a Gaussian of `sigma`; float64, sum 1, trimmed to what is not zero."""
    reach, size = (8, 3) if radius <= 8 else (int(radius), 5)
    line = torch.arange(-reach, reach + 1, dtype=torch.float64)
    disk = (line[:, None] ** 2 + line**2 <= radius**2).float()
    disk /= disk.sum()
    offsets = torch.arange(size, dtype=torch.float64) - size // 2
    taps = (-(offsets**2) / (2 * sigma**2)).exp()
    taps = (taps / taps.sum()).float()
    # float32 up to here, as in the source; what is beyond the disk adds nothing.
    smooth = conv2d(
        pad(disk[None, None], (size // 2,) * 4, mode="reflect"), (taps[:, None] * taps)[None, None].to(disk)
    )[0, 0]
    used = int((line.abs()[smooth.sum(0) > 0]).max())
    return smooth[reach - used : reach + used + 1, reach - used : reach + used + 1].double()


def hsv(images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The hue, saturation and value, each (N, H, W) in [0, 1], of RGB `images` (N, 3, H, W) in [0, 1]."""
    red, green, blue = images.unbind(1)
    value = images.amax(1)
    spread = value - images.amin(1)
    safe = spread.where(spread > 0, 1)
    saturation = spread / value.where(value > 0, 1)
    of_red, of_green = (green - blue).div_(safe), (blue - red).div_(safe).add_(2)
    hue = torch.where(value == green, of_green, of_red)  # if several are the largest, the last of them counts
    hue = torch.where(value == blue, (red - green).div_(safe).add_(4), hue).div_(6)
    hue = torch.where(hue < 0, hue + 1, hue)
    return hue.where(spread > 0, 0), saturation, value


def rgb(hue: Tensor, saturation: Tensor, value: Tensor) -> Tensor:
    """The RGB image (N, 3, H, W) in [0, 1] of hue, saturation and value, each (N, H, W)."""
    place = hue * 6
    sector = place.to(torch.uint8)
    part = place.sub_(sector)
    low, falling = (1 - saturation).mul_(value), (1 - part * saturation).mul_(value)
    rising = (1 - (1 - part).mul_(saturation)).mul_(value)
    sector.masked_fill_(sector == 6, 0)
    in_sector = [sector == number for number in range(6)]

    def channel(first: int) -> Tensor:
        """The channel that is largest in sector `first` and in the one before."""
        at = in_sector[first:] + in_sector[:first]
        return torch.where(at[2] | at[3], low, torch.where(at[1], falling, torch.where(at[4], rising, value)))

    return torch.stack([channel(0), channel(2), channel(4)], 1)


def luma(images: Tensor) -> Tensor:
    """The brightness (N, 1, H, W) of RGB `images` (N, 3, H, W), ITU-R BT.601."""
    weights = images.new_tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    return (images * weights).sum(1, keepdim=True)
