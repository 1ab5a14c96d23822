"""Stored scores to operating points: a threshold with a promise, and what it delivers on other images and attacked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from oodbench.basics.errors import OodbenchError
from oodbench.results.attributes import json_object
from oodbench.results.beside import has_other_score
from oodbench.results.folder import read_result
from oodbench.results.store import Cell, Scores
from oodbench.results.tables.comparable import OF_ID
from oodbench.results.tables.flags import find_flags, severities
from oodbench.results.tables.frame import FAILURE, cell_names, code_is_current, tidy
from oodbench.results.tables.lines import label, line_notes, tell_apart
from oodbench.results.tables.stale import stale_groups, stale_text
from oodbench.results.tables.summary import SUITE
from oodbench.statistics import severity
from oodbench.statistics.conformal import Threshold, require_promise, threshold
from oodbench.tasks import ID_TASK

if TYPE_CHECKING:
    from oodbench.detector import Detector

COLUMNS = (
    "suite",
    "suite_version",
    "suite_fingerprint",
    "line",
    "detector",
    "seed",
    "cell",
    "current",
    "keep",
    "delta",
    "threshold",
    "n_chosen_on",
    "task",
    "id_attacked",
    "id_rejected",
    "n_id",
    "ood",
    "ood_accepted",
    "n_ood",
    "prevalence",
    "alarms",
    "false_alarms",
    "flag",
    "off_by",
    "stale",
    "failed",
    "left_out",
)
"""Of `operating_points`."""

OTHER_SCORE = "a threshold is of one score, and this task is of another one than the detector's"
"""The reason why a task has no operating point."""

TUNED_ON_TEST = "tuned on the ID test images, so these cannot say what it does on new ones: leave tuning=id-test out"
"""The reason why a detector has no threshold, as `oodbench fit` has it."""

NO_OOD = "no OOD image has a score yet"
"""The reason why a threshold is held against no task."""


def operating_points(
    cells: Sequence[Cell],
    keeps: Sequence[float],
    delta: float = 0.0,
    prevalence: float = 0.01,
    detectors: Mapping[str, type[Detector]] | None = None,
    measured: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """One row a (cell, share to keep, task, OOD set): what is promised, and what is delivered.

    A cell of which nothing can be said for a share has a row without `task` and `ood`, which says why.

    A random half of the ID test images, the same one for every detector, chooses the threshold and is then left out:
    nothing is reported on it. The network and the detector must not have seen either half, which holds for a test set,
    unless the detector is tuned on it: then there is no threshold.

    Columns:
        suite, suite_version, suite_fingerprint: what it was measured on; no two suites are to be compared.
        line, detector, seed, cell: whose threshold it is; `line` is what a table calls it.
        current: whether the method's code is today's, "yes" or "no"; "" where nobody can know.
        keep, delta, threshold, n_chosen_on: see `oodbench.statistics.conformal.Threshold`.
        task, ood: what it is held against.
        id_attacked: whether the task attacks ID images, "yes" or "no".
        id_rejected, n_id: share of the other half of the ID images that is rejected, attacked where the task attacks
            ID images; and how many there are.
        ood_accepted, n_ood: share of the OOD set that is accepted.
        prevalence, alarms, false_alarms: of 1,000 images of which this share is OOD, so many are rejected in
            expectation, and so many of these are ID.
        flag, off_by: the sign that tables have behind the figures of the task on this set, and the most that these may
            be off by, a fraction, 1 where nobody knows; "" and NaN where nothing is flagged.
        stale, failed: of the cell, as in `oodbench.results.tables.frame.load_results`.
        left_out: why there is no threshold, or nothing that it is held against; "" where there is.

    Args:
        cells: results.
        keeps: shares of ID images to be kept.
        delta: see `oodbench.statistics.conformal.threshold`.
        prevalence: share of OOD images where the detector works, in [0, 1].
        detectors: by name; their code is today's.
        measured: what `tidy` says of `cells`; computed if left out.

    Raises:
        OodbenchError: a result cannot be read, no cell has ID images enough for a promise, or a number is out of its
            range.
    """
    for keep in keeps:
        require_promise(keep, delta)
    if not 0 <= prevalence <= 1:
        raise OodbenchError(f"prevalence is {prevalence:g}: give the share of OOD images, from 0 to 1")
    measured = tidy(cells, detectors or {}) if measured is None else measured
    failed = measured.groupby("cell")["failed"].first()
    rows: list[dict[str, Any]] = []
    for cell, name in zip(cells, cell_names(cells), strict=True):
        if name in failed:  # what failed and was made good since is of no interest
            shared = {"failed": str(failed[name]), "prevalence": prevalence}
            rows += [shared | row for row in _cell_rows(cell, name, keeps, delta, prevalence, detectors or {})]
    frame = _mark_equal_lines(pd.DataFrame(rows, columns=list(COLUMNS)))
    refused = frame[~frame["left_out"].isin(["", OTHER_SCORE, NO_OOD])].drop_duplicates(["cell", "keep"])
    if frame["threshold"].isna().all() and len(refused):
        raise OodbenchError("\n".join(f"{row.line}: {row.left_out}" for row in refused.itertuples()))
    return _add_flags(frame, measured)


def _add_flags(frame: pd.DataFrame, measured: pd.DataFrame) -> pd.DataFrame:
    """The frame with the signs that a table has, and how far off the figures of each task and OOD set may be."""
    effects: dict[tuple[str, str, str], float] = {}
    for ood, scores in measured[~measured["metric"].isin([OF_ID, FAILURE])].groupby("ood", sort=False):
        effects |= {(*place, str(ood)): size for place, size in severities(find_flags(scores)).items()}
    sizes = [effects.get(place) for place in zip(frame["cell"], frame["task"], frame["ood"], strict=True)]
    signs = ["" if size is None else severity.mark(size) for size in sizes]
    return frame.assign(flag=pd.Series(signs, frame.index, dtype=object), off_by=np.array(sizes, np.float64))


def _mark_equal_lines(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with a mark behind each line that is called as another one of its suite."""
    cell_rows = frame.drop_duplicates("cell")
    names = cell_rows["cell"].astype(str)
    texts = (
        cell_rows["suite"].astype(str)
        + " "
        + cell_rows["suite_fingerprint"].astype(str)
        + " "
        + cell_rows["line"].astype(str)
    )
    marks = dict(zip(names, tell_apart(list(names), list(texts)), strict=True))
    titles = [f"{row.line} {marks[str(row.cell)]}".strip() for row in frame.itertuples()]
    return frame.assign(line=pd.Series(titles, frame.index, dtype=object))


