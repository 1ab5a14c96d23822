"""What stands below operating points, in the words of a table: what is flagged, failed, missing, stale or left out."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pandas as pd

from oodbench.results.tables import notes
from oodbench.results.tables.brief import about_failed, about_flags
from oodbench.results.tables.comparable import OF_ID
from oodbench.results.tables.frame import FAILURE
from oodbench.results.tables.operating import NO_OOD
from oodbench.results.tables.summary import Entry, View, summarise

SIGNS = (
    "Signs are of the AUROC and FPR@95 on the set, points of their means over all sets; what a threshold delivers "
    "there rests on the same scores. `oodbench table --long` says what is behind each."
)
"""What a sign behind an operating point means."""


def flagged(points: pd.DataFrame, measured: pd.DataFrame) -> list[str]:
    """What is flagged of the cells of `points`, a line a kind, and what the signs mean; the arguments of `absent`."""
    called, own = _called(points), _of(points, measured)
    scores = own[~own["metric"].isin([OF_ID, FAILURE])]
    signs = about_flags(scores, called)
    return [*notes.upside_down(scores, called), *signs, *([SIGNS] if signs else [])]


def absent(points: pd.DataFrame, measured: pd.DataFrame) -> list[str]:
    """What is not among operating points of one suite, and why.

    Args:
        points: from `operating_points`.
        measured: the tidy frame of their cells, and of others.
    """
    called, own = _called(points), _of(points, measured)
    fine = own[own["metric"] != FAILURE]
    said = [*about_failed(own, called), *_left_out(points)]
    said += notes.missing(fine, _by_set(fine, called), called)
    said += notes.about_left_out(fine, set(fine["ood"])) if (fine["ood"] != "").any() else []
    cells = own.drop_duplicates("cell")
    return [*said, *notes.about_stale(cells, called), *notes.about_images(cells)]


def _called(points: pd.DataFrame) -> dict[str, str]:
    """What the line of each cell is called."""
    return dict(zip(points["cell"].astype(str), points["line"].astype(str), strict=True))


def _of(points: pd.DataFrame, measured: pd.DataFrame) -> pd.DataFrame:
    """The rows of a tidy frame that are of the cells of `points`."""
    return measured[measured["cell"].isin(points["cell"])]


def _by_set(measured: pd.DataFrame, called: Mapping[str, str]) -> Sequence[Entry]:
    """The figures of each OOD set; each task is called as it is stored, as it is in operating points."""
    if (measured["ood"] == "").all():
        return []
    stored = measured.assign(named=measured["task"])
    view = View(by="ood", metrics=("auroc",), seeds="each")
    return [replace(entry, line=called[entry.cells[0]]) for entry in summarise(stored, view)]


def _left_out(points: pd.DataFrame) -> list[str]:
    """Cells and tasks that no threshold is held against, and why; a cell without OOD scores is called missing."""
    rows = points[~points["left_out"].isin(["", NO_OOD])]
    lines = (
        f"Left out: {line}{', ' * bool(task)}{task}: {why}."
        for line, task, why in rows[["line", "task", "left_out"]].itertuples(index=False, name=None)
    )
    return list(dict.fromkeys(lines))
