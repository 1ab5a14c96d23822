"""Weather on the lens: snow, frost, fog and spatter."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import conv2d, max_pool2d

from oodbench.corruptions.draws import Draws
from oodbench.corruptions.filters import (
    correlate,
    extend,
    gaussian,
    is_small,
    luma,
    moved,
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
    flakes = on_unit_scale(on_pixel_scale(flakes).to(torch.uint8))
    flakes = moved(flakes, radius, blur, -135 + 90 * draws.uniform(1)[:, 0])
    flakes = on_unit_scale(on_pixel_scale(flakes).to(torch.uint8))
    images = on_unit_scale(pixels, torch.float32)
    whitened = keep * images + (1 - keep) * torch.maximum(images, luma(images) * 1.5 + 0.5)
    return on_pixel_scale(whitened + flakes + flakes.rot90(2, (2, 3)))


def frost(
    pixels: Tensor, draws: Draws, keep: float, cover: float, panes: Callable[[bool], tuple[Tensor, ...]] = textures
) -> Tensor:
    """`keep` of the image and `cover` of a random part of one of five frost textures."""
    height, width = pixels.shape[2:]
    which = draws.integers(0, 5, 1)[:, 0]
    place = draws.uniform(2)
    images = pixels.double()
    for number, texture in enumerate(panes(is_small(pixels))):
        rows = (which == number).nonzero()[:, 0]
        if len(rows):
            texture = texture.to(pixels.device)
            spare = place.new_tensor([texture.shape[1] - height, texture.shape[2] - width])
            corner = (place[rows] * spare).long()
            down = corner[:, 0, None] + torch.arange(height, device=pixels.device)
            over = corner[:, 1, None] + torch.arange(width, device=pixels.device)
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
    """How bright each pixel of `drops`, uint8 (N, 1, H, W), shines: most along the rims; float32 levels.

    As the source does it with OpenCV: edges, distance to them, equalised, and lit from one side.
    """
    distance = _distance(~_edges(drops)).clamp(max=20)
    ones = torch.ones(3, 3, dtype=torch.float64, device=drops.device)
    # The sum before its share and float32 before truncation: nine equal distances must stay what they are.
    smooth = (correlate(distance.double(), ones) * (1 / 9)).float().to(torch.uint8)
    light = correlate(_equalised(smooth).double(), ones.new_tensor([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]]))
    return (correlate(light.clamp(0, 255), ones) * (1 / 9)).round().float()


def _edges(levels: Tensor, low: int = 50, high: int = 150) -> Tensor:
    """Edges, bool (N, 1, H, W), of uint8 `levels`, (N, 1, H, W): Canny 1986 as OpenCV does it.

    Sobel 3 x 3, L1 magnitude, thinned across the gradient in four directions, and what is above `low` kept where it
    touches what is above `high`.
    """
    base = extend(extend(levels.double(), 2, 1, "nearest"), 3, 1, "nearest")
    sobel = base.new_tensor([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    across, down = (conv2d(base, kernel[None, None]) for kernel in (sobel, sobel.T))
    size = across.abs() + down.abs()
    around = torch.nn.functional.pad(size, (1, 1, 1, 1))
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
        grown = (max_pool2d(edges.float(), 3, stride=1, padding=1) > 0) & possible
        if (grown == edges).all():
            return edges
        edges = grown


def _distance(inside: Tensor, limit: int = 21) -> Tensor:
    """Distance in pixels to the nearest place that is not `inside`, bool (N, 1, H, W), cut off at `limit`.

    Steps to the side cost 1, diagonal ones 1.4 and a knight's move 2.1969 (Borgefors 1986, as OpenCV's 5 x 5 mask).
    """
    moves = [
        (rows, columns, {1: 1.0, 2: 1.4, 5: 2.1969}[rows**2 + columns**2])
        for rows in range(-2, 3)
        for columns in range(-2, 3)
        if rows**2 + columns**2 in (1, 2, 5)
    ]
    height, width = inside.shape[2:]
    far = float(limit)
    distance = torch.where(inside, far, 0.0)
    while True:
        around = torch.nn.functional.pad(distance, (2, 2, 2, 2), value=far)
        nearer = distance
        for rows, columns, cost in moves:
            there = around[:, :, 2 + rows : 2 + rows + height, 2 + columns : 2 + columns + width]
            nearer = torch.minimum(nearer, there + cost)
        if torch.equal(nearer, distance):
            return distance
        distance = nearer


def _equalised(levels: Tensor) -> Tensor:
    """`levels`, uint8 (N, 1, H, W), spread so that all of 0 to 255 are used equally, image by image."""
    flat = levels.flatten(1).long()
    counts = torch.zeros(len(flat), 256, device=levels.device).scatter_add_(1, flat, torch.ones_like(flat).float())
    sums = counts.cumsum(1)
    first = counts.gather(1, flat.amin(1, keepdim=True))
    total = flat.shape[1]
    spread = ((sums - first) * (255.0 / (total - first).where(total > first, 1))).round().clamp(0, 255)
    return torch.where(total > first, spread.gather(1, flat), flat).view(levels.shape).to(torch.uint8)
