"""Operating points of a row: a threshold with a promise, and what it delivers, clean and attacked."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from oodbench.basics.errors import OodbenchError
from oodbench.results.report.model import OperatingPoint, Value
from oodbench.results.store import Scores
from oodbench.results.tables.operating import delivered_rows
from oodbench.statistics.intervals import share_interval

KEPT = (0.95, 0.99)
"""Shares of ID images that are promised."""


def row_operating_points(
    groups: Sequence[Scores], views: Mapping[str, Sequence[str]], refusal: str = ""
) -> list[OperatingPoint]:
    """The operating point of each promise; one for which there are too few ID images says so.

    Args:
        groups: of one cell, none of them stale.
        views: OOD sets by what values are averaged over.
        refusal: why its ID images can promise nothing; "" where they can.
    """
    if refusal:
        return [OperatingPoint(keep, note=refusal) for keep in KEPT]
    return [_operating_point(groups, views, keep) for keep in KEPT]


def _operating_point(groups: Sequence[Scores], views: Mapping[str, Sequence[str]], keep: float) -> OperatingPoint:
    try:
        frame = pd.DataFrame(delivered_rows(groups, keep))
    except OodbenchError as error:
        return OperatingPoint(keep, note=str(error))
    if frame.empty:
        return OperatingPoint(keep, note="no ID image has a score")
    attacked = {group.task for group in groups if group.role == "id"}
    by_task = {str(task): part for task, part in frame.groupby("task", sort=False)}
    rejected = {task: _rejected_share(part) for task, part in by_task.items()}
    return OperatingPoint(
        keep,
        float(frame["threshold"].iloc[0]),
        int(frame["n_chosen_on"].iloc[0]),
        next((share for task, share in rejected.items() if task not in attacked), None),
        {task: share for task, share in rejected.items() if task in attacked},
        {
            task: {view: _caught_share(part, set(sets)) for view, sets in views.items()}
            for task, part in by_task.items()
        },
    )


def _rejected_share(part: pd.DataFrame) -> Value:
    row = part.iloc[0]
    count = int(row["n_id"])
    low, high = share_interval(round(float(row["id_rejected"]) * count), count)
    return Value(float(row["id_rejected"]), low, high)


def _caught_share(part: pd.DataFrame, sets: set[str]) -> Value | None:
    """Share of OOD images that are rejected, unweighted over `sets`; None where one of them is missing."""
    chosen = part[part["ood"].isin(sets)]
    return Value(float(1 - np.mean(chosen["ood_accepted"]))) if set(chosen["ood"]) == sets else None
