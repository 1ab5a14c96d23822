"""Pixels from nothing but a generator and what the dependencies ship: glyphs, photograph patches, blobs, noise.

Every function is deterministic for its generator and gives uint8 RGB images of SIZE x SIZE.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from oodbench.basics.arrays import Pixels
from oodbench.images import samples

SIZE = 32

CANVAS = 64
"""Side of the square on which a glyph is drawn before it is brought down to the digits' resolution."""

LEVELS = 16
"""Scikit-learn's digits have 8x8 pixels of 0 to 16."""


def enlarge(levels: npt.NDArray[np.floating]) -> Pixels:
    """Images (N, 8, 8) with levels 0 to 16 as grey RGB (N, 32, 32, 3), enlarged bilinearly."""
    grey = np.round(levels * (255 / LEVELS)).astype(np.uint8)
    large = [np.asarray(Image.fromarray(image).resize((SIZE, SIZE), Image.Resampling.BILINEAR)) for image in grey]
    return _grey_to_rgb(np.stack(large))


def glyphs(characters: Sequence[str], generator: np.random.Generator) -> Pixels:
    """One image a character, white on black, in the resolution, size and stroke of scikit-learn's digits.

    Drawn large with Pillow's bundled font, turned and shifted a little, then averaged down to 8x8 with 17 levels.
    """
    small = np.empty((len(characters), 8, 8))
    for image, character in zip(small, characters, strict=True):
        font = ImageFont.load_default(size=int(generator.integers(58, 72)))
        canvas = Image.new("L", (CANVAS, CANVAS))
        middle = tuple(CANVAS / 2 + generator.uniform(-4, 4, 2))
        ImageDraw.Draw(canvas).text(
            middle, character, fill=255, font=font, anchor="mm", stroke_width=int(generator.integers(1, 5))
        )
        turned = canvas.rotate(generator.uniform(-12, 12), Image.Resampling.BILINEAR)
        image[...] = np.asarray(turned, dtype=float).reshape(8, CANVAS // 8, 8, CANVAS // 8).mean((1, 3))
    brightest = np.maximum(small.max((1, 2), keepdims=True), 1)
    return enlarge(np.round(small / brightest * LEVELS))


def photo_patches(photo: str, count: int, generator: np.random.Generator) -> Pixels:
    """Square patches of one of scikit-learn's photographs, 32 to 128 pixels wide, brought down with antialiasing."""
    picture = samples.photograph(photo)
    patches = np.empty((count, SIZE, SIZE, 3), dtype=np.uint8)
    for patch in patches:
        side = int(SIZE * generator.uniform(1, 4))
        left, top = int(generator.integers(picture.width - side)), int(generator.integers(picture.height - side))
        box = (left, top, left + side, top + side)
        patch[...] = np.asarray(picture.resize((SIZE, SIZE), Image.Resampling.BILINEAR, box=box, reducing_gap=None))
    return patches


def uniform_noise(count: int, generator: np.random.Generator) -> Pixels:
    """Every channel of every pixel uniform over 0 to 255 (Liang et al. 2018, arXiv:1706.02690)."""
    return generator.integers(0, 256, (count, SIZE, SIZE, 3), dtype=np.uint8)


def gaussian_noise(count: int, generator: np.random.Generator) -> Pixels:
    """Every channel of every pixel N(1/2, 1), cut off at 0 and 1 (Liang et al. 2018, arXiv:1706.02690)."""
    noise = generator.standard_normal((count, SIZE, SIZE, 3), dtype=np.float32) + np.float32(0.5)
    return np.round(noise.clip(0, 1) * 255).astype(np.uint8)


def smooth_noise(count: int, generator: np.random.Generator) -> Pixels:
    """Uniform noise, blurred by 1 to 2.5 pixels, stretched to the full range (Hein et al. 2019, arXiv:1812.05720).

    They begin half of their images with shuffled pixels of training images instead.
    """
    from scipy.ndimage import gaussian_filter

    noise = uniform_noise(count, generator).astype(float)
    sigmas = generator.uniform(1, 2.5, count)
    blurred = [gaussian_filter(image, (sigma, sigma, 0)) for image, sigma in zip(noise, sigmas, strict=True)]
    return _stretch(np.stack(blurred))


def blobs(count: int, generator: np.random.Generator) -> Pixels:
    """One to three soft-edged ellipses of random colour on a random ground."""
    rows, columns = np.mgrid[:SIZE, :SIZE].astype(np.float32).reshape(2, 1, SIZE, SIZE)

    def draw(low: float, high: float, *shape: int) -> npt.NDArray[np.float32]:
        return generator.uniform(low, high, (count, *shape)).astype(np.float32)

    images = np.broadcast_to(draw(0, 255, 1, 1, 3), (count, SIZE, SIZE, 3)).copy()
    for drawn in range(3):
        vertical = ((rows - draw(0, SIZE, 1, 1)) / draw(2, 12, 1, 1)) ** 2
        horizontal = ((columns - draw(0, SIZE, 1, 1)) / draw(2, 12, 1, 1)) ** 2
        cover = np.clip((1 - vertical - horizontal) * draw(0.5, 4, 1, 1), 0, 1)
        cover *= draw(0, 1, 1, 1) < 1 / (drawn + 1)
        images += cover[..., None] * (draw(0, 255, 1, 1, 3) - images)
    return images.astype(np.uint8)


def grey_noise(count: int, generator: np.random.Generator) -> Pixels:
    """Normal noise of random mean and deviation, the same in all channels."""
    mean, deviation = generator.uniform(40, 215, (count, 1, 1)), generator.uniform(5, 80, (count, 1, 1))
    noise = mean + deviation * generator.standard_normal((count, SIZE, SIZE))
    return _grey_to_rgb(noise.clip(0, 255).astype(np.uint8))


def salt_and_pepper(count: int, generator: np.random.Generator) -> Pixels:
    """A flat grey with a random share of its pixels set to black or white."""
    ground = np.broadcast_to(generator.integers(0, 256, (count, 1, 1), dtype=np.uint8), (count, SIZE, SIZE))
    hit = generator.random((count, SIZE, SIZE)) < generator.uniform(0.02, 0.5, (count, 1, 1))
    ends = np.where(generator.random((count, SIZE, SIZE)) < 0.5, 0, 255).astype(np.uint8)
    return _grey_to_rgb(np.asarray(np.where(hit, ends, ground)))


def stripes(count: int, generator: np.random.Generator) -> Pixels:
    """Two colours in parallel stripes of random width and direction, hard-edged."""
    rows, columns = np.mgrid[:SIZE, :SIZE].reshape(2, 1, SIZE, SIZE)
    angle, width = generator.uniform(0, np.pi, (count, 1, 1)), generator.uniform(1.5, 10, (count, 1, 1))
    phase = generator.uniform(0, 20, (count, 1, 1))
    across = np.floor((rows * np.sin(angle) + columns * np.cos(angle) + phase) / width) % 2
    colours = generator.integers(0, 256, (2, count, 1, 1, 3), dtype=np.uint8)
    return np.asarray(np.where(across[..., None] == 0, colours[0], colours[1]))


def _grey_to_rgb(grey: Pixels) -> Pixels:
    return np.repeat(grey[..., None], 3, axis=-1)


def _stretch(images: npt.NDArray[np.float64]) -> Pixels:
    low, high = images.min((1, 2, 3), keepdims=True), images.max((1, 2, 3), keepdims=True)
    return np.asarray(np.round((images - low) / (high - low) * 255), dtype=np.uint8)
