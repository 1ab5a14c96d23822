"""Two detectors on the same images: the difference of each metric, with a 95 % interval.

Both detectors meet the same easy and the same hard images, so a difference is known better than either value. The
interval is put together from those of the two values and from how far their errors go together (Zou and Donner 2008,
"MOVER"; Newcombe 1998, method 10, for shares): that correlation is computed image by image, from the influence of each
image on both values (for an AUROC: DeLong et al. 1988).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from oodbench.basics.arrays import Floats
from oodbench.basics.errors import OodbenchError
from oodbench.metrics import CONVENTIONS, Curve, curve, fpr_at
from oodbench.statistics.intervals import Bound, interval_methods, share_interval


@dataclass(frozen=True)
class Detection:
    """The scores of ID and OOD images by one detector.

    Attributes:
        id: scores (N,).
        ood: scores (M,).
        operating_point: score above which `fpr95` accepts an image, where a paper fixes it.
    """

    id: Floats
    ood: Floats
    operating_point: float | None = None


@dataclass(frozen=True)
class Difference:
    """The difference of a metric between two detectors.

    Attributes:
        value: for the images at hand, in [-1, 1].
        low: lower end of the 95 % interval.
        high: upper end; equal to `low` only where both detectors give the same scores.
    """

    value: float
    low: float
    high: float


SAME = Difference(0.0, 0.0, 0.0)
"""The difference between a detector and itself."""


def differences(one: Detection, other: Detection, convention: str = "default") -> dict[str, Difference]:
    """The difference of every metric, that of `one` less that of `other`, for the same images in the same order.

    Raises:
        OodbenchError: numbers of images differ, an unknown convention, or scores that `oodbench.metrics.curve` refuses.
    """
    ours, theirs = (
        interval_methods(convention, one.operating_point),
        interval_methods(convention, other.operating_point),
    )
    if (len(one.id), len(one.ood)) != (len(other.id), len(other.ood)):
        raise OodbenchError(
            f"{len(one.id)} ID and {len(one.ood)} OOD images against {len(other.id)} and {len(other.ood)}: a paired "
            "difference needs the same images for both detectors"
        )
    if one.operating_point == other.operating_point and _equal(one.id, other.id) and _equal(one.ood, other.ood):
        return dict.fromkeys(ours, SAME)
    sides = (one, curve(one.id, one.ood)), (other, curve(other.id, other.ood))
    result = {}
    for name in ours:
        first, second = (_value(name, points, side, convention) for side, points in sides)
        bounds = ours[name](sides[0][1]), theirs[name](sides[1][1])
        lows = [
            _Side.of(*side, value, bound.low) for side, value, bound in zip(sides, (first, second), bounds, strict=True)
        ]
        highs = [
            _Side.of(*side, value, bound.high)
            for side, value, bound in zip(sides, (first, second), bounds, strict=True)
        ]
        value = first - second
        low, high = value - _distance(lows[0], highs[1]), value + _distance(highs[0], lows[1])
        result[name] = Difference(value, max(low, -1.0), min(high, 1.0))
    return result


def accuracy_difference(one: npt.NDArray[np.bool_], other: npt.NDArray[np.bool_]) -> Difference:
    """The accuracy of one detector's network less that of another's, from the images (N,) that each has right."""
    if np.array_equal(one, other):
        return SAME
    lows, highs = zip(*(share_interval(int(right.sum()), len(right)) for right in (one, other)), strict=True)
    values = float(one.mean()), float(other.mean())
    # As if one more image had been seen, which only one of them has right.
    down = _joint_margin(
        values[0] - lows[0], highs[1] - values[1], _correlation(np.append(one, False), np.append(other, True))
    )
    up = _joint_margin(
        highs[0] - values[0], values[1] - lows[1], _correlation(np.append(one, True), np.append(other, False))
    )
    value = values[0] - values[1]
    return Difference(value, max(value - down, -1.0), min(value + up, 1.0))


def _equal(one: Floats, other: Floats) -> bool:
    return bool(np.array_equal(one, other))


def _value(name: str, points: Curve, side: Detection, convention: str) -> float:
    if name == "fpr95" and side.operating_point is not None:
        return fpr_at(points, side.operating_point)
    return float(CONVENTIONS[convention][name](points))


@dataclass(frozen=True)
class _Side:
    """One detector at an end of its interval: the influence of each image there, the imagined image last."""

    margin: float
    variance: float
    id: Floats
    ood: Floats

    @classmethod
    def of(cls, detection: Detection, points: Curve, value: float, bound: Bound) -> "_Side":
        influence = bound.influence
        return cls(
            abs(bound.value - value),
            influence.variance,
            _effects_of_images(points.thresholds, detection.id, influence.id, bound.weighed.id_extra),
            _effects_of_images(points.thresholds, detection.ood, influence.ood, bound.weighed.ood_extra),
        )


def _effects_of_images(thresholds: Floats, scores: Floats, effects: Floats, extra: int) -> Floats:
    """The effects of images (N + 1,), from the effects of groups of equal scores."""
    return np.append(effects[np.searchsorted(thresholds, scores) + 1], effects[extra])


def _distance(one: _Side, other: _Side) -> float:
    """The distance of the difference from its measured value, where the two values are at opposite ends."""
    if not (one.margin and other.margin):
        return one.margin + other.margin
    parts = [
        np.array([_covariance(first, first), _covariance(second, second), _covariance(first, second)])
        / (len(first) + 1)
        for first, second in ((one.id, other.id), (one.ood, other.ood))
    ]
    ours, theirs, both = parts[0] + parts[1]
    # The rest of a variance, such as the jump of a threshold from tie to tie, is not shared.
    ours, theirs = max(ours, one.variance), max(theirs, other.variance)
    return _joint_margin(
        one.margin, other.margin, float(both / np.sqrt(ours * theirs)) if ours > 0 and theirs > 0 else 0.0
    )


def _joint_margin(one: float, other: float, correlation: float) -> float:
    return float(np.sqrt(max(one * one + other * other - 2 * correlation * one * other, 0.0)))


def _correlation(one: npt.NDArray[np.bool_], other: npt.NDArray[np.bool_]) -> float:
    first, second = one.astype(np.float64), other.astype(np.float64)
    spread = _covariance(first, first) * _covariance(second, second)
    return _covariance(first, second) / spread**0.5 if spread > 0 else 0.0


def _covariance(one: Floats, other: Floats) -> float:
    return float(np.mean((one - one.mean()) * (other - other.mean())))
