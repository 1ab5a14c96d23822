"""Computes FPR@95, AUROC, AUPR and detection error of two score arrays, each by its own name and convention.

Higher score = more in-distribution (ID); ID is the positive class; every value is a fraction in [0, 1].
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from oodbench.basics.arrays import Floats
from oodbench.basics.errors import OodbenchError, unknown

Counts = npt.NDArray[np.int64]

METRICS = ("fpr95", "fpr95_oodpos", "auroc", "aupr_in", "aupr_out", "detection_error")

AT_CLEAN = ("fpr95_clean", "fnr_clean")
"""Measured by `at_clean_threshold` where ID images are attacked: a deployed threshold was set before the attack."""


@dataclass(frozen=True)
class Curve:
    """Two score arrays as metrics need them: the number of images of each side at or below each threshold.

    Attributes:
        thresholds: the T distinct scores, ascending.
        id_below: int64 (..., T + 1), ID images at or below each threshold, a zero for "below all" in front. Leading
            axes hold several such curves.
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
    id_sorted, ood_sorted = np.sort(_valid_scores(id_scores, "ID")), np.sort(_valid_scores(ood_scores, "OOD"))
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


@dataclass(frozen=True)
class CleanThreshold:
    """A threshold that was set on clean ID images, and the scores that meet it while ID images are attacked.

    All other metrics compare attacked ID scores with OOD scores, so that their threshold moves with the attack, which a
    deployed threshold does not.

    Attributes:
        clean_id: (N,), sets the threshold that keeps 95 % of them.
        attacked_id: (M,).
        ood_scores: (K,), attacked or not.
        convention: one of `CONVENTIONS`, by which `fpr95` is computed.
        operating_point: a fixed threshold in its place, where the method has one.
    """

    clean_id: npt.ArrayLike
    attacked_id: npt.ArrayLike
    ood_scores: npt.ArrayLike
    convention: str = "default"
    operating_point: float | None = None


def at_clean_threshold(given: CleanThreshold) -> dict[str, float]:
    """The shares of images accepted and rejected at a threshold that was set before the attack.

    Returns:
        fpr95_clean: share of OOD images accepted there.
        fnr_clean: share of attacked ID images rejected there.

    Raises:
        OodbenchError: as `evaluate`.
    """
    share_accepted = _convention(given.convention)["fpr95"]

    def accepted(scores: npt.ArrayLike) -> float:
        points = curve(given.clean_id, scores)
        fixed = given.operating_point
        return float(share_accepted(points)) if fixed is None else fpr_at(points, fixed)

    return {"fpr95_clean": accepted(given.ood_scores), "fnr_clean": 1 - accepted(given.attacked_id)}


def accuracy(predictions: npt.NDArray[np.int64], labels: npt.NDArray[np.int64]) -> float:
    """The share of predictions (N,) that equal the labels (N,), of the images that have a label; NaN if none has.

    A label below 0 stands for an unknown class. A prediction below 0 is no class, and wrong; where all are below 0 the
    network predicts no classes, and the share is NaN.
    """
    right = right_predictions(predictions, labels)
    return float(np.mean(right)) if len(right) else float("nan")


