"""The influence of single images on a metric: its value and gradient where every image has a weight.

Both of an interval's ends are taken where one more image of each side has been seen, and it was as bad, or as good, as
an image can be. For a plain share that gives the Clopper-Pearson interval; for other means of bounded numbers it is
what Gaffke 2005 proposes (arXiv:1905.06208 looks at it closely). An end is therefore never where nothing can change.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from oodbench.basics.arrays import Floats
from oodbench.metrics import Curve

End = Literal["worse", "better"]


@dataclass(frozen=True)
class Weighed:
    """Images of both sides by ascending score, with shares for weights, and with one imagined image of each side.

    Attributes:
        id: (G,) share of ID images in each of the G groups of equal scores, sum 1. The first group lies below all
            scores, the last above.
        ood: the same for OOD images.
        n_id: number of ID images, without the imagined one.
        n_ood: number of OOD images, likewise.
        id_extra: group of the imagined ID image.
        ood_extra: group of the imagined OOD image.
    """

    id: Floats
    ood: Floats
    n_id: int
    n_ood: int
    id_extra: int
    ood_extra: int

    @property
    def id_part(self) -> float:
        """The share of ID images among all images that were seen."""
        return self.n_id / (self.n_id + self.n_ood)


@dataclass(frozen=True)
class Influence:
    """The value of a metric for weighed images, and its derivatives.

    Attributes:
        value: of the metric.
        id: (G,) derivative by the share of ID images in each group, up to a constant.
        ood: the same for OOD images.
        variance: of the metric under Dirichlet weights of the images, to first order.
    """

    value: float
    id: Floats
    ood: Floats
    variance: float

    @classmethod
    def of(cls, weighed: Weighed, value: float, by_id: Floats, by_ood: Floats) -> "Influence":
        """The influence, with the variance that the derivatives give."""
        variance = _variance(weighed.id, by_id) / (weighed.n_id + 2)
        return cls(value, by_id, by_ood, variance + _variance(weighed.ood, by_ood) / (weighed.n_ood + 2))


def weigh_beyond(points: Curve, end: End) -> Weighed:
    """Weigh images, with imagined ones beyond all scores: at the worse end ID below and OOD above, else vice versa."""
    return _weighed(points, end, 0, len(points.thresholds) + 1)


def weigh_joined(points: Curve, end: End) -> Weighed:
    """Weigh images as `weigh_beyond`, but where several share the lowest or highest score, put the imagined one there.

    A trapezoid area that begins with many images of one score depends on whether a single image lies before these; in
    the data none does.
    """
    if len(points.thresholds) == 1:
        return weigh_beyond(points, end)
    sizes = np.diff(points.id_below) + np.diff(points.ood_below)
    lowest, highest = 1 if sizes[0] > 1 else 0, len(sizes) + (0 if sizes[-1] > 1 else 1)
    return _weighed(points, end, lowest, highest)


def auroc(weighed: Weighed) -> Influence:
    """The influence on `oodbench.metrics.auroc`: derivatives are the placements of DeLong et al. 1988."""
    by_id = np.cumsum(weighed.ood) - weighed.ood / 2
    by_ood = 1 - np.cumsum(weighed.id) + weighed.id / 2
    return Influence.of(weighed, float(weighed.id @ by_id), by_id, by_ood)


def aupr_in(weighed: Weighed, corner: float | None, end: End) -> Influence:
    """The influence on an area under precision over recall with ID positive.

    Args:
        weighed: the images.
        corner: precision where nothing is recalled, for a trapezoid area; None for average precision.
        end: of the interval. An area of steps differs from that of endless images by up to its steps, so at the worse
            end it is lowered by as much.
    """
    sides = weighed.id[::-1], weighed.ood[::-1]
    value, by_id, by_ood = _area(*sides, weighed.id_part, weighed.n_id, corner, end)
    return Influence.of(weighed, value, by_id[::-1], by_ood[::-1])


def aupr_out(weighed: Weighed, corner: float | None, end: End) -> Influence:
    """The influence on an area under precision over recall with OOD positive; see `aupr_in`."""
    value, by_ood, by_id = _area(weighed.ood, weighed.id, 1 - weighed.id_part, weighed.n_ood, corner, end)
    return Influence.of(weighed, value, by_id, by_ood)


def detection_error(weighed: Weighed, id_weight: float, choose: Callable[[Floats, Floats], int]) -> Influence:
    """The influence on the share of images on the wrong side of a threshold.

    Args:
        weighed: the images.
        id_weight: of ID images in the error, OOD images have the rest.
        choose: chooses among all (G + 1) thresholds, from the errors there and their variances.
    """
    rejected = np.append(0.0, _sums(weighed.id, weighed.n_id + 1))
    accepted = 1 - np.append(0.0, _sums(weighed.ood, weighed.n_ood + 1))
    errors = id_weight * rejected + (1 - id_weight) * accepted
    of_id = id_weight**2 / (weighed.n_id + 2)
    of_ood = (1 - id_weight) ** 2 / (weighed.n_ood + 2)
    variances = of_id * _binomial(rejected) + of_ood * _binomial(accepted)
    likely = _plausible_minima(errors, rejected, accepted, of_id, of_ood)
    at = int(likely[choose(errors[likely], variances[likely])])
    below = (np.arange(len(weighed.id)) < at).astype(np.float64)
    return Influence(float(errors[at]), id_weight * below, (1 - id_weight) * (1 - below), float(variances[at]))


def accepted(weighed: Weighed, first: tuple[int, int, int], span: float) -> Influence:
    """The influence on the share of OOD accepted at a threshold set by ID images; its derivative is a difference.

    Args:
        weighed: the images.
        first: the first group that is accepted a bit below the threshold, at it, and a bit above.
        span: share of ID images between below and above.
    """
    before, at, after = ((np.arange(len(weighed.id)) >= group).astype(np.float64) for group in first)
    slope = float(weighed.ood @ before - weighed.ood @ after) / span
    return Influence.of(weighed, float(weighed.ood @ at), slope * (1 - at), at)


def _weighed(points: Curve, end: End, lowest: int, highest: int) -> Weighed:
    id_extra, ood_extra = (lowest, highest) if end == "worse" else (highest, lowest)
    return Weighed(
        _shares(points.id_below, id_extra),
        _shares(points.ood_below, ood_extra),
        points.n_id,
        points.n_ood,
        id_extra,
        ood_extra,
    )


def _shares(below: npt.NDArray[np.int64], extra: int) -> Floats:
    counts = np.zeros(len(below) + 1)
    counts[1:-1] = np.diff(below)
    counts[extra] += 1
    shares: Floats = counts / counts.sum()
    return shares


def _sums(shares: Floats, images: int) -> Floats:
    """Cumulative shares, exactly 1 at the end."""
    sums: Floats = np.rint(np.cumsum(shares) * images) / images
    return sums


def _variance(shares: Floats, values: Floats) -> float:
    centred = values - shares @ values
    return float(shares @ (centred * centred))


def _binomial(share: Floats) -> Floats:
    return share * (1 - share)


def _area(
    positive: Floats, negative: Floats, part: float, images: int, corner: float | None, end: End
) -> tuple[float, Floats, Floats]:
    """The area under precision over recall, and its derivatives by both shares; the surest group comes first."""
    hits, misses = part * np.cumsum(positive), (1 - part) * np.cumsum(negative)
    some = hits + misses > 0
    called = np.where(some, hits + misses, 1.0)
    single = positive * (images + 1) < 1.5
    if corner is None:
        precision = direct = hits / called
        weight = positive
    else:
        # Where only a few images share the first score, others would lie before them among endless images.
        few = positive[some.argmax()] <= max(FEW, FEW_IMAGES / (images + 1))
        corner = {"worse": 0.0, "better": 1.0}[end] if few else corner
        precision = np.where(some, hits / called, corner)
        direct = (precision + np.append(corner, precision[:-1])) / 2
        weight = (positive + np.append(positive[1:], 0.0)) / 2
    value = float(positive @ direct)
    if corner is None and end == "worse":
        half = part * positive / 2
        value -= float((positive * single) @ (direct - (hits - half) / np.where(called > half, called - half, 1.0)))
    slope = np.where(some, weight / called / called, 0.0)
    by_positive = direct + _suffix_sums(part * slope * misses)
    by_negative = -_suffix_sums((1 - part) * slope * hits)
    return value, by_positive, by_negative


def _suffix_sums(values: Floats) -> Floats:
    return np.cumsum(values[::-1])[::-1]


FEW, FEW_IMAGES = 0.1, 10
"""Share and number of images of one score that may be the rare end of a population; more share a largest score."""

PLAUSIBLE_EXCESS = 1.0
"""Standard deviations by which the error at a threshold may exceed the least one and still be the least in truth."""


def _plausible_minima(
    errors: Floats, rejected: Floats, accepted: Floats, of_id: float, of_ood: float
) -> npt.NDArray[np.int64]:
    """The thresholds at which the true error could be least: those whose excess could be due to chance."""
    least = int(errors.argmin())
    excess = errors - errors[least]
    variances = of_id * _binomial(np.abs(rejected - rejected[least]))
    variances += of_ood * _binomial(np.abs(accepted - accepted[least]))
    return np.flatnonzero(excess <= PLAUSIBLE_EXCESS * np.sqrt(variances) + 1e-12)
