"""The notes below operating points, in the words of a table: on flags, failures, missing, stale and left out scores."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pandas as pd

from oodbench.results.tables import notes
from oodbench.results.tables.brief import failure_notes, flag_notes
from oodbench.results.tables.comparable import OF_ID
from oodbench.results.tables.frame import FAILURE
from oodbench.results.tables.operating import NO_OOD
from oodbench.results.tables.summary import Entry, View, summarise

SIGNS = (
    "Signs are of the AUROC and FPR@95 on the set, points of their means over all sets; what a threshold delivers "
    "there rests on the same scores. `oodbench table --long` says what is behind each."
)
"""The meaning of a sign behind an operating point."""


def flagged_notes(points: pd.DataFrame, measured: pd.DataFrame) -> list[str]:
    """Return a note for each kind of flag on the cells of `points`, and the meaning of the signs.

    Arguments as `absent_notes`.
    """
    titles, cell_rows = _line_names(points), _rows_of_cells(points, measured)
    scores = cell_rows[~cell_rows["metric"].isin([OF_ID, FAILURE])]
    sign_notes = flag_notes(scores, titles)
    return [*notes.upside_down_notes(scores, titles), *sign_notes, *([SIGNS] if sign_notes else [])]


def absent_notes(points: pd.DataFrame, measured: pd.DataFrame) -> list[str]:
    """Return notes on what is not among the operating points of one suite, and why.

    Args:
        points: from `operating_points`.
        measured: the tidy frame of their cells, and of others.
    """
    titles, cell_rows = _line_names(points), _rows_of_cells(points, measured)
    succeeded = cell_rows[cell_rows["metric"] != FAILURE]
    sentences = [*failure_notes(cell_rows, titles), *_left_out_notes(points)]
    sentences += notes.missing_notes(succeeded, _entries_by_set(succeeded, titles), titles)
    sentences += notes.left_out_notes(succeeded, set(succeeded["ood"])) if (succeeded["ood"] != "").any() else []
    cells = cell_rows.drop_duplicates("cell")
    sentences += [*notes.stale_notes(cells, titles), *notes.image_notes(cells)]
    return [*sentences, *notes.shared_image_notes(succeeded)]


def _line_names(points: pd.DataFrame) -> dict[str, str]:
    """The title of the line of each cell."""
    return dict(zip(points["cell"].astype(str), points["line"].astype(str), strict=True))


def _rows_of_cells(points: pd.DataFrame, measured: pd.DataFrame) -> pd.DataFrame:
    """The rows of a tidy frame that are of the cells of `points`."""
    return measured[measured["cell"].isin(points["cell"])]


def _entries_by_set(measured: pd.DataFrame, titles: Mapping[str, str]) -> Sequence[Entry]:
    """The figures of each OOD set; each task is called as it is stored, as it is in operating points."""
    if (measured["ood"] == "").all():
        return []
    stored = measured.assign(named=measured["task"])
    view = View(by="ood", metrics=("auroc",), seeds="each")
    return [replace(entry, line=titles[entry.cells[0]]) for entry in summarise(stored, view)]


def _left_out_notes(points: pd.DataFrame) -> list[str]:
    """Cells and tasks that no threshold is held against, and why; a cell without OOD scores is called missing."""
    rows = points[~points["left_out"].isin(["", NO_OOD])]
    lines = (
        f"Left out: {line}{', ' * bool(task)}{task}: {reason}."
        for line, task, reason in rows[["line", "task", "left_out"]].itertuples(index=False, name=None)
    )
    return list(dict.fromkeys(lines))
