"""Operating points of a row: a threshold with a promise, and what it delivers, clean and attacked."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from oodbench.basics.errors import OodbenchError
from oodbench.results.report.model import OperatingPoint, Value
from oodbench.results.store import Scores
from oodbench.results.tables.operating import delivered
from oodbench.statistics.intervals import share

KEPT = (0.95, 0.99)
"""Shares of ID images that are promised."""


def operating(groups: Sequence[Scores], views: Mapping[str, Sequence[str]]) -> list[OperatingPoint]:
    """What each promise comes to; a promise that the ID images are too few for says so.

    Args:
        groups: of one cell, none of them stale.
        views: OOD sets by what values are averaged over.
    """
    return [_point(groups, views, keep) for keep in KEPT]


def _point(groups: Sequence[Scores], views: Mapping[str, Sequence[str]], keep: float) -> OperatingPoint:
    try:
        frame = pd.DataFrame(delivered(groups, keep))
    except OodbenchError as error:
        return OperatingPoint(keep, note=str(error))
    if frame.empty:
        return OperatingPoint(keep, note="no ID image has a score")
    attacked = {group.task for group in groups if group.role == "id"}
    by_task = {str(task): part for task, part in frame.groupby("task", sort=False)}
    rejected = {task: _rejected(part) for task, part in by_task.items()}
    return OperatingPoint(
        keep,
        float(frame["threshold"].iloc[0]),
        int(frame["n_chosen_on"].iloc[0]),
        next((found for task, found in rejected.items() if task not in attacked), None),
        {task: found for task, found in rejected.items() if task in attacked},
        {task: {view: _caught(part, set(sets)) for view, sets in views.items()} for task, part in by_task.items()},
    )


def _rejected(part: pd.DataFrame) -> Value:
    first = part.iloc[0]
    count = int(first["n_id"])
    low, high = share(round(float(first["id_rejected"]) * count), count)
    return Value(float(first["id_rejected"]), low, high)


def _caught(part: pd.DataFrame, sets: set[str]) -> Value | None:
    """Share of OOD images that are rejected, unweighted over `sets`; None where one of them is missing."""
    chosen = part[part["ood"].isin(sets)]
    return Value(float(1 - np.mean(chosen["ood_accepted"]))) if set(chosen["ood"]) == sets else None
