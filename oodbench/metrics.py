"""Two score arrays to FPR@95, AUROC, AUPR and detection error, each by its own name and convention, with intervals.

Higher score = more in-distribution (ID); ID is the positive class; every value is a fraction in [0, 1].
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from oodbench.errors import OodbenchError, unknown

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

METRICS = ("fpr95", "fpr95_oodpos", "auroc", "aupr_in", "aupr_out", "detection_error")


@dataclass(frozen=True)
class Curve:
    """All a metric needs to know of two score arrays: how many images of each side lie at or below each threshold.

    Attributes:
        thresholds: the T distinct scores, ascending.
        id_below: int64 (..., T + 1), ID images at or below each threshold, a zero for "below all" in front. Leading
            axes hold resamples.
        ood_below: the same for OOD images.
    """

    thresholds: Floats
    id_below: Counts
    ood_below: Counts

    @property
    def n_id(self) -> int:
        """Number of ID images."""
        return int(self.id_below[..., -1].max())

    @property
    def n_ood(self) -> int:
        """Number of OOD images."""
        return int(self.ood_below[..., -1].max())


def curve(id_scores: npt.ArrayLike, ood_scores: npt.ArrayLike) -> Curve:
    """The curve of two score arrays (N,) and (M,), from one sort.

    Raises:
        OodbenchError: an array is empty, not one-dimensional, or not finite.
    """
    id_sorted, ood_sorted = np.sort(_checked(id_scores, "ID")), np.sort(_checked(ood_scores, "OOD"))
    merged = np.sort(np.concatenate([id_sorted, ood_sorted]), kind="stable")  # two runs: a merge
    thresholds = merged[np.append(merged[1:] != merged[:-1], True)]
    return Curve(thresholds, _cumulated(id_sorted, thresholds), _cumulated(ood_sorted, thresholds))


def evaluate(id_scores: npt.ArrayLike, ood_scores: npt.ArrayLike, convention: str = "default") -> dict[str, float]:
    """Every metric of `METRICS` for ID scores (N,) against OOD scores (M,), in a convention of `CONVENTIONS`.

    Raises:
        OodbenchError: an unknown convention, or scores that `curve` refuses.
    """
    functions = _convention(convention)
    points = curve(id_scores, ood_scores)
    return {name: float(function(points)) for name, function in functions.items()}


def bootstrap(
    id_scores: npt.ArrayLike,
    ood_scores: npt.ArrayLike,
    *,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
    convention: str = "default",
) -> dict[str, tuple[float, float]]:
    """Percentile intervals for every metric, over images: ID and OOD are resampled with replacement, each by itself.

    Args:
        id_scores: (N,).
        ood_scores: (M,).
        resamples: how many.
        seed: the same seed draws the same images.
        level: share of resamples inside the interval.
        convention: one of `CONVENTIONS`.

    Raises:
        OodbenchError: as `evaluate`.
    """
    functions = _convention(convention)
    points = curve(id_scores, ood_scores)
    generator = np.random.default_rng(seed)
    rows = max(1, CHUNK // len(points.thresholds))
    chunks = []
    for start in range(0, resamples, rows):
        count = min(rows, resamples - start)
        drawn = Curve(
            points.thresholds,
            _resampled(points.id_below, count, generator),
            _resampled(points.ood_below, count, generator),
        )
        chunks.append([function(drawn) for function in functions.values()])
    values = np.concatenate(chunks, axis=1)
    tails = np.quantile(values, [(1 - level) / 2, (1 + level) / 2], axis=1)
    return {name: (float(low), float(high)) for name, low, high in zip(functions, *tails, strict=True)}


def accuracy(predictions: npt.NDArray[np.int64], labels: npt.NDArray[np.int64]) -> float:
    """Share of predictions (N,) that equal the labels (N,)."""
    return float(np.mean(predictions == labels))


@dataclass(frozen=True)
class InDistributionReport:
    """How ID images fare behind a detector that rejects at a threshold (section 4 of Chen et al. 2021).

    Attributes:
        fnr: share of ID images rejected.
        accuracy: share of ID images classified right.
        end_to_end_accuracy: share of ID images accepted and classified right.
    """

    fnr: float
    accuracy: float
    end_to_end_accuracy: float


def in_distribution_report(
    scores: Floats, predictions: npt.NDArray[np.int64], labels: npt.NDArray[np.int64], threshold: float
) -> InDistributionReport:
    """The report for ID images whose score must lie above `threshold` to be accepted; arrays (N,)."""
    accepted, right = scores > threshold, predictions == labels
    return InDistributionReport(float(np.mean(~accepted)), float(np.mean(right)), float(np.mean(accepted & right)))


def published_threshold(points: Curve) -> float:
    """The ID score at rank round(0.05 n), half to even: what the reference code of Chen et al. 2021 rejects up to."""
    return float(points.thresholds[_published_rank(points).item()])


def fpr_at(points: Curve, threshold: float) -> float:
    """Share of OOD images with a score above `threshold`."""
    at_or_below = int(np.searchsorted(points.thresholds, threshold, side="right"))
    return float(1 - points.ood_below[..., at_or_below] / points.n_ood)


# Each metric below maps a curve to (...), one value for each resample of the curve's leading axes.


def fpr95(points: Curve) -> Floats:
    """Share of OOD accepted (score >= threshold) at the largest threshold that keeps at least 95 % of ID."""
    kept = points.n_id - points.id_below[..., :-1]
    largest = (100 * kept >= 95 * points.n_id).sum(-1, keepdims=True) - 1
    return 1 - _at(points.ood_below, largest) / points.n_ood


def fpr95_oodpos(points: Curve) -> Floats:
    """Share of ID rejected (score <= threshold) at the smallest threshold that catches at least 95 % of OOD."""
    caught = points.ood_below[..., 1:]
    smallest = (100 * caught < 95 * points.n_ood).sum(-1, keepdims=True)
    return _at(points.id_below, smallest + 1) / points.n_id


def auroc(points: Curve) -> Floats:
    """P(ID > OOD) + P(ID = OOD) / 2."""
    middle = (points.ood_below[..., 1:] + points.ood_below[..., :-1]) / 2
    return np.asarray((np.diff(points.id_below) * middle).sum(-1) / (points.n_id * points.n_ood))


def aupr_in(points: Curve) -> Floats:
    """Average precision with ID positive: the sum of precision over the steps of recall."""
    kept, passed = _above(points.id_below)[..., :-1], _above(points.ood_below)[..., :-1]
    return np.asarray((np.diff(points.id_below) * _share(kept, kept + passed)).sum(-1) / points.n_id)


def aupr_out(points: Curve) -> Floats:
    """Average precision with OOD positive, caught from the lowest score up."""
    caught, rejected = points.ood_below[..., 1:], points.id_below[..., 1:]
    return np.asarray((np.diff(points.ood_below) * _share(caught, caught + rejected)).sum(-1) / points.n_ood)


def detection_error(points: Curve) -> Floats:
    """The least (FNR + FPR) / 2 over all thresholds."""
    rates = points.id_below / points.n_id + _above(points.ood_below) / points.n_ood
    return np.asarray(rates.min(-1) / 2)


def published_fpr95(points: Curve) -> Floats:
    """Share of OOD strictly above the ID score at rank round(0.05 n), half to even."""
    return 1 - _at(points.ood_below, _published_rank(points) + 1) / points.n_ood


def published_aupr_in(points: Curve) -> Floats:
    """Trapezoid area under precision over recall, ID positive, closed by the corner (0, 0)."""
    kept, passed = _above(points.id_below), _above(points.ood_below)
    return -np.asarray(np.trapezoid(_share(kept, kept + passed), kept / points.n_id, axis=-1))


def published_aupr_out(points: Curve) -> Floats:
    """Trapezoid area under precision over recall, OOD positive, opened by the corner (0, 0)."""
    caught, rejected = points.ood_below, points.id_below
    return np.asarray(np.trapezoid(_share(caught, caught + rejected), caught / points.n_ood, axis=-1))


def published_detection_error(points: Curve) -> Floats:
    """The least share of all images, ID and OOD, on the wrong side of a threshold."""
    wrong = points.id_below + _above(points.ood_below)
    return np.asarray(wrong.min(-1) / (points.n_id + points.n_ood))


Metric = Callable[[Curve], Floats]

CONVENTIONS: Mapping[str, Mapping[str, Metric]] = {
    "default": {
        "fpr95": fpr95,
        "fpr95_oodpos": fpr95_oodpos,
        "auroc": auroc,
        "aupr_in": aupr_in,
        "aupr_out": aupr_out,
        "detection_error": detection_error,
    },
    "published": {
        "fpr95": published_fpr95,
        "fpr95_oodpos": fpr95_oodpos,
        "auroc": auroc,
        "aupr_in": published_aupr_in,
        "aupr_out": published_aupr_out,
        "detection_error": published_detection_error,
    },
}
"""The same metrics as two communities compute them; "published" is the reference code of Chen et al. 2021."""

CHUNK = 2**20
"""Counts of a side that a bootstrap holds at a time."""


def _convention(name: str) -> Mapping[str, Metric]:
    if name not in CONVENTIONS:
        raise unknown("convention", name, CONVENTIONS)
    return CONVENTIONS[name]


def _checked(scores: npt.ArrayLike, side: str) -> Floats:
    array = np.asarray(scores, dtype=np.float64)
    if array.ndim != 1 or not array.size:
        raise OodbenchError(f"the {side} scores have shape {array.shape}: expected one number an image, at least one")
    if not np.isfinite(array).all():
        raise OodbenchError(f"the {side} scores hold NaN or infinity: mend the detector that gave them")
    return array


def _cumulated(ordered: Floats, thresholds: Floats) -> Counts:
    return np.concatenate([[0], np.searchsorted(ordered, thresholds, side="right")])


def _resampled(below: Counts, count: int, generator: np.random.Generator) -> Counts:
    """Cumulative counts (count, T + 1) of as many images drawn with replacement from those behind `below` (T + 1,)."""
    images, groups = int(below[-1]), len(below) - 1
    group_of = np.repeat(np.arange(groups), np.diff(below))
    drawn = group_of[generator.integers(0, images, (count, images))] + groups * np.arange(count)[:, None]
    counts = np.bincount(drawn.ravel(), minlength=count * groups).reshape(count, groups)
    return np.concatenate([np.zeros((count, 1), np.int64), counts.cumsum(1)], 1)


def _published_rank(points: Curve) -> Counts:
    """Position (..., 1) of the threshold group that holds the ID image of rank round(0.05 n)."""
    rank = round(0.05 * points.n_id)
    return np.asarray((points.id_below[..., 1:] <= rank).sum(-1, keepdims=True))


def _at(below: Counts, position: Counts) -> Counts:
    return np.take_along_axis(below, position, -1)[..., 0]


def _above(below: Counts) -> Counts:
    return below[..., -1:] - below


def _share(part: Counts, whole: Counts) -> Floats:
    return part / np.maximum(whole, 1)
