"""Thresholds and p-values with a guarantee for finitely many images: split conformal prediction.

All of it rests on one thing alone: that the ID images at hand and those to come are exchangeable, drawn in the same
way. An attack or another camera breaks that, which is why what a threshold delivers there is measured, not promised.

Vovk, Gammerman and Shafer 2005; Bates, Candès, Lei, Romano and Sesia 2023, arXiv:2104.08279.
"""

from dataclasses import dataclass
from math import floor, inf

import numpy as np
import numpy.typing as npt
from scipy.special import betainc

from oodbench.basics.arrays import Floats
from oodbench.basics.errors import OodbenchError

SLACK = 1e-9
"""Tolerance of rounding: 0.05 of 20 images is one of them, though 1 - 0.95 is a little more than 0.05."""


@dataclass(frozen=True)
class Threshold:
    """A threshold between ID images and others: an image is rejected if its score is lower.

    Attributes:
        value: a score.
        keep: share of ID images that is promised to be kept, in (0, 1).
        delta: the probability that the promise is broken by the images that were drawn; 0 where it holds in expectation
            over them.
        images: ID images that it was chosen on.
    """

    value: float
    keep: float
    delta: float
    images: int

    @property
    def promise(self) -> str:
        """The promise in words."""
        share = f"at least {100 * self.keep:g} % of ID images are kept"
        if self.delta:
            return f"{share}, with probability {100 * (1 - self.delta):g} % over the {self.images} images chosen on"
        return f"{share} in expectation over the {self.images} images chosen on"

    def rejects(self, scores: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """Mark the images that are rejected, (N,); also those whose score is NaN, since nothing speaks for them."""
        return ~(np.asarray(scores, np.float64) >= self.value)


def threshold(scores: npt.ArrayLike, keep: float, delta: float = 0.0) -> Threshold:
    """The highest of `scores` that keeps the promise as a threshold.

    Below the k-th lowest of n scores lies a share of all ID images that is Beta(k, n + 1 - k), whatever the scores'
    distribution; ties make it less. In expectation that is k / (n + 1).

    Args:
        scores: of ID images (n,), finite, that nothing was fitted or tuned on and that nothing is reported on.
        keep: share of ID images to be kept.
        delta: probability with which less may be kept; 0 for a promise in expectation.

    Raises:
        OodbenchError: a number is out of its range, a score is not finite, or there are too few images.
    """
    require_promise(keep, delta)
    ordered = np.sort(_finite(scores))
    count, rejected = len(ordered), 1 - keep
    lowest = _rank(count, rejected, delta)
    if lowest < 1:
        raise OodbenchError(
            f"{count} ID images are too few to promise that {100 * keep:g} % are kept"
            f"{f' with probability {100 * (1 - delta):g} %' if delta else ''}: it takes {images_needed(keep, delta)}; "
            "give more, or promise less"
        )
    return Threshold(float(ordered[lowest - 1]), keep, delta, count)


def require_promise(keep: float, delta: float = 0.0) -> None:
    """Raise OodbenchError for a promise that no number of images could keep: see `threshold`."""
    if not 0 < keep < 1:
        raise OodbenchError(f"keep is {keep:g}: give a share of ID images above 0 and below 1, such as 0.95")
    if not 0 <= delta < 1:
        raise OodbenchError(f"delta is {delta:g}: give a probability below 1, or 0 for a promise in expectation")


def images_needed(keep: float, delta: float = 0.0) -> int:
    """The fewest ID images on which a threshold that keeps a share of `keep` can be chosen."""
    count = 1
    while _rank(count, 1 - keep, delta) < 1:
        count *= 2
    low = count // 2
    while low + 1 < count:
        middle = (low + count) // 2
        low, count = (low, middle) if _rank(middle, 1 - keep, delta) >= 1 else (middle, count)
    return count


def _rank(count: int, rejected: float, delta: float) -> int:
    """The rank among `count` scores, 1 for the lowest, of the threshold; 0 if no score can be one."""
    if not delta:
        return floor(rejected * (count + 1) + SLACK)
    ranks = np.arange(1, count + 1)
    # The probability that more than a share of `rejected` lies below the k-th, which rises with k.
    broken = 1 - betainc(ranks, count + 1 - ranks, rejected)
    return int(np.searchsorted(broken, delta + SLACK, side="right"))


def p_values(id_scores: npt.ArrayLike, scores: npt.ArrayLike) -> Floats:
    """The p-value of each of `scores` (N,) among those of ID images (n,): for an ID image, p <= a has probability <= a.

    Args:
        id_scores: as `threshold` takes them.
        scores: of the images in question.

    Raises:
        OodbenchError: a score is not finite, or there are no ID images.
    """
    ordered, values = np.sort(_finite(id_scores)), np.asarray(scores, np.float64)
    if np.isnan(values).any():
        raise OodbenchError("a score is not a number: there is no p-value of it")
    below = np.searchsorted(ordered, values, side="right")
    return np.asarray((1.0 + below) / (len(ordered) + 1.0), np.float64)


def discoveries(p: npt.ArrayLike, fdr: float) -> npt.NDArray[np.bool_]:
    """Mark the images of a batch that are called OOD, (N,): a share of at most `fdr` of them is ID, in expectation.

    Benjamini and Hochberg 1995; it holds for the p-values of `p_values`, which share their ID images (Bates et al.
    2023, theorem 2).

    Raises:
        OodbenchError: `fdr` is not above 0 and below 1.
    """
    values = np.asarray(p, np.float64)
    return np.asarray(values <= discovery_limit(*np.unique(values, return_counts=True), fdr))


def discovery_limit(values: npt.ArrayLike, counts: npt.ArrayLike, fdr: float) -> float:
    """The largest p-value of a batch that is called OOD, -inf if none is; `discoveries` uses it.

    Args:
        values: distinct p-values in rising order.
        counts: of images that have each.
        fdr: share of those called OOD that may be ID, in expectation.

    Raises:
        OodbenchError: `fdr` is not above 0 and below 1.
    """
    if not 0 < fdr < 1:
        raise OodbenchError(f"fdr is {fdr:g}: give a share above 0 and below 1, such as 0.05")
    distinct, up_to = np.asarray(values, np.float64), np.cumsum(np.asarray(counts, np.int64))
    total = int(up_to[-1]) if len(up_to) else 0
    passing = np.flatnonzero(distinct <= fdr * up_to / max(1, total) + 1e-15)
    return float(distinct[passing[-1]]) if len(passing) else -inf


def _finite(scores: npt.ArrayLike) -> Floats:
    values = np.asarray(scores, np.float64)
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        shape = "none" if not values.size else f"of shape {values.shape}"
        raise OodbenchError(f"the scores of ID images are {shape}: give a finite number for each of one or more images")
    return values
