"""Stored scores to one tidy frame: a metric a row, with all that moved it. Nothing is measured again here."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from oodbench.basics.errors import OodbenchError, unknown
from oodbench.basics.files import digest
from oodbench.metrics import accuracy
from oodbench.registry import code_of, discover
from oodbench.results import bundle
from oodbench.results.attributes import FAILED_ON, json_object
from oodbench.results.beside import clean_id_group, compared_id_group
from oodbench.results.folder import find_results, read_result
from oodbench.results.store import Cell, Scores
from oodbench.results.tables import figures
from oodbench.results.tables.as_published import published_sides
from oodbench.results.tables.comparable import VERSIONS
from oodbench.results.tables.stale import stale_groups, stale_text
from oodbench.results.tables.summary import SUITE
from oodbench.statistics import honesty
from oodbench.statistics.intervals import accuracy_interval
from oodbench.tasks import ID_TASK

if TYPE_CHECKING:
    from oodbench.detector import Detector

MEASURED = ("suite", "detector", "seed", "task", "ood", "metric", "value", "n_id", "n_ood")
"""The first columns of a tidy frame; what moved the value follows to their right."""

OF_ATTACK = ("looks", "retired", "hidden")
"""Passes an image on average, the share of the images that were left alone early, and the AUROC that this may hide."""

OF_CELL = (
    "settings",
    "plugin",
    "options",
    "limit",
    "images",
    "checkpoint",
    "features",
    "pretrained",
    "data",
    "unlike",
    "suite_version",
    "suite_fingerprint",
    "means",
    "parameters",
    "tuned",
    "network",
    "network_digest",
    "code",
    "over",
    "over_code",
    *VERSIONS,
    "current",
    "failed",
    "trained_on",
    "learned_from",
)
OF_GROUP = (
    "distance",
    "threat",
    "constants",
    "fingerprint",
    "labels_note",
    "images_note",
    "source",
    "device",
    "hardware",
    "torch",
    "oodbench",
    "date",
)
COLUMNS = (
    *MEASURED,
    "convention",
    "derived",
    "operating_point",
    "low",
    "high",
    "epsilon",
    *OF_ATTACK,
    *honesty.FLAGS,
    "effects",
    *OF_CELL,
    "stale",
    "id_set",
    *OF_GROUP,
    "scores",
    "out",
    "cell",
)


BEFORE_THEY_SAID: Mapping[str, int] = {"scoring_version": 7, "training_version": 3}
"""The versions at the time when results began to hold them: older results were made by these, and stand beside them."""

CODE = (("detector", "code"), ("over", "over_code"))
"""Pairs of attributes of a cell: the name of a detector, and the digest of its code."""

FAILURE = "failed"
"""The metric of the row, without a value, of a detector that failed: no run has finished it."""


def load_results(
    path: str | Path = "results",
    *,
    convention: str = "default",
    intervals: bool = False,
    plugins: Sequence[str | Path] = (),
) -> pd.DataFrame:
    """Everything in a results folder as one tidy frame: one row a (cell, task, image set, metric).

    A cell is one detector on one suite with one seed. Metrics are computed from the stored scores on each call. ID
    accuracy stands in rows of its own (metric "accuracy", task "id", no OOD set), and so does a detector that failed
    (metric "failed", no task, value NaN) until it is redone. A text or number that a result does not have is "" or NaN.
    Each measurement counts once, wherever its file was copied to; copies, and files that cannot be read, are named in
    a warning.

    Columns, in this order:
        suite, detector, seed, task, ood: what was measured; `ood` is one image set, means are the reader's to take.
        metric, value: a name of `oodbench.metrics.METRICS` or "accuracy", and a fraction in [0, 1]. Where ID images
            were attacked there are those of `oodbench.metrics.AT_CLEAN` as well.
        n_id, n_ood: images behind it.
        derived: the published convention was derived from the score, though the detector's paper prints another one.
        convention, operating_point: of the metric, see `oodbench.metrics`; a fixed threshold where a paper has one.
        low, high: 95 % interval over images, where a subset was scored (`--images`) or `intervals` is set.
        epsilon: radius of the ball in which images moved, in 1/255; 0 where none did.
        looks, retired, hidden: passes of an attack an image, share of images left alone early, AUROC this may hide.
        one for each of `oodbench.statistics.honesty.FLAGS`: what was measured of the attack; a fraction, or NaN.
        effects: JSON, by how much each flag may move "auroc" and "fpr95", or did where that was measured
            (see `oodbench.statistics.severity`); null where it says nothing.
        settings, limit, images, checkpoint: what the run changed; 0 stands for all images.
        plugin, options: file that defines the detector, and words of the command for precision and compilation.
        features: the feature pack that was scored in place of images, in words; "" where images were.
        pretrained: name of the kept network that `--pretrained` took, without its seed; "" where it took none.
        data: folder of the image packs, as the run was told.
        unlike: which sets are not the public ones whose names they have.
        suite_version, suite_fingerprint: of the suite; rows that differ in the latter must not be compared.
        means: JSON, the sets behind each mean that the suite names.
        parameters, tuned: JSON, of the detector; what it tuned itself on and chose.
        network, network_digest, trained_on: by name; SHA-256 of its weights; where and with what they were trained, as
            far as it is known.
        learned_from: JSON, SHA-256 of the images that it was trained on, as far as they are known, and of the weights
            that training began with, where it began with some.
        stale: scores of the cell that are left out, in words: they no longer go with its ID scores. Run them again.
        code: digest of the method's code; "" where it was not recorded.
        over, over_code: the detector whose score the method reworks, as `median` does, and likewise of its code; "".
        scoring_version, training_version: of the harness, counted up whenever the same network and images would give
            other scores, and the same recipe another network; the latter is 0 of a network that was given.
        current: whether today's code of the method is that code, "yes" or "no"; "" where nobody can know.
        failed: why the detector failed when it was last tried; "" where it did not.
        id_set: image set of the ID scores.
        distance, threat, constants: "near" or "far"; the task in words and as JSON.
        fingerprint, source: SHA-256 of the OOD images (ID images in rows of accuracy), and where they come from.
        scores: SHA-256 of the ID and the OOD scores as bundles hold them, float32 where that can; "" for accuracy.
        labels_note: in rows of accuracy, why their labels may not mean what the network thinks; "" for no reason.
        images_note: images that the set shares with another set of the run, or repeats; "" where it has no such, and in
            results of before that was noted.
        device, hardware, torch, oodbench, date: of the scoring.
        out: results folder in which a run finds the cell again; "" if the file lies where no run puts it.
        cell: DETECTOR/FILE, the same in all rows of a cell; with the folders above where two would be called so.

    Args:
        path: a results folder, as `oodbench run` leaves it.
        convention: "default", "published" (Chen et al. 2021) or "openood" (OpenOOD v1.5).
        intervals: give every metric an interval, see `oodbench.statistics.intervals`.
        plugins: files that define detectors; asked how their papers print scores when `convention` is "published".

    Raises:
        OodbenchError: there are no results, none can be read, or the convention or, for "published", a detector is
            unknown.
    """
    detectors = discover([Path(plugin) for plugin in plugins])
    contents = find_results(Path(path))
    for line in contents.left_out:
        warnings.warn(line, stacklevel=2)
    return tidy(contents.cells, detectors, convention, intervals)


def tidy(
    cells: Sequence[Cell],
    detectors: Mapping[str, type[Detector]],
    convention: str = "default",
    intervals: bool = False,
) -> pd.DataFrame:
    """The frame of `load_results` for some `cells`.

    Args:
        cells: what to show.
        detectors: by name; asked how their papers print scores when `convention` is "published".
        convention: of the metrics, see `oodbench.metrics`.
        intervals: for all sets, not only for subsets.

    Raises:
        OodbenchError: an unknown convention or, for "published", an unknown detector; a cell that no run wrote.
    """
    if convention == "published":
        _require_known(cells, detectors)
    named = zip(cells, cell_names(cells), strict=True)
    rows = [row for cell, name in named for row in _rows(cell, name, detectors, convention, intervals)]
    return _without_redone_failures(pd.DataFrame(rows, columns=list(COLUMNS)))


def _without_redone_failures(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame without failures that were made good since, or came again, in another file.

    A detector whose code was changed has another key: what its former code did not manage is of interest to nobody,
    and of what fails time and again the last failure stands for all. Another version of the suite, or another kind of
    network, makes nothing good.
    """
    identity = [*SUITE, "detector", "seed", "settings", "limit", "images", "checkpoint", "pretrained"]
    succeeded, failures = frame[frame["failed"] == ""], frame[frame["metric"] == FAILURE]
    redone_cells: set[str] = set()
    for _, row in failures.iterrows():
        later = succeeded[
            (succeeded[identity] == row[identity]).all(axis=1) & (succeeded["date"].astype(str) >= str(row["date"]))
        ]
        alike_failures = failures[(failures[identity] == row[identity]).all(axis=1)]
        last = alike_failures.sort_values(["date", "current"], kind="stable").iloc[-1]
        redone_cells |= {str(row["cell"])} if len(later) or last["cell"] != row["cell"] else set()
    is_redone = frame["cell"].isin(redone_cells)
    cleared = frame.assign(failed=frame["failed"].where(~is_redone, ""))
    return cleared[~(is_redone & (frame["metric"] == FAILURE))].reset_index(drop=True)


