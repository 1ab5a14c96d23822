"""Weather on the lens: snow, frost, fog and spatter."""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import pad

from oodbench.corruptions.draws import Draws
from oodbench.corruptions.filters import (
    correlate,
    gaussian,
    is_small,
    luma,
    mirrored,
    motion_blurred,
    on_pixel_scale,
    on_unit_scale,
    zoomed,
)
from oodbench.corruptions.frost import textures

WATER, MUD = (175, 238, 238), (63, 42, 20)
"""Colours of drops, RGB."""


def snow(
    pixels: Tensor,
    draws: Draws,
    mean: float,
    sigma: float,
    zoom: float,
    threshold: float,
    radius: int,
    blur: float,
    keep: float,
) -> Tensor:
    """A layer of flakes and the same turned by half, over a whitened image.

    Flakes are N(mean, sigma^2) noise, enlarged by `zoom`, without what is below `threshold`, blurred by motion in a
    direction of their own. `keep` of the image stays as it is.
    """
    height, width = pixels.shape[2:]
    flakes = zoomed(mean + sigma * draws.normal(1, height, width), zoom)
    flakes = flakes.where(flakes >= threshold, 0)
    flakes = on_pixel_scale(flakes).to(torch.uint8)
    flakes = on_unit_scale(motion_blurred(flakes, radius, blur, -135 + 90 * draws.uniform(1)[:, 0]))
    images = on_unit_scale(pixels, torch.float32)
    whitened = keep * images + (1 - keep) * torch.maximum(images, luma(images) * 1.5 + 0.5)
    return on_pixel_scale(whitened + flakes + flakes.rot90(2, (2, 3)))


def frost(
    pixels: Tensor, draws: Draws, keep: float, cover: float, panes: Callable[[bool], tuple[Tensor, ...]] = textures
) -> Tensor:
    """`keep` of the image and `cover` of a random part of one of five frost textures.

    A texture that is smaller than the image goes on mirrored.
    """
    height, width = pixels.shape[2:]
    pane = draws.integers(0, 5, 1)[:, 0]
    place = draws.uniform(2)
    images = pixels.double()
    for number, texture in enumerate(panes(is_small(pixels))):
        rows = (pane == number).nonzero()[:, 0]
        if len(rows):
            texture = texture.to(pixels.device)
            spare = place.new_tensor([texture.shape[1] - height, texture.shape[2] - width])
            corner = (place[rows] * spare.clamp(min=0)).long()
            down = mirrored(corner[:, 0, None] + torch.arange(height, device=pixels.device), texture.shape[1])
            over = mirrored(corner[:, 1, None] + torch.arange(width, device=pixels.device), texture.shape[2])
            parts = texture[:, down[:, :, None], over[:, None, :]].movedim(0, 1).double()
            images[rows] = (keep * images[rows] + cover * parts).clamp(0, 255)
    return images


def fog(pixels: Tensor, draws: Draws, amount: float, decay: float) -> Tensor:
    """`amount` of a cloud added, and the sum brought back to the image's own maximum."""
    height, width = pixels.shape[2:]
    images = on_unit_scale(pixels)
    brightest = images.amax((1, 2, 3), keepdim=True)
    side = 1 << (max(height, width) - 1).bit_length()
    cloud = plasma(images.new_zeros(len(images), side, side), draws, decay)[:, None, :height, :width]
    return on_pixel_scale((images + amount * cloud) * brightest / (brightest + amount))


