"""Two detectors on the same images: the difference of each metric, with a 95 % interval.

Both detectors meet the same easy and the same hard images, so a difference is known better than either value. The
interval is put together from those of the two values and from how far their errors go together (Zou and Donner 2008,
"MOVER"; Newcombe 1998, method 10, for shares): how far is counted image by image, from what each one does to both
values (for an AUROC: DeLong et al. 1988).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from oodbench.basics.errors import OodbenchError
from oodbench.metrics import CONVENTIONS, Curve, Floats, curve, fpr_at
from oodbench.statistics.intervals import Bound, methods, share


@dataclass(frozen=True)
class Detection:
    """What one detector says of ID and OOD images.

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
    """A metric of one detector less that of another.

    Attributes:
        value: of the images at hand, in [-1, 1].
        low: lower end of the 95 % interval.
        high: upper end; equal to `low` only where both detectors give the same scores.
    """

    value: float
    low: float
    high: float


SAME = Difference(0.0, 0.0, 0.0)
"""Of a detector and itself."""


def differences(one: Detection, other: Detection, convention: str = "default") -> dict[str, Difference]:
    """Every metric of `one` less that of `other`, whose images are the same, in the same order.

    Raises:
        OodbenchError: numbers of images differ, an unknown convention, or scores that `oodbench.metrics.curve` refuses.
    """
    ours, theirs = methods(convention, one.operating_point), methods(convention, other.operating_point)
    if (len(one.id), len(one.ood)) != (len(other.id), len(other.ood)):
        raise OodbenchError(
            f"{len(one.id)} ID and {len(one.ood)} OOD images against {len(other.id)} and {len(other.ood)}: a paired "
            "difference needs the same images for both detectors"
        )
    if one.operating_point == other.operating_point and _equal(one.id, other.id) and _equal(one.ood, other.ood):
        return dict.fromkeys(ours, SAME)
    sides = (one, curve(one.id, one.ood)), (other, curve(other.id, other.ood))
    found = {}
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
        low, high = value - _apart(lows[0], highs[1]), value + _apart(highs[0], lows[1])
        found[name] = Difference(value, max(low, -1.0), min(high, 1.0))
    return found


def of_accuracy(one: npt.NDArray[np.bool_], other: npt.NDArray[np.bool_]) -> Difference:
    """The accuracy of one detector's network less that of another's, from whether each has the images (N,) right."""
    if np.array_equal(one, other):
        return SAME
    lows, highs = zip(*(share(int(right.sum()), len(right)) for right in (one, other)), strict=True)
    values = float(one.mean()), float(other.mean())
    # One image more, which only one of them has right.
    down = _joint(
        values[0] - lows[0], highs[1] - values[1], _correlation(np.append(one, False), np.append(other, True))
    )
    up = _joint(highs[0] - values[0], values[1] - lows[1], _correlation(np.append(one, True), np.append(other, False)))
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
    """One detector, an end of its interval, and what each image does there, the imagined one last."""

    margin: float
    variance: float
    id: Floats
    ood: Floats

    @classmethod
    def of(cls, detection: Detection, points: Curve, value: float, bound: Bound) -> "_Side":
        at = bound.influence
        return cls(
            abs(bound.value - value),
            at.variance,
            _each(points.thresholds, detection.id, at.id, bound.weighed.id_extra),
            _each(points.thresholds, detection.ood, at.ood, bound.weighed.ood_extra),
        )


def _each(thresholds: Floats, scores: Floats, effects: Floats, extra: int) -> Floats:
    """Effects of images (N + 1,), from those of groups of equal scores."""
    return np.append(effects[np.searchsorted(thresholds, scores) + 1], effects[extra])


def _apart(one: _Side, other: _Side) -> float:
    """How far the difference may lie from what was measured, where one is at its end and the other at the opposite."""
    if not (one.margin and other.margin):
        return one.margin + other.margin
    parts = [
        np.array([_covariance(first, first), _covariance(second, second), _covariance(first, second)])
        / (len(first) + 1)
        for first, second in ((one.id, other.id), (one.ood, other.ood))
    ]
    ours, theirs, both = parts[0] + parts[1]
    # What a variance has beyond these, such as the jump of a threshold from tie to tie, is not shared.
    ours, theirs = max(ours, one.variance), max(theirs, other.variance)
    return _joint(one.margin, other.margin, float(both / np.sqrt(ours * theirs)) if ours > 0 and theirs > 0 else 0.0)


def _joint(one: float, other: float, correlation: float) -> float:
    return float(np.sqrt(max(one * one + other * other - 2 * correlation * one * other, 0.0)))


def _correlation(one: npt.NDArray[np.bool_], other: npt.NDArray[np.bool_]) -> float:
    first, second = one.astype(np.float64), other.astype(np.float64)
    spread = _covariance(first, first) * _covariance(second, second)
    return _covariance(first, second) / spread**0.5 if spread > 0 else 0.0


def _covariance(one: Floats, other: Floats) -> float:
    return float(np.mean((one - one.mean()) * (other - other.mean())))
