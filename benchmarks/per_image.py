"""Corruptions one image at a time with the usual CPU libraries: OpenCV, scikit-image, SciPy, Pillow, NumPy.

What ImageNet-C and CIFAR-10-C (Hendrycks and Dietterich 2019, arXiv:1903.12261) describe, written plainly. Each
function takes an image, uint8 (H, W, 3), a generator and the type's constants, and gives levels in [0, 255].
"""

import io
from collections.abc import Callable, Mapping
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.ndimage import gaussian_filter, map_coordinates, zoom
from skimage.color import hsv2rgb, rgb2hsv
from skimage.filters import gaussian
from skimage.util import random_noise

from oodbench.corruptions.frost import textures

Pixels = npt.NDArray[np.uint8]
Levels = npt.NDArray[np.float64]
Generator = np.random.Generator


def corrupted(image: Pixels, name: str, generator: Generator, *constants: float) -> Pixels:
    """`image`, uint8 (H, W, 3), under the type `name`; uint8 of the same shape."""
    return np.clip(TYPES[name](image, generator, *constants), 0, 255).astype(np.uint8)


def gaussian_noise(image: Pixels, generator: Generator, sigma: float) -> Levels:
    """X + N(0, sigma^2)."""
    return 255 * np.clip(image / 255 + generator.normal(0, sigma, image.shape), 0, 1)


def shot_noise(image: Pixels, generator: Generator, photons: float) -> Levels:
    """Poisson(photons x) / photons."""
    return np.asarray(255 * np.clip(generator.poisson(image / 255 * photons) / photons, 0, 1))


def impulse_noise(image: Pixels, generator: Generator, share: float) -> Levels:
    """Salt and pepper."""
    return np.asarray(255 * random_noise(image / 255, mode="s&p", amount=share, rng=generator))


def speckle_noise(image: Pixels, generator: Generator, sigma: float) -> Levels:
    """X + x N(0, sigma^2)."""
    levels = image / 255
    return 255 * np.clip(levels + levels * generator.normal(0, sigma, image.shape), 0, 1)


def gaussian_blur(image: Pixels, generator: Generator, sigma: float) -> Levels:
    """A Gaussian."""
    return np.asarray(255 * np.clip(gaussian(image / 255, sigma=sigma, channel_axis=-1), 0, 1))


def defocus_blur(image: Pixels, generator: Generator, radius: float, sigma: float) -> Levels:
    """A smoothed disk."""
    reach, size = (8, 3) if radius <= 8 else (int(radius), 5)
    line = np.arange(-reach, reach + 1)
    disk = (line[:, None] ** 2 + line**2 <= radius**2).astype(np.float32)
    kernel = cv2.GaussianBlur(disk / disk.sum(), ksize=(size, size), sigmaX=sigma)
    return np.asarray(255 * np.clip(cv2.filter2D(image / 255, -1, kernel), 0, 1))


def glass_blur(image: Pixels, generator: Generator, sigma: float, reach: int, rounds: int) -> Levels:
    """Pixels replaced by near ones, one after the other, between two blurs."""
    pixels = (255 * gaussian(image / 255, sigma=sigma, channel_axis=-1)).astype(np.uint8)
    height, width = pixels.shape[:2]
    for _ in range(rounds):
        for row in range(height - reach, reach, -1):
            for column in range(width - reach, reach, -1):
                across, down = generator.integers(-reach, reach, 2)
                pixels[row, column] = pixels[row + down, column + across]
    return np.asarray(255 * np.clip(gaussian(pixels / 255, sigma=sigma, channel_axis=-1), 0, 1))


def motion_blur(image: Pixels, generator: Generator, radius: int, sigma: float) -> Levels:
    """A one-sided Gaussian along a line."""
    return _moved(image.astype(np.float64), radius, sigma, generator.uniform(-45, 45))


def _moved(levels: Levels, radius: int, sigma: float, degrees: float) -> Levels:
    angle = np.deg2rad(degrees)
    steps = np.arange(2 * radius + 1)
    weights = np.exp(-(steps**2) / (2 * sigma**2))
    kernel = np.zeros((4 * radius + 1, 4 * radius + 1))
    down, across = (np.ceil(steps * part - 0.5).astype(int) for part in (np.sin(angle), np.cos(angle)))
    np.add.at(kernel, (2 * radius + down, 2 * radius + across), weights / weights.sum())
    return np.asarray(cv2.filter2D(levels, -1, kernel, borderType=cv2.BORDER_REPLICATE))


