"""Stored scores to operating points: a threshold with a promise, and what it delivers on other images and attacked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from oodbench.basics.errors import OodbenchError
from oodbench.results.beside import other_score
from oodbench.results.folder import require
from oodbench.results.store import Cell, Scores
from oodbench.results.tables.comparable import OF_ID
from oodbench.results.tables.flags import flagged, severities
from oodbench.results.tables.frame import FAILURE, cell_names, current, tidy
from oodbench.results.tables.lines import about_line, label, tell_apart
from oodbench.results.tables.stale import stale, told
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
"""Why a task stands beside no threshold."""

NO_OOD = "no OOD image has a score yet"
"""Why a threshold stands beside nothing."""


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
    nothing is reported on it. The network and the detector must not have seen either half, which holds for a test set.

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
            about = {"failed": str(failed[name]), "prevalence": prevalence}
            rows += [about | row for row in _of_cell(cell, name, keeps, delta, prevalence, detectors or {})]
    frame = _told_apart(pd.DataFrame(rows, columns=list(COLUMNS)))
    refused = frame[~frame["left_out"].isin(["", OTHER_SCORE, NO_OOD])].drop_duplicates(["cell", "keep"])
    if frame["threshold"].isna().all() and len(refused):
        raise OodbenchError("\n".join(f"{one.line}: {one.left_out}" for one in refused.itertuples()))
    return _flagged(frame, measured)


def _flagged(frame: pd.DataFrame, measured: pd.DataFrame) -> pd.DataFrame:
    """The frame with the signs that a table has, and how far off the figures of each task and OOD set may be."""
    effects: dict[tuple[str, str, str], float] = {}
    for ood, scores in measured[~measured["metric"].isin([OF_ID, FAILURE])].groupby("ood", sort=False):
        effects |= {(*place, str(ood)): size for place, size in severities(flagged(scores)).items()}
    sizes = [effects.get(place) for place in zip(frame["cell"], frame["task"], frame["ood"], strict=True)]
    signs = ["" if size is None else severity.mark(size) for size in sizes]
    return frame.assign(flag=pd.Series(signs, frame.index, dtype=object), off_by=np.array(sizes, np.float64))


def _told_apart(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with a mark behind each line that is called as another one of its suite."""
    each = frame.drop_duplicates("cell")
    names = each["cell"].astype(str)
    texts = each["suite"].astype(str) + " " + each["suite_fingerprint"].astype(str) + " " + each["line"].astype(str)
    marks = dict(zip(names, tell_apart(list(names), list(texts)), strict=True))
    called = [f"{row.line} {marks[str(row.cell)]}".strip() for row in frame.itertuples()]
    return frame.assign(line=pd.Series(called, frame.index, dtype=object))


def _of_cell(
    cell: Cell,
    name: str,
    keeps: Sequence[float],
    delta: float,
    prevalence: float,
    detectors: Mapping[str, type[Detector]],
) -> Iterator[dict[str, Any]]:
    attributes, everything = require(cell)
    outdated = stale(everything)
    groups = [group for group in everything if (group.task, group.image_set) not in outdated]
    about = {one: attributes.get(one, "") for one in (*SUITE, "detector", "seed")}
    about |= {"cell": name, "current": current(attributes, detectors)}
    given: pd.Series[Any] = pd.Series(
        {"settings": "", "limit": 0, "images": 0, "checkpoint": "", "pretrained": "", "unlike": "", "tuned": ""}
        | attributes
    )
    about["line"] = label(str(attributes["detector"]), about_line(given, [int(attributes["seed"])]))
    about["stale"] = told(outdated)
    others = dict.fromkeys(group.task for group in groups if group.role == "ood" and other_score(group))
    for keep in keeps:
        bare = {**about, "keep": keep, "delta": delta, "task": "", "ood": "", "left_out": ""}
        try:
            found = delivered(groups, keep, delta, prevalence)
        except OodbenchError as error:
            yield {**bare, "left_out": f"of its ID images one half chooses: {error}"}
            continue
        found += [{"task": task, "ood": "", "left_out": OTHER_SCORE} for task in others]
        nothing = "" if outdated or attributes.get("failed") else NO_OOD
        yield from ({**bare, **row} for row in found or [{"left_out": nothing}])


def delivered(
    groups: Sequence[Scores], keep: float, delta: float = 0.0, prevalence: float = 0.01
) -> list[dict[str, Any]]:
    """What the threshold of one cell promises and delivers, a row a group of OOD images; see `operating_points`.

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
    promised = threshold(clean.scores[chosen_on(clean.indices)], keep, delta)
    return [
        {
            **_delivered(promised, attacked.get(group.task, clean), group, prevalence),
            "id_attacked": "yes" if group.task in attacked else "no",
        }
        for group in groups
        if group.role == "ood" and not other_score(group)  # a threshold is of one score
    ]


def chosen_on(indices: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Which ID images choose a threshold, (n,): half of them, drawn by their places in the set, so for all alike."""
    drawn = np.random.default_rng(0).permutation(int(indices.max()) + 1) if len(indices) else indices
    order = np.argsort(drawn[indices], kind="stable")
    found = np.zeros(len(indices), bool)
    found[order[: len(indices) // 2]] = True
    return found


def _delivered(promised: Threshold, id_images: Scores, ood: Scores, prevalence: float) -> dict[str, Any]:
    other = ~chosen_on(id_images.indices)
    rejected = float(promised.rejects(id_images.scores[other]).mean())
    accepted = float(1 - promised.rejects(ood.scores).mean())
    false_alarms = 1000 * (1 - prevalence) * rejected
    return {
        "keep": promised.keep,
        "delta": promised.delta,
        "threshold": promised.value,
        "n_chosen_on": promised.images,
        "task": ood.task,
        "id_rejected": rejected,
        "n_id": int(other.sum()),
        "ood": ood.image_set,
        "ood_accepted": accepted,
        "n_ood": len(ood.scores),
        "prevalence": prevalence,
        "alarms": false_alarms + 1000 * prevalence * (1 - accepted),
        "false_alarms": false_alarms,
    }
