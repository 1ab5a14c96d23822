"""Measures whether an image scores the same in any batch: some images of each set are scored twice."""

import numpy as np
import numpy.typing as npt

from oodbench.basics.arrays import Floats

SECOND_LOOKS = 64
"""Images of a set that are scored twice."""

GROUP = 24
"""Approximate size of a batch of the second look; another than that of the first, since sizes may matter as well."""

ROUNDING = 1e-6
"""Differences of scores up to this share of the largest score are float32 rounding, which varies with the batch."""


def second_looks(count: int) -> list[npt.NDArray[np.int64]]:
    """Rows, of `count`, of the images to score again, in groups: in another order, and with other batch sizes.

    They lie at even distances, so that of a sorted set every part has its share; no group is of one image where there
    are four or more.
    """
    chosen = min(count, SECOND_LOOKS)
    rows = np.arange(chosen) * count // chosen
    shuffled = np.random.default_rng(0).permutation(rows)
    return np.array_split(shuffled, max(min(2, chosen // 2), -(-chosen // GROUP), 1))


def change_between_looks(first: Floats, second: Floats, spread: float) -> float:
    """The largest change between two looks at the same images, as a share of `spread`: 0 if it is rounding.

    Args:
        first: scores (N,).
        second: of the same images in other batches (N,).
        spread: see `spread_of`.
    """
    change = float(np.abs(first - second).max())
    return 0.0 if change <= ROUNDING * float(np.abs(first).max()) else change / max(spread, 1e-12)


def spread_of(scores: Floats) -> float:
    """The spread of scores (N,): their interquartile range, or their deviation where half of them are one value."""
    low, high = np.quantile(scores, [0.25, 0.75])
    return float(high - low) or float(np.std(scores))