def select_tasks(frame: pd.DataFrame, tasks: Sequence[str]) -> pd.DataFrame:
    """The rows of a tidy frame of some tasks, with ID accuracy and failures beside them; all where no task is named.

    Raises:
        OodbenchError: nothing was measured under one of the names, or it is that of ID scores.
    """
    measured = set(frame.loc[frame["ood"] != "", "task"])
    for name in tasks:
        if name == ID_TASK:
            raise OodbenchError("ID accuracy is a metric, not a task of a table: `--metric accuracy` shows it alone")
        if name not in measured:
            raise unknown("task among these results", name, measured)
    kept = frame["task"].isin(tasks)
    beside = (frame["ood"] == "") & frame["cell"].isin(frame.loc[kept, "cell"]) | (frame["metric"] == FAILURE)
    return frame[kept | beside] if tasks else frame


def cell_names(cells: Sequence[Cell]) -> list[str]:
    """The name of each cell: its folder and file, with the folders above where two would be called so."""
    parts = [(*cell.path.absolute().parent.parts, cell.path.stem) for cell in cells]
    names: list[str] = []
    for path_parts in parts:
        rivals = {other for other in parts if other[-2:] == path_parts[-2:] and other != path_parts}
        depth = 2
        while any(other[-depth:] == path_parts[-depth:] for other in rivals) and depth < len(path_parts):
            depth += 1
        names.append("/".join(path_parts[-depth:]))
    return names