def right_predictions(predictions: npt.NDArray[np.int64], labels: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """For each image that counts in `accuracy`, which see, whether its prediction is right; of none if that is NaN."""
    known = labels >= 0
    if (predictions[known] < 0).all():
        return np.zeros(0, np.bool_)
    right: npt.NDArray[np.bool_] = predictions[known] == labels[known]
    return right


@dataclass(frozen=True)
class InDistributionReport:
    """Rejection and accuracy of ID images with a detector that rejects at a threshold (section 4 of Chen et al. 2021).

    Attributes:
        fnr: share of ID images rejected.
        accuracy: share of ID images classified right; NaN where none has a label.
        end_to_end_accuracy: share of ID images accepted and classified right; likewise.
    """

    fnr: float
    accuracy: float
    end_to_end_accuracy: float


def in_distribution_report(
    scores: Floats, predictions: npt.NDArray[np.int64], labels: npt.NDArray[np.int64], threshold: float
) -> InDistributionReport:
    """The report for ID images whose score must lie above `threshold` to be accepted; arrays (N,)."""
    accepted, right = scores > threshold, right_predictions(predictions, labels)
    return InDistributionReport(
        float(np.mean(~accepted)),
        accuracy(predictions, labels),
        float(np.mean(right & accepted[labels >= 0])) if len(right) else float("nan"),
    )


def threshold_at_95(id_scores: npt.ArrayLike) -> float:
    """The largest score that keeps at least 95 % of the ID images, whose scores are (N,): where `fpr95` is taken."""
    scores = np.sort(np.asarray(id_scores, np.float64))
    return float(scores[len(scores) * 5 // 100])


def published_threshold(points: Curve) -> float:
    """The ID score at rank round(0.05 n), half to even: what the reference code of Chen et al. 2021 rejects up to."""
    return float(points.thresholds[_published_rank(points).item()])


def fpr_at(points: Curve, threshold: float) -> float:
    """Share of OOD images accepted, that is with a score above `threshold`."""
    return float((points.n_ood - points.ood_below[_position(points, threshold)]) / points.n_ood)


def fnr_at(points: Curve, threshold: float) -> float:
    """Share of ID images rejected, that is with a score at or below `threshold`.

    At `published_threshold` it should be near 0.05; far above, ties have made `published_fpr95` look better than it is.
    """
    return float(points.id_below[_position(points, threshold)] / points.n_id)


def auroc_ties(points: Curve) -> float:
    """P(ID = OOD): the difference of the AUROC with all ties won and with all ties lost; 0 without ties."""
    return float((np.diff(points.id_below) * np.diff(points.ood_below)).sum() / (points.n_id * points.n_ood))


# Each metric below maps a curve to (...), one value for each of the curve's leading axes.


def fpr95(points: Curve) -> Floats:
    """The share of OOD accepted (score >= threshold) at the largest threshold that keeps at least 95 % of ID."""
    kept = points.n_id - points.id_below[..., :-1]
    largest = (100 * kept >= 95 * points.n_id).sum(-1, keepdims=True) - 1
    return (points.n_ood - _at(points.ood_below, largest)) / points.n_ood


def fpr95_oodpos(points: Curve) -> Floats:
    """Share of ID rejected (score <= threshold) at the smallest threshold that catches at least 95 % of OOD.

    What OpenOOD and Outlier Exposure call FPR@95.
    """
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
    wrong = points.id_below * points.n_ood + _above(points.ood_below) * points.n_id
    return np.asarray(wrong.min(-1) / (2 * points.n_id * points.n_ood))


def published_fpr95(points: Curve) -> Floats:
    """Share of OOD strictly above the ID score at rank round(0.05 n), half to even."""
    return (points.n_ood - _at(points.ood_below, _published_rank(points) + 1)) / points.n_ood


def published_aupr_in(points: Curve) -> Floats:
    """Trapezoid area under precision over recall, ID positive, closed by the corner (0, 0)."""
    return _area(_above(points.id_below), _above(points.ood_below), points.n_id, corner=0.0)


def published_aupr_out(points: Curve) -> Floats:
    """Trapezoid area under precision over recall, OOD positive, opened by the corner (0, 0)."""
    return _area(points.ood_below, points.id_below, points.n_ood, corner=0.0)


def published_detection_error(points: Curve) -> Floats:
    """The least share of all images, ID and OOD, on the wrong side of a threshold."""
    wrong = points.id_below + _above(points.ood_below)
    return np.asarray(wrong.min(-1) / (points.n_id + points.n_ood))


def openood_aupr_in(points: Curve) -> Floats:
    """Trapezoid area under precision over recall, ID positive, from the corner (recall 0, precision 1)."""
    return _area(_above(points.id_below), _above(points.ood_below), points.n_id, corner=1.0)


def openood_aupr_out(points: Curve) -> Floats:
    """Trapezoid area under precision over recall, OOD positive, from the corner (recall 0, precision 1)."""
    return _area(points.ood_below, points.id_below, points.n_ood, corner=1.0)


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
    "openood": {
        "fpr95_oodpos": fpr95_oodpos,
        "fpr95": fpr95,
        "auroc": auroc,
        "aupr_in": openood_aupr_in,
        "aupr_out": openood_aupr_out,
        "detection_error": detection_error,
    },
}
"""The same metrics as communities compute them, the leading ones first; "published" is the reference code of Chen et
al. 2021, "openood" is OpenOOD v1.5, whose only FPR@95 is `fpr95_oodpos`."""


def _convention(name: str) -> Mapping[str, Metric]:
    if name not in CONVENTIONS:
        raise unknown("convention", name, CONVENTIONS)
    return CONVENTIONS[name]


def _valid_scores(scores: npt.ArrayLike, side: str) -> Floats:
    """The scores of one side as an array; OodbenchError where they are no finite numbers, one an image."""
    array = np.asarray(scores, dtype=np.float64)
    if array.ndim != 1 or not array.size:
        raise OodbenchError(f"the {side} scores have shape {array.shape}: expected one number an image, at least one")
    if not np.isfinite(array).all():
        raise OodbenchError(f"the {side} scores hold NaN or infinity: mend the detector that gave them")
    return array


def _cumulated(ordered: Floats, thresholds: Floats) -> Counts:
    return np.concatenate([[0], np.searchsorted(ordered, thresholds, side="right")])


def _position(points: Curve, threshold: float) -> int:
    """Index into the cumulative counts of a single curve: images at or below `threshold`."""
    return int(np.searchsorted(points.thresholds, threshold, side="right"))


def _published_rank(points: Curve) -> Counts:
    """Position (..., 1) of the threshold group that holds the ID image of rank round(0.05 n)."""
    rank = round(0.05 * points.n_id)
    return np.asarray((points.id_below[..., 1:] <= rank).sum(-1, keepdims=True))


def _at(below: Counts, position: Counts) -> Counts:
    return np.take_along_axis(below, position, -1)[..., 0]


def _above(below: Counts) -> Counts:
    return below[..., -1:] - below


def _area(hits: Counts, misses: Counts, total: int, corner: float) -> Floats:
    """Area under precision over recall for counts (..., T + 1) at each threshold; `corner` is the precision of none."""
    precision = np.where(hits + misses > 0, _share(hits, hits + misses), corner)
    return np.asarray(np.abs(np.trapezoid(precision, hits / total, axis=-1)))


def _share(part: Counts, whole: Counts) -> Floats:
    return part / np.maximum(whole, 1)
