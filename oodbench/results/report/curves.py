"""ROC curves and histograms in the few numbers that a chart needs."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from oodbench.basics.arrays import Floats
from oodbench.metrics import Curve

TOLERANCE = 0.002
"""The share of the axis by which a thinned ROC curve may miss a point: less than a pixel on 400 of them."""

BINS = 40

TAIL = 0.005
"""Share of the scores at either end that the axis of a histogram leaves out; the outermost bars hold them."""

REACH = 4
"""The most that the axis goes beyond the ID scores, in widths of what they cover: OOD scores may lie a thousand times
as far apart, and all of ID would be one bar."""


@dataclass(frozen=True)
class Roc:
    """Corners of a ROC curve from (1, 1) down to (0, 0).

    Attributes:
        accepted: share of OOD images accepted, on the horizontal axis.
        kept: share of ID images kept, at the same thresholds.
    """

    accepted: list[float]
    kept: list[float]


@dataclass(frozen=True)
class Histogram:
    """Scores in `BINS` bars of one width between `low` and `high`; what lies beyond is counted in the outermost ones.

    Attributes:
        low: of the axis.
        high: of the axis.
        counts: images in each bar, by series.
    """

    low: float
    high: float
    counts: Mapping[str, list[int]]


def roc(points: Curve) -> Roc:
    """The curve, thinned: no dropped corner is further than `TOLERANCE` from the line through those that stay."""
    accepted = (points.n_ood - points.ood_below) / points.n_ood
    kept = (points.n_id - points.id_below) / points.n_id
    stay = thin_line(accepted, kept)
    return Roc(accepted[stay].tolist(), kept[stay].tolist())


def thin_line(x: Floats, y: Floats) -> npt.NDArray[np.int64]:
    """Indices of the points of a line (N,) that are enough to draw it (Ramer 1972; Douglas and Peucker 1973)."""
    stay = {0, len(x) - 1}
    open_ = [(0, len(x) - 1)]
    while open_:
        first, last = open_.pop()
        if last - first < 2:
            continue
        between = slice(first + 1, last)
        off = _distances(x[between], y[between], (x[first], y[first]), (x[last], y[last]))
        if off.max() > TOLERANCE:
            furthest = first + 1 + int(off.argmax())
            stay.add(furthest)
            open_ += [(first, furthest), (furthest, last)]
    return np.array(sorted(stay))


def _distances(x: Floats, y: Floats, start: tuple[float, float], end: tuple[float, float]) -> Floats:
    """The distances of points (N,) to the line between two others, or to its start where both ends are the same."""
    right, up = end[0] - start[0], end[1] - start[1]
    length = float(np.hypot(right, up))
    if not length:
        return np.asarray(np.hypot(x - start[0], y - start[1]))
    return np.asarray(np.abs(right * (y - start[1]) - up * (x - start[0])) / length)


def histogram(series: Mapping[str, Floats]) -> Histogram:
    """Scores (N,) by series, one of which is "id", all in the same bars."""
    low, high = _ends(np.concatenate(list(series.values())))
    id_low, id_high = _ends(series["id"])
    if reach := REACH * (id_high - id_low):
        low, high = max(low, id_low - reach), min(high, id_high + reach)
    if high - low <= 1e-9 * max(abs(low), abs(high)):  # bars that thin have no width in float64
        low, high = low - max(0.5, abs(low)), high + max(0.5, abs(high))
    counts = {
        name: np.histogram(np.clip(scores, low, high), BINS, (low, high))[0].tolist() for name, scores in series.items()
    }
    return Histogram(low, high, counts)


def _ends(scores: Floats) -> tuple[float, float]:
    low, high = np.quantile(scores, [TAIL, 1 - TAIL])
    return float(low), float(high)