def zoom_blur(image: Pixels, generator: Generator, stop: float, step: float) -> Levels:
    """The mean of the image and its enlargements."""
    levels = (image / 255).astype(np.float32)
    factors = np.arange(1, stop, step)
    total = levels + sum(_zoomed(levels, factor) for factor in factors)
    return np.asarray(255 * np.clip(total / (len(factors) + 1), 0, 1))


def _zoomed(levels: npt.NDArray[Any], factor: float) -> npt.NDArray[Any]:
    side = len(levels)
    cut = int(np.ceil(side / factor))
    top = (side - cut) // 2
    larger = zoom(levels[top : top + cut, top : top + cut], (factor, factor, 1), order=1)
    trim = (len(larger) - side) // 2
    return np.asarray(larger[trim : trim + side, trim : trim + side])


def snow(
    image: Pixels,
    generator: Generator,
    mean: float,
    sigma: float,
    factor: float,
    threshold: float,
    radius: int,
    blur: float,
    keep: float,
) -> Levels:
    """Flakes blurred by motion, and the same turned by half, over a whitened image."""
    height, width = image.shape[:2]
    flakes = _zoomed(generator.normal(mean, sigma, (height, width, 1)), factor)[..., 0]
    flakes[flakes < threshold] = 0
    flakes = (255 * np.clip(flakes, 0, 1)).astype(np.uint8).astype(np.float64)
    flakes = _moved(flakes, radius, blur, generator.uniform(-135, -45)).astype(np.uint8) / 255
    levels = (image / 255).astype(np.float32)
    grey = cv2.cvtColor(levels, cv2.COLOR_RGB2GRAY)[..., None]
    whitened = keep * levels + (1 - keep) * np.maximum(levels, grey * 1.5 + 0.5)
    return np.asarray(255 * np.clip(whitened + (flakes + np.rot90(flakes, 2))[..., None], 0, 1))


def spatter(
    image: Pixels,
    generator: Generator,
    mean: float,
    sigma: float,
    blur: float,
    threshold: float,
    mix: float,
    mud: float,
) -> Levels:
    """Drops of water, or of mud, on the lens."""
    levels = image / 255
    liquid = gaussian(generator.normal(mean, sigma, image.shape[:2]), sigma=blur)
    liquid[liquid < threshold] = 0
    if mud:
        cover = gaussian((liquid > threshold).astype(np.float64), sigma=mix)
        cover[cover < 0.8] = 0
        return np.asarray(255 * np.clip(levels * (1 - cover[..., None]) + cover[..., None] * MUD, 0, 1))
    drops = (255 * np.clip(liquid, 0, 1)).astype(np.uint8)
    distance = cv2.distanceTransform(255 - cv2.Canny(drops, 50, 150), cv2.DIST_L2, 5)
    _, distance = cv2.threshold(distance, 20, 20, cv2.THRESH_TRUNC)
    relief = cv2.equalizeHist(cv2.blur(distance, (3, 3)).astype(np.uint8))
    relief = cv2.filter2D(relief, cv2.CV_8U, np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]]))
    wet = drops * cv2.blur(relief, (3, 3)).astype(np.float32)
    return np.asarray(255 * np.clip(levels + mix * (wet / max(float(wet.max()), 1e-9))[..., None] * WATER, 0, 1))


def frost(image: Pixels, generator: Generator, keep: float, cover: float) -> Levels:
    """A random part of a texture added."""
    texture = _FROSTS[generator.integers(len(_FROSTS))]
    height, width = image.shape[:2]
    row = generator.integers(len(texture) - height)
    column = generator.integers(texture.shape[1] - width)
    return np.asarray(cv2.addWeighted(image, keep, texture[row : row + height, column : column + width], cover, 0))


def fog(image: Pixels, generator: Generator, amount: float, decay: float) -> Levels:
    """A cloud added, and the sum brought back to the image's own maximum."""
    levels = image / 255
    height, width = image.shape[:2]
    cloud = _plasma(1 << (max(height, width) - 1).bit_length(), generator, decay)[:height, :width, None]
    return np.asarray(255 * np.clip((levels + amount * cloud) * levels.max() / (levels.max() + amount), 0, 1))


