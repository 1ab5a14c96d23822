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
    """What a compact table has rows of.

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
    called: Mapping[str, str]


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
        failures: from `oodbench.results.tables.layout.failures_of`.
    """
    line_of = {str(cell): line for line in lines for cell in line.cells["cell"]}
    failed = {str(row["cell"]): line_of[str(row["cell"])] for _, row in failures}
    alone = _one_network_each(lines)
    notes = {entry: _apart(entry.notes, alone) for entry in summary}
    of_failed = {cell: _apart(line.notes([cell]), alone) for cell, line in failed.items()}
    shared = _common([*notes.values(), *of_failed.values()])
    of_task = _of_task(notes, shared)
    row_of: dict[Entry, tuple[str, str]] = {}
    called: dict[str, str] = {}
    for entry in summary:
        said = [note for note in notes[entry] if note not in shared and note not in of_task[entry.task]]
        text = f"{label(entry.detector, said)} {entry.mark}".strip()
        row_of[entry] = text, entry.ood
        called |= dict.fromkeys(entry.cells, text)
    rows = {place: Row(*place) for place in sorted(dict.fromkeys(row_of.values()), key=_together([*row_of.values()]))}
    for cell, line in failed.items():
        said = [note for note in of_failed[cell] if note not in shared]
        text = f"{label(str(line.cells['detector'].iloc[0]), said)} {line.mark}".strip()
        called.setdefault(cell, text)
        if all(row.label != text for row in rows.values()):
            rows[text, ""] = Row(text, "", failed=True)
    for cell in frame["cell"].unique():  # of what was measured, and has no number here
        called.setdefault(str(cell), str(line_of[str(cell)].cells["detector"].iloc[0]))
    tasks = {task: [note.text for note in own] for task, own in of_task.items() if own}
    return Rows([note.text for note in shared], tasks, [*rows.values()], row_of, called)


def _one_network_each(lines: Sequence[Line]) -> bool:
    """No detector stands on two pretrained networks, so that none of them has to be named."""
    found: dict[str, set[str]] = {}
    for line in lines:
        found.setdefault(str(line.cells["detector"].iloc[0]), set()).update(line.cells["pretrained"].astype(str))
    return all(len(names - {""}) < 2 for names in found.values())


def _apart(notes: Iterable[Note], one_network: bool) -> list[Note]:
    """Settings one by one, and pretrained networks by what they are."""
    found: list[Note] = []
    for note in notes:
        if note.kind == "settings":
            found += [Note("settings", text) for text in settings.texts(note.text)]
        elif note.kind == "network" and one_network and note.text.endswith(", pretrained"):
            found.append(Note("network", PRETRAINED))
        else:
            found.append(note)
    return found


def _common(several: Sequence[Sequence[Note]]) -> list[Note]:
    """What stands in all of them."""
    return [note for note in several[0] if all(note in other for other in several)] if several else []


def _of_task(notes: Mapping[Entry, Sequence[Note]], shared: Sequence[Note]) -> dict[str, list[Note]]:
    """By task, the notes that are said of it once, instead of in each row that has a number under it.

    Where that row has numbers under other tasks, too, they are notes of these as well, or stay in the row: else one
    result would be torn into rows of two names.
    """
    found: dict[str, list[Note]] = {}
    for task in dict.fromkeys(entry.task for entry in notes):
        own = _common([said for entry, said in notes.items() if entry.task == task])
        found[task] = [note for note in own if note not in shared and _about_task(note, task)]
    under: dict[str, set[str]] = {}
    for entry in notes:
        for cell in entry.cells:
            under.setdefault(cell, set()).add(entry.task)
    return {
        task: [
            note
            for note in own
            if all(note in found[other] for tasks in under.values() if task in tasks for other in tasks)
        ]
        for task, own in found.items()
    }


def _about_task(note: Note, task: str) -> bool:
    of_it = note.kind == "settings" and note.text.startswith(f"{task.partition(' (')[0]}.")
    return of_it or note.kind in OF_TASK


def _together(places: Sequence[tuple[str, str]]) -> Any:
    """The order of rows: as they come, those of one label together."""
    labels = list(dict.fromkeys(label for label, _ in places))
    order = {place: number for number, place in enumerate(dict.fromkeys(places))}
    return lambda place: (labels.index(place[0]), order[place])
