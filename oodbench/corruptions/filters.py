"""What several corruptions are made of: filters, zooms, motion and colours, on batches."""

import math
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn.functional import conv2d, interpolate, pad

SMALL_SIDE = 100
"""Images with a shorter side are corrupted as 32 x 32 ones are, others as 224 x 224."""


def is_small(images: Tensor) -> bool:
    """The constants for 32 x 32 images are those for `images`, (N, C, H, W)."""
    return min(images.shape[2:]) < SMALL_SIDE


def on_unit_scale(pixels: Tensor, dtype: torch.dtype = torch.float64) -> Tensor:
    """`pixels`, uint8, in [0, 1]."""
    return pixels.to(dtype) / 255


def on_pixel_scale(images: Tensor) -> Tensor:
    """`images` clipped to [0, 1], in [0, 255]."""
    return images.clamp(0, 1) * 255


def gaussian(images: Tensor, sigma: float, border: str = "nearest", truncate: float = 4.0) -> Tensor:
    """Each channel of `images`, (N, C, H, W), under a Gaussian of `sigma` pixels cut off at `truncate` sigmas."""
    if sigma == 0:
        return images
    radius = int(truncate * sigma + 0.5)
    offsets = torch.arange(-radius, radius + 1, dtype=torch.float64)
    bell = (-0.5 * (offsets / sigma) ** 2).exp()
    taps = (bell / bell.sum()).tolist()
    for dim in (2, 3):
        padded = extend(images, dim, radius, border)
        length = images.shape[dim]
        filtered = taps[radius] * padded.narrow(dim, radius, length)
        for offset in range(1, radius + 1):
            both = padded.narrow(dim, radius - offset, length) + padded.narrow(dim, radius + offset, length)
            filtered += taps[radius + offset] * both
        images = filtered
    return images


def extend(images: Tensor, dim: int, margin: int, border: str) -> Tensor:
    """`images`, (N, C, H, W), continued by `margin` pixels at both ends of dimension `dim`; `border` as in `inside`."""
    length = images.shape[dim]
    places = torch.arange(-margin, length + margin, device=images.device)
    return images.index_select(dim, inside(places, length, border))


def inside(places: Tensor, length: int, border: str) -> Tensor:
    """Whole `places`, some beyond the ends, brought back into an axis of `length` pixels.

    Args:
        places: of any shape.
        length: of the axis.
        border: "nearest" repeats the edge pixel, "reflect" mirrors with the edge pixel repeated, "mirror" without.
    """
    if border == "nearest":
        return places.clamp(0, length - 1)
    period = 2 * length if border == "reflect" else 2 * length - 2
    places = places % period
    return torch.minimum(places, (2 * length - 1 if border == "reflect" else period) - places)


def correlate(images: Tensor, kernel: Tensor) -> Tensor:
    """Each channel of `images`, (N, C, H, W), correlated with `kernel` (odd, odd), the border being "mirror"."""
    below, beside = kernel.shape[0] // 2, kernel.shape[1] // 2
    height, width = images.shape[2:]
    extended = extend(extend(images, 2, below, "mirror"), 3, beside, "mirror")
    total = torch.zeros_like(images)
    # A sum of shifted images: in float64 on a CPU ten times faster than torch's convolution.
    for row, weights in enumerate(kernel.tolist()):
        for column, weight in enumerate(weights):
            if weight:
                total.add_(extended[:, :, row : row + height, column : column + width], alpha=weight)
    return total


def zoomed(images: Tensor, factor: float) -> Tensor:
    """The middle of `images`, (N, C, H, W), enlarged linearly by `factor` and trimmed to their size."""
    side = images.shape[2]
    cut = math.ceil(side / factor)
    top = (side - cut) // 2
    enlarged_side = round(cut * factor)
    middle = images[:, :, top : top + cut, top : top + cut].double()
    enlarged = interpolate(middle, size=enlarged_side, mode="bilinear", align_corners=True).to(images.dtype)
    trim = (enlarged_side - side) // 2
    return enlarged[:, :, trim : trim + side, trim : trim + side]


def moved(images: Tensor, radius: int, sigma: float, degrees: Tensor) -> Tensor:
    """`images`, (N, C, H, W), blurred along a line in a direction of their own, `degrees` (N,).

    ImageMagick's motion blur: a one-sided Gaussian over whole-pixel offsets, edge pixels repeated.
    """
    count, channels, height, width = images.shape
    taps = 2 * radius + 1
    steps = torch.arange(taps, dtype=torch.float64)
    bell = (-(steps**2) / (2 * sigma**2)).exp()
    weights = (bell / bell.sum()).tolist()
    # Offsets are few whole numbers made with care, so the CPU makes them: a GPU's cosine may round another way.
    angle = torch.deg2rad(degrees.cpu())[:, None]
    across = torch.ceil(steps * angle.cos() - 0.5).long().to(images.device)
    down = torch.ceil(steps * angle.sin() - 0.5).long().to(images.device)
    rows, columns = (torch.arange(length, device=images.device) for length in (height, width))
    flat = images.flatten(2)
    blurred = torch.zeros_like(flat)
    for tap, weight in enumerate(weights):
        row = inside(rows + down[:, tap, None], height, "nearest")
        column = inside(columns + across[:, tap, None], width, "nearest")
        places = (row[:, :, None] * width + column[:, None, :]).flatten(1)
        blurred.add_(flat.gather(2, places[:, None].expand(count, channels, -1)), alpha=weight)
    return blurred.view(images.shape)


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
    """Hue, saturation and value, each (N, H, W) in [0, 1], of RGB `images` (N, 3, H, W) in [0, 1]."""
    red, green, blue = images.unbind(1)
    value = images.amax(1)
    spread = value - images.amin(1)
    safe = spread.where(spread > 0, 1)
    saturation = spread / value.where(value > 0, 1)
    hue = torch.zeros_like(value)
    hue = torch.where(value == red, (green - blue) / safe, hue)
    hue = torch.where(value == green, 2 + (blue - red) / safe, hue)
    hue = torch.where(value == blue, 4 + (red - green) / safe, hue)
    hue = (hue / 6) % 1
    return hue.where(spread > 0, 0), saturation, value


def rgb(hue: Tensor, saturation: Tensor, value: Tensor) -> Tensor:
    """RGB (N, 3, H, W) in [0, 1] of hue, saturation and value, each (N, H, W)."""
    sector = torch.floor(hue * 6)
    part = hue * 6 - sector
    low, falling = value * (1 - saturation), value * (1 - part * saturation)
    rising = value * (1 - (1 - part) * saturation)
    sector = sector.long() % 6
    red = torch.stack([value, falling, low, low, rising, value])
    green = torch.stack([rising, value, value, falling, low, low])
    blue = torch.stack([low, low, rising, value, value, falling])
    return torch.stack([each.gather(0, sector[None])[0] for each in (red, green, blue)], 1)


def luma(images: Tensor) -> Tensor:
    """Brightness (N, 1, H, W) of RGB `images` (N, 3, H, W), ITU-R BT.601."""
    weights = images.new_tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    return (images * weights).sum(1, keepdim=True)