def _cell_rows(
    cell: Cell,
    name: str,
    keeps: Sequence[float],
    delta: float,
    prevalence: float,
    detectors: Mapping[str, type[Detector]],
) -> Iterator[dict[str, Any]]:
    attributes, all_groups = read_result(cell)
    outdated = stale_groups(all_groups)
    groups = [group for group in all_groups if (group.task, group.image_set) not in outdated]
    columns = {column: attributes.get(column, "") for column in (*SUITE, "detector", "seed")}
    columns |= {"cell": name, "current": code_is_current(attributes, detectors)}
    line_attributes: pd.Series[Any] = pd.Series(
        {
            "settings": "",
            "limit": 0,
            "images": 0,
            "checkpoint": "",
            "pretrained": "",
            "unlike": "",
            "tuned": "",
            "options": "",
        }
        | attributes
    )
    columns["line"] = label(str(attributes["detector"]), line_notes(line_attributes, [int(attributes["seed"])]))
    columns["stale"] = stale_text(outdated)
    refusal = why_no_promise(attributes)
    other_score_tasks = dict.fromkeys(group.task for group in groups if group.role == "ood" and has_other_score(group))
    for keep in keeps:
        empty_row = {**columns, "keep": keep, "delta": delta, "task": "", "ood": "", "left_out": refusal}
        if refusal:
            yield empty_row
            continue
        try:
            point_rows = delivered_rows(groups, keep, delta, prevalence)
        except OodbenchError as error:
            yield {**empty_row, "left_out": f"of its ID images one half chooses: {error}"}
            continue
        point_rows += [{"task": task, "ood": "", "left_out": OTHER_SCORE} for task in other_score_tasks]
        reason = "" if outdated or attributes.get("failed") else NO_OOD
        yield from ({**empty_row, **row} for row in point_rows or [{"left_out": reason}])


def why_no_promise(attributes: Mapping[str, Any]) -> str:
    """Why ID test images can promise nothing of a result, from its attributes; "" where they can."""
    return TUNED_ON_TEST if json_object(attributes.get("tuned")).get("source") == "id-test" else ""


def delivered_rows(
    groups: Sequence[Scores], keep: float, delta: float = 0.0, prevalence: float = 0.01
) -> list[dict[str, Any]]:
    """The promise and the delivery of one cell's threshold, a row a group of OOD images; see `operating_points`.

    Args:
        groups: of the cell, none of them stale; without clean scores of ID images nothing can be chosen, and there is
            no row.
        keep: share of ID images to be kept.
        delta: see `oodbench.statistics.conformal.threshold`.
        prevalence: share of OOD images.

    Raises:
        OodbenchError: there are too few ID images for the promise.
    """
    attacked = {group.task: group for group in groups if group.role == "id"}
    clean = attacked.get(ID_TASK)
    if clean is None:
        return []
    promised = threshold(clean.scores[chooses_threshold(clean.indices)], keep, delta)
    return [
        {
            **_delivered_row(promised, attacked.get(group.task, clean), group, prevalence),
            "id_attacked": "yes" if group.task in attacked else "no",
        }
        for group in groups
        if group.role == "ood" and not has_other_score(group)  # a threshold is of one score
    ]


def chooses_threshold(indices: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Select the ID images that choose a threshold, (n,): half, drawn by their places in the set, the same for all."""
    ranks = np.random.default_rng(0).permutation(int(indices.max()) + 1) if len(indices) else indices
    order = np.argsort(ranks[indices], kind="stable")
    chosen = np.zeros(len(indices), bool)
    chosen[order[: len(indices) // 2]] = True
    return chosen


def _delivered_row(promised: Threshold, id_images: Scores, ood: Scores, prevalence: float) -> dict[str, Any]:
    held_back = ~chooses_threshold(id_images.indices)
    rejected = float(promised.rejects(id_images.scores[held_back]).mean())
    accepted = float(1 - promised.rejects(ood.scores).mean())
    false_alarms = 1000 * (1 - prevalence) * rejected
    return {
        "keep": promised.keep,
        "delta": promised.delta,
        "threshold": promised.value,
        "n_chosen_on": promised.images,
        "task": ood.task,
        "id_rejected": rejected,
        "n_id": int(held_back.sum()),
        "ood": ood.image_set,
        "ood_accepted": accepted,
        "n_ood": len(ood.scores),
        "prevalence": prevalence,
        "alarms": false_alarms + 1000 * prevalence * (1 - accepted),
        "false_alarms": false_alarms,
    }