def _rows(
    cell: Cell, cell_title: str, detectors: Mapping[str, type[Detector]], convention: str, intervals: bool
) -> Iterator[dict[str, Any]]:
    """The rows of one cell: its failure if there is one, ID accuracy, and each metric of each task and OOD set."""
    attributes, stored = read_result(cell)
    outdated = stale_groups(stored)
    groups = [group for group in stored if (group.task, group.image_set) not in outdated]
    published = _published_detector(str(attributes["detector"]), detectors) if convention == "published" else None
    of_cell: dict[str, Any] = {column: attributes.get(column, "") for column in ("suite", "detector", "seed", *OF_CELL)}
    of_cell |= harness_versions(attributes) | {
        "cell": cell_title,
        "out": _results_folder(cell.path, str(of_cell["suite"])),
        "stale": stale_text(outdated),
        "current": code_is_current(attributes, detectors),
        "operating_point": published.operating_point if published else None,
        "convention": convention,
    }
    if of_cell["failed"]:
        no_scores = dict.fromkeys(("task", "ood", "id_set", *OF_GROUP, "scores"), "")
        no_scores["date"] = str(attributes.get(FAILED_ON, ""))
        yield {**of_cell, **no_scores, "metric": FAILURE, "n_id": 0, "n_ood": 0, "epsilon": 0}
    # A subset stands for the whole set: how far off it may be belongs to it.
    with_intervals = bool(intervals or attributes.get("images"))
    for id_group in (group for group in groups if group.role == "id" and group.task == ID_TASK):
        shared = {**of_cell, "n_id": len(id_group.scores), "id_set": id_group.image_set}
        yield {**shared, **_accuracy_columns(id_group, with_intervals)}
        for group in (group for group in groups if group.role == "ood"):
            yield from ({**shared, **row} for row in _ood_rows(group, groups, published, convention, with_intervals))


