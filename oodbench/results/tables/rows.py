"""The rows of a compact table: what they are called once everything that they share is said above them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from oodbench.results.tables.lines import Line, Note, label
from oodbench.results.tables.summary import Entry
from oodbench.suitefiles import settings

PRETRAINED = "pretrained network"
"""Instead of its name, which only tells rows of one detector apart."""

OF_TASK = ("seeds", "limit", "images", "sets")
"""Notes that may be said of a task, where they are true of every row under it; so may settings of that task."""


@dataclass(frozen=True)
class Row:
    """A row: what it is called, which set or mean it is of, and whether its detector failed."""

    label: str
    ood: str
    failed: bool = False


@dataclass(frozen=True)
class Rows:
    """The rows of a compact table, and what stands above them.

    Attributes:
        shared: what is true of all of them.
        of_task: by task, what is true of all that stand under it, and of none elsewhere.
        rows: from top to bottom.
        row_of: label and set of each number.
        called: what the row of each cell is called.
    """

    shared: Sequence[str]
    of_task: Mapping[str, Sequence[str]]
    rows: Sequence[Row]
    row_of: Mapping[Entry, tuple[str, str]]
    titles: Mapping[str, str]


def rows_of(
    summary: Sequence[Entry],
    lines: Sequence[Line],
    frame: pd.DataFrame,
    failures: "Iterable[tuple[str, pd.Series[Any]]]",
) -> Rows:
    """The rows for the numbers of `summary`, and for what failed.

    Args:
        summary: in the order in which they are shown.
        lines: of the whole frame, failures included.
        frame: what was measured.
        failures: from `oodbench.results.tables.layout.failure_rows`.
    """
    line_of = {str(cell): line for line in lines for cell in line.cells["cell"]}
    failed = {str(row["cell"]): line_of[str(row["cell"])] for _, row in failures}
    one_network = _one_network_each(lines)
    notes = {entry: _split_notes(entry.notes, one_network) for entry in summary}
    failed_notes = {cell: _split_notes(line.notes([cell]), one_network) for cell, line in failed.items()}
    shared = _common_notes([*notes.values(), *failed_notes.values()])
    of_task = _task_notes(notes, shared)
    row_of: dict[Entry, tuple[str, str]] = {}
    titles: dict[str, str] = {}
    for entry in summary:
        own_notes = [note for note in notes[entry] if note not in shared and note not in of_task[entry.task]]
        text = f"{label(entry.detector, own_notes)} {entry.mark}".strip()
        row_of[entry] = text, entry.ood
        titles |= dict.fromkeys(entry.cells, text)
    rows = {place: Row(*place) for place in sorted(dict.fromkeys(row_of.values()), key=_row_order([*row_of.values()]))}
    for cell, line in failed.items():
        own_notes = [note for note in failed_notes[cell] if note not in shared]
        text = f"{label(str(line.cells['detector'].iloc[0]), own_notes)} {line.mark}".strip()
        titles.setdefault(cell, text)
        if all(row.label != text for row in rows.values()):
            rows[text, ""] = Row(text, "", failed=True)
    for cell in frame["cell"].unique():  # of what was measured, and has no number here
        titles.setdefault(str(cell), str(line_of[str(cell)].cells["detector"].iloc[0]))
    tasks = {task: [note.text for note in own] for task, own in of_task.items() if own}
    return Rows([note.text for note in shared], tasks, [*rows.values()], row_of, titles)


def _one_network_each(lines: Sequence[Line]) -> bool:
    """No detector stands on two pretrained networks, so that none of them has to be named."""
    networks_of_detector: dict[str, set[str]] = {}
    for line in lines:
        networks_of_detector.setdefault(str(line.cells["detector"].iloc[0]), set()).update(
            line.cells["pretrained"].astype(str)
        )
    return all(len(names - {""}) < 2 for names in networks_of_detector.values())


def _split_notes(notes: Iterable[Note], one_network: bool) -> list[Note]:
    """Settings one by one, and pretrained networks by what they are."""
    split: list[Note] = []
    for note in notes:
        if note.kind == "settings":
            split += [Note("settings", text) for text in settings.texts(note.text)]
        elif note.kind == "network" and one_network and note.text.endswith(", pretrained"):
            split.append(Note("network", PRETRAINED))
        else:
            split.append(note)
    return split


def _common_notes(several: Sequence[Sequence[Note]]) -> list[Note]:
    """The notes that stand in all of them."""
    return [note for note in several[0] if all(note in other for other in several)] if several else []


def _task_notes(notes: Mapping[Entry, Sequence[Note]], shared: Sequence[Note]) -> dict[str, list[Note]]:
    """The notes of each task that are said once, instead of in each row that has a number under it.

    Where that row has numbers under other tasks, too, they are notes of these as well, or stay in the row: else one
    result would be torn into rows of two names.
    """
    notes_of_task: dict[str, list[Note]] = {}
    for task in dict.fromkeys(entry.task for entry in notes):
        common = _common_notes([said for entry, said in notes.items() if entry.task == task])
        notes_of_task[task] = [note for note in common if note not in shared and _concerns_task(note, task)]
    tasks_of_cell: dict[str, set[str]] = {}
    for entry in notes:
        for cell in entry.cells:
            tasks_of_cell.setdefault(cell, set()).add(entry.task)
    return {
        task: [
            note
            for note in common
            if all(note in notes_of_task[other] for tasks in tasks_of_cell.values() if task in tasks for other in tasks)
        ]
        for task, common in notes_of_task.items()
    }


def _concerns_task(note: Note, task: str) -> bool:
    is_setting = note.kind == "settings" and note.text.startswith(f"{task.partition(' (')[0]}.")
    return is_setting or note.kind in OF_TASK


def _row_order(places: Sequence[tuple[str, str]]) -> Any:
    """The order of rows: as they come, those of one label together."""
    labels = list(dict.fromkeys(label for label, _ in places))
    order = {place: number for number, place in enumerate(dict.fromkeys(places))}
    return lambda place: (labels.index(place[0]), order[place])
