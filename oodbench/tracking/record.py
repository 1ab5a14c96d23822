"""The record of a run that a tracker gets: names, numbers and texts, made of stored results."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from oodbench.detector import Detector
from oodbench.results import report, tables
from oodbench.results.store import Cell
from oodbench.results.tables.frame import OF_CELL, OF_GROUP

SHORT = 250
"""The most letters of a parameter, which the narrowest of the trackers shows."""

OF_RUN = ("suite", "detector", "seed", *OF_CELL, "hardware", "device", "torch", "oodbench", "convention")
"""Columns of the frame that say what was run, how and on what."""

PER_GROUP = frozenset(("constants", "fingerprint", "source", "labels_note", "images_note", "distance", "threat"))


@dataclass(frozen=True)
class Record:
    """The record of one run.

    Attributes:
        name: suites and detectors, for people.
        frame: the tidy frame, see `oodbench.load_results`.
        page: the report, HTML.
        parameters: by name: what was run, how and on what; where cells differ, all values.
        metrics: fractions by SUITE/DETECTOR/TASK/SET/METRIC, a mean over seeds; without SET the mean over OOD sets.
        provenance: the provenance of each cell and image set, JSON.
    """

    name: str
    frame: pd.DataFrame
    page: str
    parameters: Mapping[str, str]
    metrics: Mapping[str, float]
    provenance: str

    def files(self) -> dict[str, str]:
        """The texts of the record, by file name."""
        return {
            "results.csv": self.frame.to_csv(index=False),
            "report.html": self.page,
            "provenance.json": self.provenance,
        }


def make_record(cells: Sequence[Cell], data: Path, detectors: Mapping[str, type[Detector]]) -> Record:
    """The record of stored results.

    Args:
        cells: at least one.
        data: folder of image packs, for images in the report.
        detectors: by name.
    """
    frame = tables.tidy(cells, detectors)
    suites, methods = (", ".join(frame[column].astype(str).unique()) for column in ("suite", "detector"))
    page = report.render(report.boards(cells, data, detectors)).decode()
    return Record(
        f"{_short(suites, 100)}: {_short(methods, 100)}",
        frame,
        page,
        dict(_parameters(frame)),
        dict(_metrics(frame)),
        _provenance(frame),
    )


def _parameters(frame: pd.DataFrame) -> Iterator[tuple[str, str]]:
    for column in OF_RUN:
        values = [text for text in frame[column].astype(str).unique() if text not in ("", "nan", "{}")]
        if values:
            yield column, _short(", ".join(values), SHORT)


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _metrics(frame: pd.DataFrame) -> Iterator[tuple[str, float]]:
    """Each metric of each set, and its mean over the sets of the suite's own mean where all of them were measured."""
    for suite, of_suite in frame[frame["value"].notna()].groupby("suite", sort=False):
        every = tables.mean_sets(of_suite)["all"]
        for keys, rows in of_suite.groupby(["detector", "task", "metric"], sort=False):
            detector, task, metric = keys
            of_set = rows.groupby("ood", sort=False)["value"].mean()
            if list(of_set.index) == [""]:  # of ID images: accuracy
                yield f"{suite}/{detector}/{metric}", float(of_set.iloc[0])
                continue
            for ood, value in of_set.items():
                yield f"{suite}/{detector}/{task}/{ood}/{metric}", float(value)
            if every and set(every) <= set(of_set.index):
                yield f"{suite}/{detector}/{task}/{metric}", float(of_set[every].mean())


def _provenance(frame: pd.DataFrame) -> str:
    about = frame[["cell", *OF_RUN]].drop_duplicates("cell").astype(str)
    sets = (
        frame[["suite", "task", "ood", "id_set", *(c for c in OF_GROUP if c in PER_GROUP)]]
        .drop_duplicates()
        .astype(str)
    )
    return json.dumps({"cells": about.to_dict("records"), "image_sets": sets.to_dict("records")}, indent=1)