def _accuracy_columns(id_group: Scores, with_interval: bool) -> dict[str, Any]:
    low, high = accuracy_interval(id_group.predictions, id_group.labels) if with_interval else figures.UNBOUNDED
    return {
        **_group_columns(id_group),
        "ood": "",
        "metric": "accuracy",
        "value": accuracy(id_group.predictions, id_group.labels),
        "n_ood": 0,
        "scores": "",
        "low": low,
        "high": high,
    }


def _ood_rows(
    group: Scores,
    groups: Sequence[Scores],
    published: type[Detector] | None,
    convention: str,
    with_intervals: bool,
) -> Iterator[dict[str, Any]]:
    """The columns of each metric of a group of OOD images, one of the `groups` of its cell.

    Scores are taken as the paper of the detector `published` prints them, if that is given.
    """
    opposed, clean = compared_id_group(groups, group), clean_id_group(groups, group)
    sides = _stored_side(opposed, attacked=opposed is not clean), _stored_side(group), _stored_side(clean)
    (id_side, ood_side, clean_side), derived = published_sides(published, sides)
    columns = {
        **_group_columns(group),
        "ood": group.image_set,
        "n_ood": len(group.scores),
        "scores": _scores_digest(opposed.scores, group.scores),
        "derived": derived,
        **figures.attack_columns(id_side, ood_side),
    }
    operating_point = published.operating_point if published else None
    for row in figures.metric_rows(id_side, ood_side, clean_side.scores, convention, operating_point, with_intervals):
        yield {**columns, **row}


def _results_folder(path: Path, suite: str) -> str:
    """The folder `--out`, since a run writes to OUT/SUITE/DETECTOR; "" for a file in a bundle, or put elsewhere."""
    return str(path.parents[2]) if path.parent.parent.name == suite and bundle.containing_bundle(path) is None else ""


def _scores_digest(*sides: npt.NDArray[np.float64]) -> str:
    """SHA-256 (hex) of scores as a bundle keeps them, so that they have the same one in a folder and in a bundle."""
    kind = np.float32 if bundle.fits_float32(sides) else np.float64
    return digest(*(scores.astype(kind).tobytes() for scores in sides))


def _stored_side(group: Scores, attacked: bool = True) -> figures.Side:
    """A group as it is stored."""
    continued = group.extras.get("continued")
    return figures.Side(
        group.scores,
        group.extras,
        group.attributes,
        attacked,
        None if continued is None else np.asarray(continued, np.float64),
    )


def _group_columns(group: Scores) -> dict[str, Any]:
    columns = {column: group.attributes.get(column, "") for column in OF_GROUP}
    constants = json_object(columns["constants"])
    return {**columns, "task": group.task, "epsilon": constants.get("epsilon", 0)}


def code_is_current(attributes: Mapping[str, Any], detectors: Mapping[str, type[Detector]]) -> str:
    """Say if the code of a cell's method, and of the one that it is over, is today's: "yes", "no", "" if unknown."""
    recorded = {
        str(attributes.get(detector_attribute, "")): attributes.get(code_attribute)
        for detector_attribute, code_attribute in CODE
        if attributes.get(detector_attribute)
    }
    if not all(name in detectors and digest_recorded for name, digest_recorded in recorded.items()):
        return ""
    return (
        "yes"
        if all(code_of(detectors, name) == digest_recorded for name, digest_recorded in recorded.items())
        else "no"
    )


def harness_versions(attributes: Mapping[str, Any]) -> dict[str, int]:
    """`VERSIONS` of a cell, by name; `BEFORE_THEY_SAID` of one that does not say them."""
    network_given = bool(attributes.get("checkpoint") or attributes.get("features"))
    defaults = {**BEFORE_THEY_SAID, "training_version": 0} if network_given else BEFORE_THEY_SAID
    return {name: version if isinstance(version := attributes.get(name), int) else defaults[name] for name in VERSIONS}


def _require_known(cells: Sequence[Cell], detectors: Mapping[str, type[Detector]]) -> None:
    """Raise OodbenchError that names all detectors which cannot be asked how their papers print scores."""
    names = dict.fromkeys(str(cell.attributes()["detector"]) for cell in cells)
    if strangers := [name for name in names if name not in detectors]:
        raise OodbenchError(
            f"how the papers of {', '.join(strangers)} print scores is not known here: give their files by --plugin, "
            "or choose other detectors with --detector"
        )


def _published_detector(name: str, detectors: Mapping[str, type[Detector]]) -> type[Detector]:
    return detectors[name]
