"""Image files made up for tests, of several sizes and formats."""

import io

import numpy as np
from PIL import Image


def encoded(width, height, seed=0, kind="PNG", mode="RGB"):
    """A smooth random image as the content of a file."""
    low = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    content = io.BytesIO()
    Image.fromarray(low).resize((width, height), Image.Resampling.BICUBIC).convert(mode).save(content, kind)
    return content.getvalue()


def several(count=7):
    """Name, content and label of `count` images, no two of one size."""
    kinds = ("PNG", "JPEG")
    return [(f"n{n % 3}/{n}.x", encoded(40 + 3 * n, 70 - 4 * n, n, kinds[n % 2]), n % 3) for n in range(count)]
