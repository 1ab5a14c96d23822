"""Types of arrays, called after what they hold, and rows of them at even distances."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
"""Numbers in double precision, as scores and metrics are calculated."""

Floats32 = npt.NDArray[np.float32]
"""Numbers in single precision, as networks calculate."""

Pixels = npt.NDArray[np.uint8]
"""Levels 0 to 255 of images (N, H, W, 3), or of one image (H, W, 3)."""


def evenly_marked(count: int, few: int) -> npt.NDArray[np.bool_]:
    """Mark `few` of `count` rows, bool (count,), at even distances: of a sorted set every part has its share."""
    marked = np.zeros(count, dtype=bool)
    marked[np.arange(few) * count // few] = True
    return marked