def _plasma(side: int, generator: Generator, decay: float) -> Levels:
    """Diamonds and squares on a torus, in [0, 1]."""
    cloud, wobble, step = np.zeros((side, side)), 100.0, side

    def wobbled(total: Levels) -> Levels:
        return total / 4 + wobble * generator.uniform(-wobble, wobble, total.shape)

    while step >= 2:
        half = step // 2
        corners = cloud[::step, ::step]
        beside = corners + np.roll(corners, -1, 0)
        cloud[half::step, half::step] = wobbled(beside + np.roll(beside, -1, 1))
        middles = cloud[half::step, half::step]
        cloud[::step, half::step] = wobbled(middles + np.roll(middles, 1, 0) + corners + np.roll(corners, -1, 1))
        cloud[half::step, ::step] = wobbled(middles + np.roll(middles, 1, 1) + corners + np.roll(corners, -1, 0))
        step, wobble = half, wobble / decay
    cloud -= cloud.min()
    return np.asarray(cloud / cloud.max())


def brightness(image: Pixels, generator: Generator, amount: float) -> Levels:
    """More value in HSV."""
    hsv = rgb2hsv(image / 255)
    hsv[..., 2] = np.clip(hsv[..., 2] + amount, 0, 1)
    return np.asarray(255 * np.clip(hsv2rgb(hsv), 0, 1))


def saturate(image: Pixels, generator: Generator, times: float, plus: float) -> Levels:
    """More or less saturation in HSV."""
    hsv = rgb2hsv(image / 255)
    hsv[..., 1] = np.clip(hsv[..., 1] * times + plus, 0, 1)
    return np.asarray(255 * np.clip(hsv2rgb(hsv), 0, 1))


def contrast(image: Pixels, generator: Generator, times: float) -> Levels:
    """Nearer to the mean."""
    levels = image / 255
    means = levels.mean((0, 1), keepdims=True)
    return np.asarray(255 * np.clip((levels - means) * times + means, 0, 1))


def elastic(image: Pixels, generator: Generator, scale: float, sigma: float, corners: float) -> Levels:
    """An affine warp, then a smooth field of shifts."""
    height, width = image.shape[:2]
    middle, side = np.array([height // 2, width // 2]), min(height, width) // 3
    points = (middle + side * np.array([[1, 1], [1, -1], [-1, -1]])).astype(np.float32)
    moved = points + generator.uniform(-corners, corners, points.shape).astype(np.float32)
    warp = cv2.getAffineTransform(points, moved)
    levels = (image / 255).astype(np.float32)
    levels = cv2.warpAffine(levels, warp, (width, height), borderMode=cv2.BORDER_REFLECT_101)
    fields = generator.uniform(-1, 1, (2, height, width))
    across, down = (
        gaussian_filter(each, sigma, mode="reflect", truncate=3) * scale if sigma else each * 0 for each in fields
    )
    rows, columns = np.mgrid[:height, :width]
    places = [rows + down, columns + across]
    channels = [map_coordinates(levels[..., channel], places, order=1, mode="reflect") for channel in range(3)]
    return np.asarray(255 * np.clip(np.stack(channels, -1), 0, 1))


def pixelate(image: Pixels, generator: Generator, share: float) -> Levels:
    """Shrunk and enlarged back."""
    side = len(image)
    small = Image.fromarray(image).resize((int(side * share),) * 2, Image.Resampling.BOX)
    return np.asarray(small.resize((side, side), Image.Resampling.BOX), np.float64)


def jpeg(image: Pixels, generator: Generator, quality: int) -> Levels:
    """Through JPEG and back."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file), np.float64)


WATER, MUD = np.array([175, 238, 238]) / 255, np.array([63, 42, 20]) / 255
"""Colours of drops, RGB."""

_FROSTS = [texture.permute(1, 2, 0).contiguous().numpy() for texture in textures(True)]

TYPES: Mapping[str, Callable[..., Levels]] = {
    "gaussian-noise": gaussian_noise,
    "shot-noise": shot_noise,
    "impulse-noise": impulse_noise,
    "defocus-blur": defocus_blur,
    "glass-blur": glass_blur,
    "motion-blur": motion_blur,
    "zoom-blur": zoom_blur,
    "snow": snow,
    "frost": frost,
    "fog": fog,
    "brightness": brightness,
    "contrast": contrast,
    "elastic": elastic,
    "pixelate": pixelate,
    "jpeg": jpeg,
    "speckle-noise": speckle_noise,
    "gaussian-blur": gaussian_blur,
    "spatter": spatter,
    "saturate": saturate,
}
"""By oodbench's name."""