def plasma(cloud: Tensor, draws: Draws, decay: float) -> Tensor:
    """Clouds (N, side, side) in [0, 1] by diamonds and squares on a torus, from an empty `cloud`; side is a power of 2.

    The source multiplies what it draws from U(-w, w) by w once more, so amplitudes fall with `decay` squared.
    """
    wobble, step = 100.0, cloud.shape[1]

    def wobbled(total: Tensor) -> Tensor:
        return total / 4 + wobble * wobble * (2 * draws.uniform(*total.shape[1:]) - 1)

    while step >= 2:
        half = step // 2
        corners = cloud[:, ::step, ::step]
        total = corners + corners.roll(-1, 1)
        total = total + total.roll(-1, 2)
        cloud[:, half::step, half::step] = wobbled(total)
        middles = cloud[:, half::step, half::step]
        above = middles + middles.roll(1, 1) + corners + corners.roll(-1, 2)
        cloud[:, ::step, half::step] = wobbled(above)
        beside = middles + middles.roll(1, 2) + corners + corners.roll(-1, 1)
        cloud[:, half::step, ::step] = wobbled(beside)
        step, wobble = half, wobble / decay
    cloud = cloud - cloud.amin((1, 2), keepdim=True)
    return cloud / cloud.amax((1, 2), keepdim=True)


def spatter(
    pixels: Tensor,
    draws: Draws,
    mean: float,
    sigma: float,
    blur: float,
    threshold: float,
    strength: float,
    mud: bool,
) -> Tensor:
    """Drops of water, bright along their rims, or of mud: smoothed N(mean, sigma^2) noise above `threshold`."""
    height, width = pixels.shape[2:]
    liquid = gaussian(mean + sigma * draws.normal(1, height, width), blur)
    liquid = liquid.where(liquid >= threshold, 0)
    images = on_unit_scale(pixels, torch.float32)
    if mud:
        cover = gaussian((liquid > threshold).float().double(), strength).float()
        cover = cover.where(cover >= 0.8, 0)
        colour = cover.new_tensor(MUD).view(1, 3, 1, 1) / 255
        return on_pixel_scale(images * (1 - cover) + colour * cover)
    drops = (liquid * 255).to(torch.uint8)
    rims = drops.float() * _rims(drops)
    rims = rims / rims.amax((1, 2, 3), keepdim=True).where(rims.amax((1, 2, 3), keepdim=True) > 0, 1) * strength
    return on_pixel_scale(images + rims * (rims.new_tensor(WATER).view(1, 3, 1, 1) / 255))


def _rims(drops: Tensor) -> Tensor:
    """The brightness of each pixel of `drops`, uint8 (N, 1, H, W), largest along the rims; float32 levels.

    As the source does it with OpenCV: edges, distance to them, equalised, and lit from one side.
    """
    distance = _distance(~_edges(drops)).clamp(max=20)
    ones = torch.ones(3, 3, dtype=torch.float64, device=drops.device)
    # Summed before the division, and float32 before truncation, so that nine equal distances keep their value.
    smooth = (correlate(distance.double(), ones) * (1 / 9)).float().to(torch.uint8)
    light = correlate(_equalised(smooth).double(), ones.new_tensor([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]]))
    return (correlate(light.clamp(0, 255), ones) * (1 / 9)).round().float()


def _edges(levels: Tensor, low: int = 50, high: int = 150) -> Tensor:
    """Mark edges, bool (N, 1, H, W), of uint8 `levels`, (N, 1, H, W): Canny 1986 as OpenCV does it.

    Sobel 3 x 3, L1 magnitude, thinned across the gradient in four directions, and edges above `low` kept where
    they touch edges above `high`.
    """
    base = pad(levels.int(), (1, 1, 1, 1), mode="replicate")
    across, down = (_sobel(base, dim) for dim in (3, 2))
    size = across.abs() + down.abs()
    around = pad(size, (1, 1, 1, 1))
    height, width = levels.shape[2:]

    def neighbour(rows: int, columns: int) -> Tensor:
        return around[:, :, 1 + rows : 1 + rows + height, 1 + columns : 1 + columns + width]

    # tan(22.5 degrees) in OpenCV's fixed point, and tan(67.5) = tan(22.5) + 2.
    tangent = round(0.4142135623730950488 * 2**15)
    x, y = across.abs(), down.abs() * 2**15
    flat, steep = y < x * tangent, y > x * (tangent + 2**16)
    same_sign = (across < 0) == (down < 0)
    sideways = (size > neighbour(0, -1)) & (size >= neighbour(0, 1))
    upright = (size > neighbour(-1, 0)) & (size >= neighbour(1, 0))
    falling = (size > neighbour(-1, -1)) & (size > neighbour(1, 1))
    rising = (size > neighbour(-1, 1)) & (size > neighbour(1, -1))
    peak = torch.where(flat, sideways, torch.where(steep, upright, torch.where(same_sign, falling, rising)))
    possible = peak & (size > low)
    edges = peak & (size > high)
    while True:
        grown = _dilated(edges) & possible
        if torch.equal(grown, edges):
            return edges
        edges = grown


