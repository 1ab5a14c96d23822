"""A tidy frame of differences: each detector less one of them, on the same images, seed by seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import nan
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from oodbench.basics.arrays import Floats
from oodbench.basics.errors import OodbenchError, unknown
from oodbench.metrics import right_predictions
from oodbench.results.beside import clean_id_group, compared_id_group, plain_id_group
from oodbench.results.store import Cell, Scores
from oodbench.results.tables.as_published import published_sides
from oodbench.results.tables.comparable import OF_ID
from oodbench.results.tables.difference_notes import BASE, NETWORKS
from oodbench.results.tables.figures import Side
from oodbench.results.tables.flags import CARRIED, find_flags, flags_json
from oodbench.results.tables.frame import FAILURE, tidy
from oodbench.results.tables.networks import NetworkBehind, objective_of
from oodbench.results.tables.notes import upside_down_notes
from oodbench.results.tables.summary import SUITE
from oodbench.statistics.differences import Detection, Difference, accuracy_difference, differences

if TYPE_CHECKING:
    from oodbench.detector import Detector

ALIKE = [*SUITE, "seed", "limit", "images", "unlike"]
"""Columns in which two cells must agree to be a pair."""

KEPT = "kept"
"""The column that says whether the network is kept for everybody; each method has its own, never the same file."""

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


def paired_differences(
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
    paired_results: dict[int, _Result] = {}
    for result in (result for result in results if result.detector != name):
        try:
            base = _find_partner(result, bases, detectors)
            part, sentences = _subtract(result, base, convention)
        except _UnpairedError as reason:
            left_out.append(f"Not compared: {result.title}: {reason}.")
            continue
        left_out += sentences
        if len(part):
            parts.append(_add_sides(part, result, base, detectors))
            paired_results |= {id(side): side for side in (base, result)}
    if not parts:
        why = " ".join(left_out) or "there are no results of another detector."
        raise OodbenchError(f"nothing can be compared with {name}: {why}")
    left_out += [line for side in paired_results.values() for line in side.wrong_sign_notes()]
    return Paired(pd.concat(parts, ignore_index=True).assign(**{BASE: name}), tuple(left_out))


def result_difference(
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
    rows, left_out = _subtract(_Result.from_frame(one, frame), _Result.from_frame(other, other_frame), "default")
    return rows, tuple(left_out)


class _UnpairedError(Exception):
    """Two results are not a pair; the message says why."""


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
        result = cls.from_frame(cell, frame)
        if convention != "published" or result.frame.empty:
            return result
        published = detectors[result.detector]
        return replace(result, operating_point=published.operating_point, published=published)

    @classmethod
    def from_frame(cls, cell: Cell, frame: pd.DataFrame) -> _Result:
        """A cell, scores as they are, whose tidy frame is at hand."""
        frame = frame[frame["metric"] != FAILURE].assign(**{KEPT: lambda rows: rows["pretrained"] != ""})
        groups = {(group.task, group.image_set): group for group in cell.scores()}
        return cls(frame, groups, None, None, NetworkBehind.of(cell))

    @property
    def detector(self) -> str:
        return str(self.frame["detector"].iloc[0])

    @property
    def title(self) -> str:
        """Detector, seed and file, for people."""
        return f"{self.detector} ({self.frame['cell'].iloc[0]})"

    @property
    def outdated(self) -> bool:
        """Made by other code than the method has today."""
        return bool(self.column_values(["current"]) == ("no",))

    @property
    def scores(self) -> pd.DataFrame:
        """The figures without those of ID alone."""
        return self.frame[self.frame["metric"] != OF_ID]

    def wrong_sign_notes(self) -> list[str]:
        """A note that its scores seem to be of the wrong sign; none if they do not."""
        return upside_down_notes(self.scores, {str(self.frame["cell"].iloc[0]): self.title})

    def column_values(self, columns: Sequence[str]) -> tuple[Any, ...]:
        return tuple(self.frame[column].iloc[0] for column in columns)

    def compared_id(self, task: str) -> Scores:
        """ID scores that `task` is held against: attacked ones where it attacks them."""
        group = next(group for group in self.groups.values() if group.task == task)
        return compared_id_group(self.groups.values(), group)

    def published_scores(self, task: str, ood: str) -> tuple[Floats, Floats, Floats]:
        """Scores of ID images, of OOD images and of clean ID images, as a table has them in this convention."""
        group, every = self.groups[task, ood], self.groups.values()
        groups = compared_id_group(every, group), group, clean_id_group(every, group)
        sides, _ = published_sides(
            self.published, [Side(group.scores, group.extras, group.attributes) for group in groups]
        )
        return sides[0].scores, sides[1].scores, sides[2].scores

    def detection(self, id_scores: Floats, others: Floats) -> Detection:
        """The detection of `others`, which may be ID images themselves, against ID images."""
        return Detection(id_scores, others, operating_point=self.operating_point)


def _find_partner(result: _Result, bases: Sequence[_Result], detectors: Mapping[str, type[Detector]]) -> _Result:
    """The one result that `result` is held against."""
    name = bases[0].detector
    candidates = [base for base in bases if base.column_values(ALIKE) == result.column_values(ALIKE)]
    candidates = _over_comparable_networks(result, candidates, detectors)
    for column in PREFERRED:
        preferred = [base for base in candidates if base.column_values([column]) == result.column_values([column])]
        candidates = preferred if len(candidates) > 1 and preferred else candidates
    candidates = [base for base in candidates if not base.outdated] or candidates
    if not candidates:
        seed, limit, images = result.column_values(["seed", "limit", "images"])
        sizes = f", {limit} images of each set" * bool(limit) + f", {images} images of each OOD set" * bool(images)
        raise _UnpairedError(
            f"there is no result of {name} with the same suite, seed {seed}{sizes} and the same image sets"
        )
    if len(candidates) > 1:
        names = ", ".join(base.title for base in candidates)
        raise _UnpairedError(
            f"{len(candidates)} results of {name} could be meant ({names}): show one of them and these"
        )
    return candidates[0]


def _over_comparable_networks(
    result: _Result, bases: Sequence[_Result], detectors: Mapping[str, type[Detector]]
) -> list[_Result]:
    """The `bases` that are over the network of `result`, else those whose networks are trained in another way."""
    same_network = [base for base in bases if result.network.is_same_as(base.network)]
    same_network = same_network or [base for base in bases if result.network.trained_as(base.network)]
    other_training = [] if same_network else [base for base in bases if not _trained_alike(result, base, detectors)]
    if bases and not (same_network or other_training):
        networks_text = ", ".join(dict.fromkeys(base.network.called for base in bases))
        raise _UnpairedError(
            f"it is over {result.network.called}, and {bases[0].detector} over {networks_text}, so that a "
            "difference would be that of two networks"
        )
    return same_network or other_training


def _trained_alike(result: _Result, base: _Result, detectors: Mapping[str, type[Detector]]) -> bool:
    """True if both detectors are known to have their networks trained in the same way, such as by cross-entropy."""
    ours, theirs = (objective_of(side.network, side.detector, detectors) for side in (result, base))
    return bool(ours) and ours == theirs


def _add_sides(
    part: pd.DataFrame, result: _Result, base: _Result, detectors: Mapping[str, type[Detector]]
) -> pd.DataFrame:
    """Differences with what must be known of their two sides: whose network is which, and what of them is flagged."""
    side_flags = [replace(flag, of=side.title) for side in (result, base) for flag in find_flags(side.scores)]
    of_task = part["task"].map(partial(flags_json, side_flags))
    return part.assign(**{NETWORKS: _networks_text(result, base, detectors)}).assign(**{CARRIED: of_task})


def _networks_text(result: _Result, base: _Result, detectors: Mapping[str, type[Detector]]) -> str:
    """Name the network of each side and say why they are two; "" where they are one."""
    if result.network.is_same_as(base.network):
        return ""
    text = f"{result.detector} over {result.network.called}, {base.detector} over {base.network.called}"
    if result.network.trained_as(base.network):
        return f"{text}, which were trained alike, and not to the same weights"
    known = all(objective_of(side.network, side.detector, detectors) for side in (result, base))
    if known:
        return f"{text}, which the methods have trained in different ways"
    return f"{text}, of which nobody knows how they were trained"


def _subtract(result: _Result, base: _Result, convention: str) -> tuple[pd.DataFrame, list[str]]:
    """The rows of `result` with differences for values, and what of them could not be compared."""
    difference_of_set: dict[tuple[str, str], Mapping[str, Difference]] = {}
    left_out: dict[str, None] = {}
    measured = set(base.frame[["task", "ood"]].itertuples(index=False, name=None))
    for task, ood in dict.fromkeys(result.frame[["task", "ood"]].itertuples(index=False, name=None)):
        try:
            if (task, ood) not in measured:
                raise _UnpairedError(f"{base.detector} has no scores there")
            difference_of_set[task, ood] = (
                _set_differences(result, base, task, ood, convention) if ood else _accuracy_difference(result, base)
            )
        except _UnpairedError as reason:
            place = f"{task}, {ood}" if ood else "ID accuracy"
            left_out[f"Not compared: {result.title}, {place}: {reason}."] = None
    rows = []
    for _, row in result.frame.iterrows():
        difference = difference_of_set.get((row["task"], row["ood"]), {}).get(row["metric"])
        if difference or row["metric"] == OF_ID:  # of which each cell has a row
            difference = difference or Difference(nan, nan, nan)
            columns = {"value": difference.value, "low": difference.low, "high": difference.high}
            outdated = {"current": "no"} if base.outdated else {}
            rows.append({**row, **columns, **outdated, "detector": f"{result.detector} − {base.detector}"})
    compared_sets = any(ood for _, ood in difference_of_set)
    return pd.DataFrame(rows if compared_sets else [], columns=result.frame.columns), list(left_out)


def _set_differences(result: _Result, base: _Result, task: str, ood: str, convention: str) -> dict[str, Difference]:
    ours, theirs = result.groups[task, ood], base.groups[task, ood]
    id_groups = result.compared_id(task), base.compared_id(task)
    _require_same(ours, theirs)
    _require_same(*id_groups)
    our_scores, their_scores = result.published_scores(task, ood), base.published_scores(task, ood)
    metric_differences = differences(result.detection(*our_scores[:2]), base.detection(*their_scores[:2]), convention)
    clean_groups = clean_id_group(result.groups.values(), ours), clean_id_group(base.groups.values(), theirs)
    if id_groups[0] is clean_groups[0] or id_groups[1] is clean_groups[1]:
        return metric_differences
    _require_same(*clean_groups)
    # At the threshold of clean ID images: OOD images accepted, and attacked ID images kept.
    accepted, kept = (
        differences(
            result.detection(our_scores[2], our_scores[side]),
            base.detection(their_scores[2], their_scores[side]),
            convention,
        )["fpr95"]
        for side in (1, 0)
    )
    return metric_differences | {"fpr95_clean": accepted, "fnr_clean": Difference(-kept.value, -kept.high, -kept.low)}


def _accuracy_difference(result: _Result, base: _Result) -> dict[str, Difference]:
    ours, theirs = plain_id_group(result.groups.values()), plain_id_group(base.groups.values())
    _require_same(ours, theirs)
    our_right, their_right = (right_predictions(group.predictions, group.labels) for group in (ours, theirs))
    if not (len(our_right) and len(their_right) and np.array_equal(ours.labels, theirs.labels)):
        raise _UnpairedError("their images have no labels, or not the same")
    return {OF_ID: accuracy_difference(our_right, their_right)}


def _require_same(ours: Scores, theirs: Scores) -> None:
    """See to it that two groups are of the same images and, where these were altered, altered by the same rules."""
    prints = [str(group.attributes.get("fingerprint", "")) for group in (ours, theirs)]
    if not np.array_equal(ours.indices, theirs.indices) or (all(prints) and prints[0] != prints[1]):
        raise _UnpairedError(f"the images of {ours.image_set} are not the same")
    rules = [str(group.attributes.get("constants", "")) for group in (ours, theirs)]
    if all(rules) and rules[0] != rules[1]:
        raise _UnpairedError(f"{ours.task} was another task: {rules[0]} against {rules[1]}")
