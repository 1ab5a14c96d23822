"""A tidy frame of differences: each detector less one of them, on the same images, seed by seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import nan
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from oodbench.basics.errors import OodbenchError, unknown
from oodbench.metrics import Floats
from oodbench.results.beside import clean_id, held_against, plain_id
from oodbench.results.store import Cell, Scores
from oodbench.results.tables.about_differences import BASE, NETWORKS
from oodbench.results.tables.as_published import as_printed
from oodbench.results.tables.comparable import OF_ID
from oodbench.results.tables.figures import Side
from oodbench.results.tables.flags import CARRIED, carried, flagged
from oodbench.results.tables.frame import FAILURE, tidy
from oodbench.results.tables.networks import NetworkBehind, objective_of
from oodbench.results.tables.notes import upside_down
from oodbench.results.tables.summary import SUITE
from oodbench.statistics.differences import Detection, Difference, differences, of_accuracy

if TYPE_CHECKING:
    from oodbench.detector import Detector

ALIKE = [*SUITE, "seed", "limit", "images", "unlike"]
"""Columns in which two cells must agree to be a pair."""

KEPT = "kept"
"""Whether the network is one that is kept for everybody: each method has its own, so they are never the same file."""

PREFERRED = ["settings", "checkpoint", KEPT]
"""Columns that decide where several cells could be the other one of a pair."""


@dataclass(frozen=True)
class Paired:
    """Differences, and what could not be compared.

    Attributes:
        frame: as `oodbench.results.tables.tidy` gives it, with differences for values and "DETECTOR − NAME" for
            detectors. The column `against` holds the name, `networks` whose network is which where they are not the
            same, and `flagged` what is flagged of the two values, as JSON.
        left_out: what is not in it, and why, and whose scores seem to be of the wrong sign, a sentence each.
    """

    frame: pd.DataFrame
    left_out: tuple[str, ...]


def against(
    cells: Sequence[Cell], detectors: Mapping[str, type[Detector]], name: str, convention: str = "default"
) -> Paired:
    """Every detector less the detector called `name`, where both were scored on the same images.

    An attack moves an image against each detector's own score: what is paired is the image that it began with. Where
    both detectors have their network trained in the same way, it must be the same network, since the difference would
    else be that of two networks; methods that train networks of their own are compared with these.

    Args:
        cells: results.
        detectors: by name; asked how their papers print scores when `convention` is "published", and how their networks
            are trained where results do not say it.
        name: of the detector that is taken off.
        convention: of the metrics, see `oodbench.metrics`.

    Raises:
        OodbenchError: there is no result of `name`, nothing to compare it with, or `tidy` refuses.
    """
    tidied = [_Result.of(cell, detectors, convention) for cell in cells]
    results = [result for result in tidied if not result.frame.empty]
    bases = [result for result in results if result.detector == name]
    if not bases:
        raise unknown("detector among these results", name, sorted({result.detector for result in results}))
    parts, left_out = [], []
    paired: dict[int, _Result] = {}
    for result in (result for result in results if result.detector != name):
        try:
            base = _partner(result, bases, detectors)
            part, said = _less(result, base, convention)
        except _UnpairedError as reason:
            left_out.append(f"Not compared: {result.called}: {reason}.")
            continue
        left_out += said
        if len(part):
            parts.append(_with_sides(part, result, base, detectors))
            paired |= {id(side): side for side in (base, result)}
    if not parts:
        why = " ".join(left_out) or "there are no results of another detector."
        raise OodbenchError(f"nothing can be compared with {name}: {why}")
    left_out += [line for side in paired.values() for line in side.turned_round()]
    return Paired(pd.concat(parts, ignore_index=True).assign(**{BASE: name}), tuple(left_out))


def between(
    one: Cell, frame: pd.DataFrame, other: Cell, other_frame: pd.DataFrame
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """One result less another, of two runs of one detector, where both were scored on the same images.

    Args:
        one: a cell.
        frame: its rows that are to be compared, as `oodbench.results.tables.tidy` gives them in the default convention.
        other: the cell that is taken off.
        other_frame: likewise.

    Returns:
        The rows of `one` that could be compared, with differences for values, and why others could not.
    """
    found, left_out = _less(_Result.stored(one, frame), _Result.stored(other, other_frame), "default")
    return found, tuple(left_out)


class _UnpairedError(Exception):
    """Why two results are no pair."""


@dataclass(frozen=True)
class _Result:
    """One cell: its figures, and its scores by task and image set as the convention has them."""

    frame: pd.DataFrame
    groups: Mapping[tuple[str, str], Scores]
    operating_point: float | None
    published: type[Detector] | None
    network: NetworkBehind

    @classmethod
    def of(cls, cell: Cell, detectors: Mapping[str, type[Detector]], convention: str) -> _Result:
        frame = tidy([cell], detectors, convention)
        found = cls.stored(cell, frame)
        if convention != "published" or found.frame.empty:
            return found
        published = detectors[found.detector]
        return replace(found, operating_point=published.operating_point, published=published)

    @classmethod
    def stored(cls, cell: Cell, frame: pd.DataFrame) -> _Result:
        """A cell, scores as they are, whose tidy frame is at hand."""
        frame = frame[frame["metric"] != FAILURE].assign(**{KEPT: lambda rows: rows["pretrained"] != ""})
        groups = {(group.task, group.image_set): group for group in cell.scores()}
        return cls(frame, groups, None, None, NetworkBehind.of(cell))

    @property
    def detector(self) -> str:
        return str(self.frame["detector"].iloc[0])

    @property
    def called(self) -> str:
        """Detector, seed and file, for people."""
        return f"{self.detector} ({self.frame['cell'].iloc[0]})"

    @property
    def outdated(self) -> bool:
        """Made by other code than the method has today."""
        return bool(self.about(["current"]) == ("no",))

    @property
    def scores(self) -> pd.DataFrame:
        """The figures without those of ID alone."""
        return self.frame[self.frame["metric"] != OF_ID]

    def turned_round(self) -> list[str]:
        """That its scores seem to be of the wrong sign, if they do."""
        return upside_down(self.scores, {str(self.frame["cell"].iloc[0]): self.called})

    def about(self, columns: Sequence[str]) -> tuple[Any, ...]:
        return tuple(self.frame[column].iloc[0] for column in columns)

    def id_of(self, task: str) -> Scores:
        """ID scores that `task` is held against: attacked ones where it attacks them."""
        group = next(group for group in self.groups.values() if group.task == task)
        return held_against(self.groups.values(), group)

    def printed(self, task: str, ood: str) -> tuple[Floats, Floats, Floats]:
        """Scores of ID images, of OOD images and of clean ID images, as a table has them in this convention."""
        group, every = self.groups[task, ood], self.groups.values()
        groups = held_against(every, group), group, clean_id(every, group)
        sides, _ = as_printed(self.published, [Side(group.scores, group.extras, group.attributes) for group in groups])
        return sides[0].scores, sides[1].scores, sides[2].scores

    def detection(self, id_scores: Floats, others: Floats) -> Detection:
        """Of `others`, which are ID or not, against ID images."""
        return Detection(id_scores, others, operating_point=self.operating_point)


def _partner(result: _Result, bases: Sequence[_Result], detectors: Mapping[str, type[Detector]]) -> _Result:
    """The one result that `result` is held against."""
    name = bases[0].detector
    alike = [base for base in bases if base.about(ALIKE) == result.about(ALIKE)]
    alike = _over_comparable_networks(result, alike, detectors)
    for column in PREFERRED:
        better = [base for base in alike if base.about([column]) == result.about([column])]
        alike = better if len(alike) > 1 and better else alike
    alike = [base for base in alike if not base.outdated] or alike
    if not alike:
        seed, limit, images = result.about(["seed", "limit", "images"])
        sizes = f", {limit} images of each set" * bool(limit) + f", {images} images of each OOD set" * bool(images)
        raise _UnpairedError(
            f"there is no result of {name} with the same suite, seed {seed}{sizes} and the same image sets"
        )
    if len(alike) > 1:
        names = ", ".join(base.called for base in alike)
        raise _UnpairedError(f"{len(alike)} results of {name} could be meant ({names}): show one of them and these")
    return alike[0]


def _over_comparable_networks(
    result: _Result, bases: Sequence[_Result], detectors: Mapping[str, type[Detector]]
) -> list[_Result]:
    """Those of `bases` that are over the network of `result`, else those whose networks are trained in another way."""
    same = [base for base in bases if result.network.is_same_as(base.network)]
    same = same or [base for base in bases if result.network.trained_as(base.network)]
    others = [] if same else [base for base in bases if not _trained_alike(result, base, detectors)]
    if bases and not (same or others):
        there = ", ".join(dict.fromkeys(base.network.called for base in bases))
        raise _UnpairedError(
            f"it is over {result.network.called}, and {bases[0].detector} over {there}, so that a difference would be "
            "that of two networks"
        )
    return same or others


def _trained_alike(result: _Result, base: _Result, detectors: Mapping[str, type[Detector]]) -> bool:
    """Whether both detectors are known to have their networks trained in the same way, such as by cross-entropy."""
    ours, theirs = (objective_of(one.network, one.detector, detectors) for one in (result, base))
    return bool(ours) and ours == theirs


def _with_sides(
    part: pd.DataFrame, result: _Result, base: _Result, detectors: Mapping[str, type[Detector]]
) -> pd.DataFrame:
    """Differences with what must be known of their two sides: whose network is which, and what of them is flagged."""
    found = [replace(one, of=side.called) for side in (result, base) for one in flagged(side.scores)]
    of_task = part["task"].map(partial(carried, found))
    return part.assign(**{NETWORKS: _whose(result, base, detectors)}).assign(**{CARRIED: of_task})


def _whose(result: _Result, base: _Result, detectors: Mapping[str, type[Detector]]) -> str:
    """Whose network is which, and why they are two; "" where they are one."""
    if result.network.is_same_as(base.network):
        return ""
    said = f"{result.detector} over {result.network.called}, {base.detector} over {base.network.called}"
    if result.network.trained_as(base.network):
        return f"{said}, which were trained alike, and not to the same weights"
    known = all(objective_of(one.network, one.detector, detectors) for one in (result, base))
    why = "which the methods have trained in different ways" if known else "of which nobody knows how they were trained"
    return f"{said}, {why}"


def _less(result: _Result, base: _Result, convention: str) -> tuple[pd.DataFrame, list[str]]:
    """The rows of `result` with differences for values, and what of them could not be compared."""
    found: dict[tuple[str, str], Mapping[str, Difference]] = {}
    left_out: dict[str, None] = {}
    measured = set(base.frame[["task", "ood"]].itertuples(index=False, name=None))
    for task, ood in dict.fromkeys(result.frame[["task", "ood"]].itertuples(index=False, name=None)):
        try:
            if (task, ood) not in measured:
                raise _UnpairedError(f"{base.detector} has no scores there")
            found[task, ood] = _of_set(result, base, task, ood, convention) if ood else _of_id(result, base)
        except _UnpairedError as reason:
            place = f"{task}, {ood}" if ood else "ID accuracy"
            left_out[f"Not compared: {result.called}, {place}: {reason}."] = None
    rows = []
    for _, row in result.frame.iterrows():
        difference = found.get((row["task"], row["ood"]), {}).get(row["metric"])
        if difference or row["metric"] == OF_ID:  # of which each cell has a row
            difference = difference or Difference(nan, nan, nan)
            about = {"value": difference.value, "low": difference.low, "high": difference.high}
            code = {"current": "no"} if base.outdated else {}
            rows.append({**row, **about, **code, "detector": f"{result.detector} − {base.detector}"})
    return pd.DataFrame(rows if any(ood for _, ood in found) else [], columns=result.frame.columns), list(left_out)


def _of_set(result: _Result, base: _Result, task: str, ood: str, convention: str) -> dict[str, Difference]:
    ours, theirs = result.groups[task, ood], base.groups[task, ood]
    ids = result.id_of(task), base.id_of(task)
    _require_same(ours, theirs)
    _require_same(*ids)
    one, other = result.printed(task, ood), base.printed(task, ood)
    found = differences(result.detection(*one[:2]), base.detection(*other[:2]), convention)
    clean = clean_id(result.groups.values(), ours), clean_id(base.groups.values(), theirs)
    if ids[0] is clean[0] or ids[1] is clean[1]:
        return found
    _require_same(*clean)
    # At the threshold of clean ID images: OOD images accepted, and attacked ID images kept.
    accepted, kept = (
        differences(result.detection(one[2], one[side]), base.detection(other[2], other[side]), convention)["fpr95"]
        for side in (1, 0)
    )
    return found | {"fpr95_clean": accepted, "fnr_clean": Difference(-kept.value, -kept.high, -kept.low)}


def _of_id(result: _Result, base: _Result) -> dict[str, Difference]:
    ours, theirs = plain_id(result.groups.values()), plain_id(base.groups.values())
    _require_same(ours, theirs)
    known = (ours.labels >= 0) & (ours.predictions >= 0) & (theirs.predictions >= 0)
    if not known.any() or not np.array_equal(ours.labels, theirs.labels):
        raise _UnpairedError("their images have no labels, or not the same")
    right = [(group.predictions == group.labels)[known] for group in (ours, theirs)]
    return {OF_ID: of_accuracy(right[0], right[1])}


def _require_same(ours: Scores, theirs: Scores) -> None:
    """See to it that two groups are of the same images and, where these were altered, altered by the same rules."""
    prints = [str(group.attributes.get("fingerprint", "")) for group in (ours, theirs)]
    if not np.array_equal(ours.indices, theirs.indices) or (all(prints) and prints[0] != prints[1]):
        raise _UnpairedError(f"the images of {ours.image_set} are not the same")
    rules = [str(group.attributes.get("constants", "")) for group in (ours, theirs)]
    if all(rules) and rules[0] != rules[1]:
        raise _UnpairedError(f"{ours.task} was another task: {rules[0]} against {rules[1]}")