def _sobel(extended: Tensor, dim: int) -> Tensor:
    """The 3 x 3 Sobel slope along `dim` of an image extended by 1; smaller by one pixel on every side."""
    across, height, width = 5 - dim, extended.shape[2] - 2, extended.shape[3] - 2
    length = {2: height, 3: width}
    slope = extended.narrow(dim, 2, length[dim]) - extended.narrow(dim, 0, length[dim])
    parts = [slope.narrow(across, start, length[across]) for start in range(3)]
    return parts[0] + 2 * parts[1] + parts[2]


def _dilated(marks: Tensor) -> Tensor:
    """Mark the pixels around which any of the 3 x 3 `marks`, bool (N, 1, H, W), is set."""
    for dim in (2, 3):
        length = marks.shape[dim]
        wider = marks.clone()
        wider.narrow(dim, 1, length - 1).logical_or_(marks.narrow(dim, 0, length - 1))
        wider.narrow(dim, 0, length - 1).logical_or_(marks.narrow(dim, 1, length - 1))
        marks = wider
    return marks


STEPS = {1: 1.0, 2: 1.4, 5: 2.1969}
"""Lengths of the moves of a 5 x 5 mask, to the side, diagonal and a knight's, by their square (Borgefors 1986,
doi:10.1016/S0734-189X(86)80047-0, as OpenCV has them).
"""


def _distance(inside: Tensor, limit: int = 21) -> Tensor:
    """The distance in pixels to the nearest place that is not `inside`, bool (N, 1, H, W), cut off at `limit`; float32.

    A shortest way consists of two kinds of moves at most, which are neighbours by angle, in any order. So it is enough
    to try all sixteen moves once by angle, each any number of times: 1, then 2 more, then 4 more, ...
    """
    around = [(down, over) for down in range(-2, 3) for over in range(-2, 3) if down**2 + over**2 in STEPS]
    height, width = inside.shape[2:]
    distance = inside.float().mul_(limit)
    for down, over in sorted(around, key=lambda move: math.atan2(*move)):
        cost, times = STEPS[down**2 + over**2], 1
        while cost * times < limit and abs(down) * times < height and abs(over) * times < width:
            origins, targets = _shifted_views(distance, down * times, over * times)
            torch.minimum(targets, origins + cost * times, out=targets)
            times *= 2
    return distance


def _shifted_views(images: Tensor, down: int, over: int) -> tuple[Tensor, Tensor]:
    """Two views of `images`, (N, C, H, W): the pixels that have one `down` and `over` from them, and those others."""
    height, width = images.shape[2:]
    top, left, bottom, right = max(-down, 0), max(-over, 0), height - max(down, 0), width - max(over, 0)
    return images[:, :, top:bottom, left:right], images[:, :, top + down : bottom + down, left + over : right + over]


def _equalised(levels: Tensor) -> Tensor:
    """Spread `levels`, uint8 (N, 1, H, W), image by image so that all of 0 to 255 are used equally."""
    flat = levels.flatten(1).long()
    counts = torch.zeros(len(flat), 256, device=levels.device).scatter_add_(1, flat, torch.ones_like(flat).float())
    sums = counts.cumsum(1)
    first = counts.gather(1, flat.amin(1, keepdim=True))
    total = flat.shape[1]
    spread = ((sums - first) * (255.0 / (total - first).where(total > first, 1))).round().clamp(0, 255)
    return torch.where(total > first, spread.gather(1, flat), flat).view(levels.shape).to(torch.uint8)
