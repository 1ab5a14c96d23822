"""Stored scores to one tidy frame: a metric a row, with all that moved it. Nothing is measured again here."""

from __future__ import annotations

import json
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
from oodbench.results.beside import clean_id, held_against
from oodbench.results.folder import FAILED_ON, find, require
from oodbench.results.store import Cell, Scores
from oodbench.results.tables import figures
from oodbench.results.tables.as_published import as_printed
from oodbench.results.tables.comparable import VERSIONS
from oodbench.results.tables.stale import stale, told
from oodbench.results.tables.summary import SUITE
from oodbench.statistics import honesty
from oodbench.statistics.intervals import of_accuracy
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
)
OF_GROUP = (
    "distance",
    "threat",
    "constants",
    "fingerprint",
    "labels_note",
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
"""What the versions were when results began to hold them: older results of these versions must not stand apart."""

CODE = (("detector", "code"), ("over", "over_code"))
"""What a cell says of a detector, and of the code behind it."""

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
        network, network_digest, trained_on: by name; SHA-256 of its weights; on what they were trained, if it is known.
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
    found = find(Path(path))
    for line in found.left_out:
        warnings.warn(line, stacklevel=2)
    return tidy(found.cells, detectors, convention, intervals)


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
    named = zip(cells, cell_names(cells), strict=True)
    rows = [row for cell, name in named for row in _rows(cell, name, detectors, convention, intervals)]
    return _until_redone(pd.DataFrame(rows, columns=list(COLUMNS)))


def _until_redone(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame without failures that were made good since, or came again, in another file.

    A detector whose code was changed has another key: what its former code did not manage is of interest to nobody,
    and of what fails time and again the last failure stands for all. Another version of the suite, or another kind of
    network, makes nothing good.
    """
    same = [*SUITE, "detector", "seed", "settings", "limit", "images", "checkpoint", "pretrained"]
    fine, failures = frame[frame["failed"] == ""], frame[frame["metric"] == FAILURE]
    past: set[str] = set()
    for _, row in failures.iterrows():
        later = fine[(fine[same] == row[same]).all(axis=1) & (fine["date"].astype(str) >= str(row["date"]))]
        others = failures[(failures[same] == row[same]).all(axis=1)]
        last = others.sort_values(["date", "current"], kind="stable").iloc[-1]
        past |= {str(row["cell"])} if len(later) or last["cell"] != row["cell"] else set()
    again = frame["cell"].isin(past)
    left = frame.assign(failed=frame["failed"].where(~again, ""))
    return left[~(again & (frame["metric"] == FAILURE))].reset_index(drop=True)


def of_tasks(frame: pd.DataFrame, tasks: Sequence[str]) -> pd.DataFrame:
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
    aside = (frame["ood"] == "") & frame["cell"].isin(frame.loc[kept, "cell"]) | (frame["metric"] == FAILURE)
    return frame[kept | aside] if tasks else frame


def cell_names(cells: Sequence[Cell]) -> list[str]:
    """What each cell is called: its folder and file, with the folders above where two would be called so."""
    parts = [(*cell.path.absolute().parent.parts, cell.path.stem) for cell in cells]
    names: list[str] = []
    for own in parts:
        rivals = {other for other in parts if other[-2:] == own[-2:] and other != own}
        depth = 2
        while any(other[-depth:] == own[-depth:] for other in rivals) and depth < len(own):
            depth += 1
        names.append("/".join(own[-depth:]))
    return names


def _rows(
    cell: Cell, called: str, detectors: Mapping[str, type[Detector]], convention: str, intervals: bool
) -> Iterator[dict[str, Any]]:
    attributes, groups = require(cell)
    outdated = stale(groups)
    groups = [group for group in groups if (group.task, group.image_set) not in outdated]
    name = attributes["detector"]
    of_cell: dict[str, Any] = {column: attributes.get(column, "") for column in ("suite", "detector", "seed", *OF_CELL)}
    of_cell |= versions(attributes) | {
        "cell": called,
        "out": _results_folder(cell.path, str(of_cell["suite"])),
        "stale": told(outdated),
        "current": current(attributes, detectors),
    }
    published = _published(str(name), detectors) if convention == "published" else None
    operating_point = published.operating_point if published else None
    of_cell["operating_point"] = operating_point

    if of_cell["failed"]:
        none = dict.fromkeys(("task", "ood", "id_set", *OF_GROUP, "scores"), "")
        none["date"] = str(attributes.get(FAILED_ON, ""))
        yield {**of_cell, **none, "metric": FAILURE, "convention": convention, "n_id": 0, "n_ood": 0, "epsilon": 0}
    for id_group in (group for group in groups if group.role == "id" and group.task == ID_TASK):
        shared = {**of_cell, "convention": convention, "n_id": len(id_group.scores), "id_set": id_group.image_set}
        share_right = accuracy(id_group.predictions, id_group.labels)
        # A subset stands for the whole set: how far off it may be belongs to it.
        wanted = bool(intervals or attributes.get("images"))
        low, high = of_accuracy(id_group.predictions, id_group.labels) if wanted else figures.UNBOUNDED
        yield {
            **shared,
            **_of_group(id_group),
            "ood": "",
            "metric": "accuracy",
            "value": share_right,
            "n_ood": 0,
            "scores": "",
            "low": low,
            "high": high,
        }
        for group in (group for group in groups if group.role == "ood"):
            about = {**shared, **_of_group(group), "ood": group.image_set, "n_ood": len(group.scores)}
            turned, unmoved = held_against(groups, group), clean_id(groups, group)
            about["scores"] = _scores_digest(turned.scores, group.scores)
            sides = _side(turned, attacked=turned is not unmoved), _side(group), _side(unmoved)
            (id_side, ood_side, clean_side), about["derived"] = as_printed(published, sides)
            about |= figures.about(id_side, ood_side)
            for row in figures.figures(id_side, ood_side, clean_side.scores, convention, operating_point, wanted):
                yield {**about, **row}


def _results_folder(path: Path, suite: str) -> str:
    """What `--out` was, since a run writes to OUT/SUITE/DETECTOR; "" for a file in a bundle, or put elsewhere."""
    return str(path.parents[2]) if path.parent.parent.name == suite and bundle.holder(path) is None else ""


def _scores_digest(*sides: npt.NDArray[np.float64]) -> str:
    """SHA-256 (hex) of scores as a bundle keeps them, so that they have the same one in a folder and in a bundle."""
    kind = np.float32 if bundle.fits_float32(sides) else np.float64
    return digest(*(scores.astype(kind).tobytes() for scores in sides))


def _side(group: Scores, attacked: bool = True) -> figures.Side:
    """A group as it is stored."""
    continued = group.extras.get("continued")
    return figures.Side(
        group.scores,
        group.extras,
        group.attributes,
        attacked,
        None if continued is None else np.asarray(continued, np.float64),
    )


def _of_group(group: Scores) -> dict[str, Any]:
    about = {column: group.attributes.get(column, "") for column in OF_GROUP}
    constants = json.loads(str(about["constants"]) or "{}")
    return {**about, "task": group.task, "epsilon": constants.get("epsilon", 0)}


def current(attributes: Mapping[str, Any], detectors: Mapping[str, type[Detector]]) -> str:
    """Whether the code of a cell's method, and of the one that it is over, is today's: "yes", "no", "" if unknown."""
    code = {str(attributes.get(who, "")): attributes.get(of_it) for who, of_it in CODE if attributes.get(who)}
    if not all(name in detectors and known for name, known in code.items()):
        return ""
    return "yes" if all(code_of(detectors, name) == known for name, known in code.items()) else "no"


def versions(attributes: Mapping[str, Any]) -> dict[str, int]:
    """`VERSIONS` of a cell, by name; `BEFORE_THEY_SAID` of one that does not say them."""
    given = bool(attributes.get("checkpoint") or attributes.get("features"))
    usual = {**BEFORE_THEY_SAID, "training_version": 0} if given else BEFORE_THEY_SAID
    return {name: said if isinstance(said := attributes.get(name), int) else usual[name] for name in VERSIONS}


def _published(name: str, detectors: Mapping[str, type[Detector]]) -> type[Detector]:
    if name not in detectors:
        raise unknown("detector", name, detectors)
    return detectors[name]
