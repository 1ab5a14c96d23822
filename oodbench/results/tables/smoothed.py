"""What must be said of smoothed scores in a table: that they are others, and what their guarantees are worth."""

import json
from collections.abc import Iterator
from typing import Any

import pandas as pd

from oodbench.basics.strict_dataclasses import DeclarationError, build
from oodbench.tasks import STORED
from oodbench.tasks.smoothed import Guaranteed, Smoothing


def about_smoothed(scores: pd.DataFrame) -> list[str]:
    """A sentence for each way in which scores were smoothed, and one for each guarantee that is none.

    Args:
        scores: rows of a tidy frame, those of accuracy left out.
    """
    said: dict[str, dict[str, None]] = {}
    for _, row in scores.drop_duplicates(["task", "constants", "n_id", "n_ood"]).iterrows():
        task = _smoothing(str(row["constants"]))
        if task is None:
            continue
        about = (
            f"another detector than the row's own, whose score is {task.said()}; guarantees hold with a confidence of "
            f"{100 * task.confidence:g} % for all images of a set together"
        )
        said.setdefault(about, {})[str(row["task"])] = None
        for nothing in _nothing(task, int(row["n_id"]), int(row["n_ood"])):
            said.setdefault(nothing, {})[str(row["task"])] = None
    return [f"{', '.join(tasks)}: {about}." for about, tasks in said.items()]


def _smoothing(constants: str) -> Smoothing | None:
    """The task of which these are the constants, where it smooths scores; files come from anywhere."""
    said: dict[str, Any] = json.loads(constants or "{}")
    kind = STORED.get(str(said.pop("kind", "")))
    if kind is None or not issubclass(kind, Smoothing):
        return None
    try:
        return build(kind, said)
    except DeclarationError:
        return None


def _nothing(task: Smoothing, n_id: int, n_ood: int) -> Iterator[str]:
    if isinstance(task, Guaranteed):
        for images in dict.fromkeys([n_id] * task.moves("id") + [n_ood] * task.moves("ood")):
            if images and task.trivial(images):
                yield task.nothing(images)
