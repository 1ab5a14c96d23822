"""Notes of a table on smoothed scores: they are of another detector, and some guarantees are worth nothing."""

from collections.abc import Iterator

import pandas as pd

from oodbench.basics.strict_dataclasses import DeclarationError, build
from oodbench.results.attributes import json_object
from oodbench.tasks import STORED
from oodbench.tasks.smoothed import Guaranteed, Smoothing


def smoothed_notes(scores: pd.DataFrame) -> list[str]:
    """A sentence for each way in which scores were smoothed, and one for each guarantee that says nothing.

    Args:
        scores: rows of a tidy frame, those of accuracy left out.
    """
    tasks_of_note: dict[str, dict[str, None]] = {}
    for _, row in scores.drop_duplicates(["task", "constants", "n_id", "n_ood"]).iterrows():
        task = _smoothing_task(str(row["constants"]))
        if task is None:
            continue
        note = (
            f"another detector than the row's own, whose score is {task.score_text()}; guarantees hold with a "
            f"confidence of {100 * task.confidence:g} % for all images of a set together"
        )
        tasks_of_note.setdefault(note, {})[str(row["task"])] = None
        for trivial_note in _trivial_guarantees(task, int(row["n_id"]), int(row["n_ood"])):
            tasks_of_note.setdefault(trivial_note, {})[str(row["task"])] = None
    return [f"{', '.join(tasks)}: {note}." for note, tasks in tasks_of_note.items()]


def _smoothing_task(constants: str) -> Smoothing | None:
    """The task of which these are the constants, where it smooths scores; files come from anywhere."""
    constants_stored = json_object(constants)
    kind = STORED.get(str(constants_stored.pop("kind", "")))
    if kind is None or not issubclass(kind, Smoothing):
        return None
    try:
        return build(kind, constants_stored)
    except DeclarationError:
        return None


def _trivial_guarantees(task: Smoothing, n_id: int, n_ood: int) -> Iterator[str]:
    if isinstance(task, Guaranteed):
        for images in dict.fromkeys([n_id] * task.moves("id") + [n_ood] * task.moves("ood")):
            if images and task.is_trivial(images):
                yield task.trivial_text(images)
