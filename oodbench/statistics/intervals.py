"""95 % intervals over images for every metric, in closed form: no random numbers, and never of zero width.

An interval is for the value that endless images of the same two kinds would give, in the same proportion of ID to OOD.
How often it holds that value is counted by `python -m studies.coverage`.

Shares at a fixed threshold are binomial and have Clopper and Pearson's interval. The threshold of a FPR@95 is estimated
itself: how many ID images lie below the true one is binomial, so the interval is that of a mixture over thresholds.
Areas and detection errors have a linearised variance, and the ends of a beta distribution, see
`oodbench.statistics.influence`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from math import nan

import numpy as np
import numpy.typing as npt
from scipy.special import betainc, betaincinv, gammaln, xlog1py, xlogy

from oodbench import metrics
from oodbench.basics.arrays import Floats
from oodbench.basics.errors import unknown
from oodbench.metrics import CleanThreshold, Counts, Curve, Metric, curve
from oodbench.statistics import influence
from oodbench.statistics.influence import End, Influence, Weighed

TAIL = 0.025
"""Probability beyond each end of an interval."""

TIED_TAIL = TAIL / 2
"""The same where ID scores tie near a threshold. The threshold then is one of a few scores far apart: taking a wrong
one and erring at the right one are two ways to miss. A mean of p-values is wrong at most twice as often as it says
(Vovk and Wang 2020, arXiv:1212.4966)."""

REJECTED = 0.05
"""The share of ID images below the threshold of a FPR@95."""

NODES = 64
"""The most thresholds over which a mixture is taken."""

HALVINGS = 30
"""Bisections of the range in which the end of a mixture lies."""

ZERO_VARIANCE = 1e-20
"""Variances up to this are rounding errors of zero."""

END_DEVIATIONS = 1.96
"""Approximate standard deviations from the middle to an end."""


@dataclass(frozen=True)
class Bound:
    """One end of an interval, and the influence of each image on the metric there.

    Attributes:
        value: of the end, a fraction in [0, 1].
        weighed: the images, with an imagined one of each side.
        influence: of the images.
    """

    value: float
    weighed: Weighed
    influence: Influence


@dataclass(frozen=True)
class Interval:
    """Both ends of an interval."""

    low: Bound
    high: Bound

    def holding(self, value: float) -> "Interval":
        """The interval, extended where it does not contain `value`."""
        low, high = min(self.low.value, value), max(self.high.value, value)
        return Interval(replace(self.low, value=low), replace(self.high, value=high))


Method = Callable[[Curve], Interval]


def intervals(
    id_scores: npt.ArrayLike,
    ood_scores: npt.ArrayLike,
    convention: str = "default",
    operating_point: float | None = None,
) -> dict[str, tuple[float, float]]:
    """A 95 % interval (low, high) for every metric, for scores of images that were drawn independently.

    Args:
        id_scores: (N,).
        ood_scores: (M,).
        convention: one of `oodbench.metrics.CONVENTIONS`.
        operating_point: score above which `fpr95` accepts an image, where a paper fixes it.

    Raises:
        OodbenchError: an unknown convention, or scores that `oodbench.metrics.curve` refuses.
    """
    found = interval_methods(convention, operating_point)
    points = curve(id_scores, ood_scores)
    ends = {name: method(points) for name, method in found.items()}
    return {name: (interval.low.value, interval.high.value) for name, interval in ends.items()}


def at_clean_threshold(given: CleanThreshold) -> dict[str, tuple[float, float]]:
    """A 95 % interval (low, high) for each value of `oodbench.metrics.at_clean_threshold`, which see.

    The attacked ID images set the threshold while they were clean. An image that scores high then tends to score high
    when attacked, which makes the share that is rejected vary less than is allowed for here.
    """
    method = interval_methods(given.convention, given.operating_point)["fpr95"]
    accepted, kept = (method(curve(given.clean_id, scores)) for scores in (given.ood_scores, given.attacked_id))
    return {
        "fpr95_clean": (accepted.low.value, accepted.high.value),
        "fnr_clean": (1 - kept.high.value, 1 - kept.low.value),
    }


def share_interval(count: int, total: int) -> tuple[float, float]:
    """A 95 % interval (low, high) for a share, where `count` of `total` were seen (Clopper and Pearson 1934)."""
    return _beta(count, total - count + 1, TAIL), _beta(count + 1, total - count, 1 - TAIL)


def accuracy_interval(predictions: npt.NDArray[np.int64], labels: npt.NDArray[np.int64]) -> tuple[float, float]:
    """A 95 % interval (low, high) for `oodbench.metrics.accuracy`; NaN where that is."""
    right = metrics.right_predictions(predictions, labels)
    return share_interval(int(right.sum()), len(right)) if len(right) else (nan, nan)


def interval_methods(convention: str, operating_point: float | None = None) -> dict[str, Method]:
    """The functions that give the interval of each metric, which contains the measured value; see `intervals`.

    Raises:
        OodbenchError: an unknown convention.
    """
    if convention not in METHODS:
        raise unknown("convention", convention, METHODS)
    functions: dict[str, Method] = {
        name: partial(_containing, method, metrics.CONVENTIONS[convention][name])
        for name, method in METHODS[convention].items()
    }
    if operating_point is not None:  # the interval is exact, of another value than the convention's FPR@95
        functions["fpr95"] = partial(_at_operating_point, operating_point=operating_point)
    return functions


def _containing(method: Method, metric: Metric, points: Curve) -> Interval:
    return method(points).holding(float(metric(points)))


def _at_operating_point(points: Curve, operating_point: float) -> Interval:
    """The interval of the share of OOD above a fixed threshold."""
    position = int(np.searchsorted(points.thresholds, operating_point, side="right"))
    low, high = share_interval(int(points.n_ood - points.ood_below[position]), points.n_ood)
    first = (position + 1,) * 3
    return Interval(_rate(points, "better", first, 1.0, low), _rate(points, "worse", first, 1.0, high))


def _fpr95(points: Curve, strict: bool) -> Interval:
    """The interval of the share of OOD accepted where 95 % of ID are kept; if `strict`, only above the threshold.

    With R ID images below the true threshold, it lies between those of ranks R and R + 1. R is binomial whatever the
    scores are and, for a known threshold, so is the number of OOD images accepted.
    """
    ranks, chances = _ranks(points.n_id)
    spread = max(1, round(np.sqrt(points.n_id * REJECTED * (1 - REJECTED))))
    middle = round(REJECTED * points.n_id)
    around = np.array([middle - spread, middle + 1, middle + spread + 1])
    below, at, above = (int(group) for group in _first(points, around, strict))
    span = (2 * spread + 1) / (points.n_id + 1)

    within = np.clip(ranks, 1, points.n_id)
    tied = len(np.unique(_first(points, within, strict))) < len(np.unique(within))
    beyond = TIED_TAIL if tied else TAIL

    def bound(end: End, beside: int) -> Bound:
        counts = _accepted(points, _first(points, ranks + beside, strict))
        return _rate(points, end, (below, at, above), span, _mixed(counts, points.n_ood, chances, end, beyond))

    return Interval(bound("better", 1), bound("worse", 0))


def _fpr95_oodpos(points: Curve) -> Interval:
    """The interval of `_fpr95` with signs and sides exchanged."""
    exchanged = Curve(
        -points.thresholds[::-1],
        points.ood_below[-1] - points.ood_below[::-1],
        points.id_below[-1] - points.id_below[::-1],
    )
    interval = _fpr95(exchanged, strict=False)

    def back(bound: Bound, end: End) -> Bound:
        near = bound.influence
        restored = Influence(near.value, near.ood[::-1], near.id[::-1], near.variance)
        return Bound(bound.value, influence.weigh_beyond(points, end), restored)

    return Interval(back(interval.low, "better"), back(interval.high, "worse"))


Area = Callable[[Weighed, End], Influence]


def _area(points: Curve, weighed: Callable[[Curve, End], Weighed], area: Area) -> Interval:
    """The interval of an area, from the images that `weighed` gives for each end."""

    def bound(end: End, tail: float) -> Bound:
        images = weighed(points, end)
        return _matched_beta(images, area(images, end), tail)

    return Interval(bound("worse", TAIL), bound("better", 1 - TAIL))


def _auroc(points: Curve) -> Interval:
    return _area(points, influence.weigh_beyond, lambda weighed, _: influence.auroc(weighed))


AreaUnderPrecision = Callable[[Weighed, float | None, End], Influence]


def _average_precision(points: Curve, area: AreaUnderPrecision) -> Interval:
    return _area(points, influence.weigh_beyond, lambda weighed, end: area(weighed, None, end))


def _trapezoid(points: Curve, area: AreaUnderPrecision, corner: float) -> Interval:
    return _area(points, influence.weigh_joined, lambda weighed, end: area(weighed, corner, end))


def _detection_error(points: Curve, by_count: bool) -> Interval:
    """The interval of the least error over thresholds. The least error seen is too low: the threshold fits the images.

    The true error is that of some threshold, and at most that of any. So the interval reaches from the lowest to the
    highest end over all thresholds that could be best.
    """
    id_weight = points.n_id / (points.n_id + points.n_ood) if by_count else 0.5

    def bound(end: End, tail: float, choose: Callable[[Floats, Floats], int]) -> Bound:
        weighed = influence.weigh_beyond(points, end)
        matched = _matched_beta(weighed, influence.detection_error(weighed, id_weight, choose), tail)
        return replace(matched, value=min(matched.value, id_weight, 1 - id_weight))  # all rejected, or none

    return Interval(
        bound("better", TAIL, lambda errors, variances: int((errors - END_DEVIATIONS * np.sqrt(variances)).argmin())),
        bound(
            "worse", 1 - TAIL, lambda errors, variances: int((errors + END_DEVIATIONS * np.sqrt(variances)).argmax())
        ),
    )


METHODS: Mapping[str, Mapping[str, Method]] = {
    "default": {
        "fpr95": partial(_fpr95, strict=False),
        "fpr95_oodpos": _fpr95_oodpos,
        "auroc": _auroc,
        "aupr_in": partial(_average_precision, area=influence.aupr_in),
        "aupr_out": partial(_average_precision, area=influence.aupr_out),
        "detection_error": partial(_detection_error, by_count=False),
    },
    "published": {
        "fpr95": partial(_fpr95, strict=True),
        "fpr95_oodpos": _fpr95_oodpos,
        "auroc": _auroc,
        "aupr_in": partial(_trapezoid, area=influence.aupr_in, corner=0.0),
        "aupr_out": partial(_trapezoid, area=influence.aupr_out, corner=0.0),
        "detection_error": partial(_detection_error, by_count=True),
    },
    "openood": {
        "fpr95_oodpos": _fpr95_oodpos,
        "fpr95": partial(_fpr95, strict=False),
        "auroc": _auroc,
        "aupr_in": partial(_trapezoid, area=influence.aupr_in, corner=1.0),
        "aupr_out": partial(_trapezoid, area=influence.aupr_out, corner=1.0),
        "detection_error": partial(_detection_error, by_count=False),
    },
}
"""The interval of each metric of `oodbench.metrics.CONVENTIONS`."""


def _matched_beta(weighed: Weighed, near: Influence, tail: float) -> Bound:
    """The end of a beta distribution of the mean and variance that a metric has under Dirichlet weights."""
    mean, variance = min(max(near.value, 0.0), 1.0), near.variance
    total = mean * (1 - mean) / variance - 1 if variance > ZERO_VARIANCE else 0.0
    value = _beta(mean * total, (1 - mean) * total, tail) if total > 0 else mean
    return Bound(value, weighed, near)


def _rate(points: Curve, end: End, first: tuple[int, int, int], span: float, value: float) -> Bound:
    weighed = influence.weigh_beyond(points, end)
    near = influence.accepted(weighed, first, span)
    # Where a threshold jumps from tie to tie the end lies further away than slopes predict.
    variance = max(near.variance, ((value - near.value) / END_DEVIATIONS) ** 2)
    return Bound(value, weighed, replace(near, variance=variance))


def _first(points: Curve, ranks: Counts, strict: bool) -> Counts:
    """The first accepted group of `influence.Weighed`, with the ID image of each rank from 1 on for a threshold."""
    groups = np.searchsorted(points.id_below[1:], ranks, side="left") + 1 + strict
    return np.where(ranks < 1, 0, np.where(ranks > points.n_id, len(points.thresholds) + 2, groups))


def _accepted(points: Curve, first: Counts) -> Counts:
    """The number of OOD images from each group on."""
    return points.n_ood - points.ood_below[np.clip(first - 1, 0, len(points.thresholds))]


@lru_cache(maxsize=64)
def _ranks(total: int) -> tuple[Counts, Floats]:
    """The numbers of `total` images that may lie below the true threshold, and the probability of each number."""
    middle, spread = REJECTED * total, np.sqrt(total * REJECTED * (1 - REJECTED))
    ranks = np.arange(max(0, int(middle - 6 * spread - 1)), min(total, int(middle + 6 * spread + 6)) + 1)
    ways = gammaln(total + 1) - gammaln(ranks + 1) - gammaln(total - ranks + 1)
    chances = np.exp(ways + xlogy(ranks, REJECTED) + xlog1py(total - ranks, -REJECTED))
    return ranks, chances / chances.sum()


def _mixed(counts: Counts, total: int, chances: Floats, end: End, beyond: float) -> float:
    """The lower or upper end for a share, where `counts` of `total` images were seen with probabilities `chances`.

    `beyond` is the probability beyond this end.
    """
    different, of = np.unique(counts, return_inverse=True)
    distinct, weights = different.astype(np.float64), np.bincount(of, chances)
    if len(distinct) > NODES:  # in equal steps of probability
        node = np.minimum((np.cumsum(weights) - weights / 2) * NODES, NODES - 1).astype(np.int64)
        held = np.bincount(node, weights, NODES)
        distinct, weights = np.bincount(node, weights * distinct, NODES)[held > 0] / held[held > 0], held[held > 0]
    extra, tail = (0, beyond) if end == "better" else (1, 1 - beyond)
    first, second = distinct + extra, total - distinct + 1 - extra
    low, high = _beta(first[0], second[0], tail), _beta(first[-1], second[-1], tail)
    inner = (first > 0) & (second > 0)
    at_zero, a, b, inner_weights = weights[first <= 0].sum(), first[inner], second[inner], weights[inner]
    for _ in range(HALVINGS if low < high else 0):
        middle = (low + high) / 2
        below = at_zero + inner_weights @ betainc(a, b, middle)
        low, high = (middle, high) if below < tail else (low, middle)
    return low if end == "better" else high


def _beta(first: float, second: float, tail: float) -> float:
    """The quantile of a beta distribution, which lies at 0 or 1 altogether where a parameter is zero."""
    if first <= 0 or second <= 0:
        return float(first > 0)
    return float(betaincinv(first, second, tail))
