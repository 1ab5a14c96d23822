"""Two results folders side by side: what the figures of a detector in both differ by, and what else is different."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from oodbench.results import tables
from oodbench.results.report.model import Compared, Comparison, Delta, Row
from oodbench.results.report.rows import (
    LEADING,
    NUMBERS,
    Result,
    flags_of,
    means_of,
    provenance,
    signs_of,
)
from oodbench.results.store import Cell

SAME = ("suite", "detector", "seed", "settings", "limit", "images", "unlike")
"""Attributes in which two results must agree to be called the same."""

PREFERRED = ("suite_fingerprint", "pretrained", "parameters", "network_digest", "code")
"""Attributes that decide, one after the other, where several results could be meant."""

EXPECTED = ("measured", "file", "cost of attacks")
"""Headings of a row's provenance that two runs never have alike."""


@dataclass(frozen=True)
class Other:
    """The results that others are held against.

    Attributes:
        name: of their folder, for people.
        cells: what is in it.
    """

    name: str
    cells: Sequence[Cell]


def comparison(
    name: str,
    results: Sequence[Result],
    rows: Sequence[Row],
    views: Mapping[str, Sequence[str]],
    others: Sequence[Result],
) -> Comparison | None:
    """The rows of a board beside those of `others`; None where nothing there is of the board's suite and images.

    Args:
        name: of the folder that `others` come from.
        results: behind `rows`, in their order.
        rows: of the board.
        views: OOD sets by what values are averaged over.
        others: what the folder holds.
    """
    board = _place(results[0])
    there = [other for other in others if _place(other) == board and len(other.scores)]
    if not there:
        return None
    pairs = [_partners(result, there) for result in results]
    met = {id(other) for partners in pairs for other in partners}
    return Comparison(
        name,
        [
            _compared(row.name, result, partners, views)
            for row, result, partners in zip(rows, results, pairs, strict=True)
            if partners
        ],
        [row.name for row, partners in zip(rows, pairs, strict=True) if not partners],
        [_called(other) for other in there if id(other) not in met],
    )


def _place(result: Result) -> tuple[str, ...]:
    return tuple(str(result.attributes.get(each, "")) for each in ("suite", "limit", "images", "unlike"))


def _called(result: Result) -> str:
    notes = [f"seed {result.attributes['seed']}", *filter(None, [str(result.attributes.get("settings", ""))])]
    return f"{result.attributes['detector']} ({', '.join(notes)})"


def _partners(result: Result, others: Sequence[Result]) -> list[Result]:
    """The other result that is the same but for what may have changed; several where that is not clear."""
    found = [other for other in others if _about(other, SAME) == _about(result, SAME)]
    for name in PREFERRED:
        if len(found) > 1:
            found = [other for other in found if _about(other, (name,)) == _about(result, (name,))] or found
    return found


def _about(result: Result, names: Sequence[str]) -> tuple[str, ...]:
    return tuple(str(result.attributes.get(name, "")) for name in names)


def _compared(name: str, result: Result, partners: Sequence[Result], views: Mapping[str, Sequence[str]]) -> Compared:
    if len(partners) > 1:
        files = ", ".join(sorted(partner.cell.path.name for partner in partners))
        return Compared(name, {}, {}, [], [f"{len(partners)} results there could be meant ({files})"])
    other = partners[0]
    if _about(result, ("suite_fingerprint",)) != _about(other, ("suite_fingerprint",)):
        versions = [f"version {each.attributes['suite_version']}" for each in (result, other)]
        prints = [f"fingerprint {str(each.attributes['suite_fingerprint'])[:8]}" for each in (result, other)]
        said = [" with ".join(each) for each in zip(versions, prints, strict=True)]
        return Compared(name, {}, {}, [], [f"another suite of the same name: {said[0]} here, {said[1]} there"])
    frame, left_out = tables.between(result.cell, result.scores, other.cell, other.scores)
    values = {str(task): part for task, part in other.scores.groupby("task", sort=False)}
    deltas = {str(task): part for task, part in frame.groupby("task", sort=False)}
    return Compared(
        name,
        {task: {view: means_of(part, set(sets)) for view, sets in views.items()} for task, part in values.items()},
        {task: {view: _delta(part, set(sets)) for view, sets in views.items()} for task, part in deltas.items()},
        _changed(provenance(result), provenance(other)),
        [text.removeprefix("Not compared: ").rstrip(".") for text in left_out],
        signs_of(other.scores, views),
        flags_of(tables.flagged(other.scores)),
    )


def _delta(part: pd.DataFrame, sets: set[str]) -> dict[str, Delta] | None:
    """Unweighted over `sets`, as values are; None where one of them could not be compared."""
    chosen = part[part["ood"].isin(sets)]
    if set(chosen["ood"]) != sets:
        return None
    found = {}
    for metric in LEADING:
        of_metric = chosen[chosen["metric"] == metric]
        found[metric] = Delta(*(float(np.mean(of_metric[name].to_numpy(float))) for name in NUMBERS))
    return found


def _changed(ours: Mapping[str, str], theirs: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """Heading, text here and text there of what differs in what two rows rest on; of lists, the lines that differ."""
    found = []
    for heading in dict.fromkeys([*ours, *theirs]):
        here, there = (each.get(heading, "").splitlines() for each in (ours, theirs))
        if heading not in EXPECTED and here != there:
            lacking = [
                "\n".join(line for line in one if line not in other) for one, other in ((here, there), (there, here))
            ]
            found.append((heading, lacking[0] or "none", lacking[1] or "none"))
    return found
