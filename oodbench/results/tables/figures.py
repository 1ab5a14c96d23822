"""The columns for ID scores against OOD scores under one task: figures, intervals, flags and their effects."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from oodbench.basics.arrays import Floats
from oodbench.metrics import CleanThreshold, at_clean_threshold, curve, evaluate, fpr_at
from oodbench.results.tables import flags
from oodbench.statistics import honesty, severity
from oodbench.statistics.intervals import at_clean_threshold as at_clean_intervals
from oodbench.statistics.intervals import intervals as all_intervals

UNBOUNDED = (float("nan"), float("nan"))
"""The ends of an interval that nobody asked for."""


@dataclass(frozen=True)
class Side:
    """ID images or OOD images under one task.

    Attributes:
        scores: (N,), as the convention has them.
        extras: what the task left about each image.
        attributes: of the group; "check_NAME" was measured.
        attacked: these images were.
        continued: scores that some images reached when they were climbed on with, (N,), not a number for the others,
            as the convention has them; None for none.
        unrounded: the scores that `continued` is to be held against, if those are not `scores`.
    """

    scores: Floats
    extras: Mapping[str, Any]
    attributes: Mapping[str, Any]
    attacked: bool = True
    continued: Floats | None = None
    unrounded: Floats | None = None


def attack_columns(id_side: Side, ood_side: Side) -> dict[str, Any]:
    """The columns `OF_ATTACK`, one for each flag, and `effects`, of an OOD set under one task."""
    points = curve(id_side.scores, ood_side.scores)
    of_id, of_ood = (honesty.measure_flags(points, side.extras, side.attributes) for side in (id_side, ood_side))
    columns: dict[str, Any] = honesty.larger_of(of_ood, of_id)
    columns["unconverged"] = honesty.unconverged(
        id_side.scores if id_side.unrounded is None else id_side.unrounded,
        ood_side.scores if ood_side.unrounded is None else ood_side.unrounded,
        id_continued=id_side.continued,
        ood_continued=ood_side.continued,
    )
    extras = id_side.extras if id_side.attacked else {}, ood_side.extras
    id_share, ood_share = (measured["outguessed"] for measured in (of_id, of_ood))
    columns["effects"] = flags.effects_json(
        severity.flag_effects(id_side.scores, ood_side.scores, columns, *extras, (id_share, ood_share))
    )
    retired = float(np.mean(ood_side.extras["retired"])) if "retired" in ood_side.extras else float("nan")
    columns["retired"] = retired
    columns["hidden"] = retired * (1 - float(ood_side.attributes.get("stops_at", 1.0)))
    columns["looks"] = float(ood_side.attributes.get("looks", 0)) / len(ood_side.scores)
    return columns


def metric_rows(
    id_side: Side,
    ood_side: Side,
    clean_id: Floats,
    convention: str,
    operating_point: float | None,
    intervals: bool,
) -> Iterator[dict[str, Any]]:
    """The columns metric, value, low and high, a row each.

    Args:
        id_side: ID images.
        ood_side: OOD images.
        clean_id: scores of the ID images without an attack; more is said where they were attacked.
        convention: of the metrics.
        operating_point: a fixed threshold, where a paper has one.
        intervals: are wanted.
    """
    scores = id_side.scores, ood_side.scores
    values = evaluate(*scores, convention)
    if operating_point is not None:
        values["fpr95"] = fpr_at(curve(*scores), operating_point)
    bounds = all_intervals(*scores, convention, operating_point) if intervals else {}
    if id_side.attacked:
        given = CleanThreshold(clean_id, *scores, convention, operating_point)
        values |= at_clean_threshold(given)
        bounds |= at_clean_intervals(given) if intervals else {}
    for metric, value in values.items():
        low, high = bounds.get(metric, UNBOUNDED)
        yield {"metric": metric, "value": value, "low": low, "high": high}
