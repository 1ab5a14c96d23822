"""Two results folders side by side: what the figures of a detector in both differ by, and what else is different."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from oodbench.results import tables
from oodbench.results.report.model import ComparedRow, Comparison, Delta, Row
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
    board = _board_identity(results[0])
    candidates = [other for other in others if _board_identity(other) == board and len(other.scores)]
    if not candidates:
        return None
    pairs = [_find_partners(result, candidates) for result in results]
    paired = {id(other) for partners in pairs for other in partners}
    return Comparison(
        name,
        [
            _compare_row(row.name, result, partners, views)
            for row, result, partners in zip(rows, results, pairs, strict=True)
            if partners
        ],
        [row.name for row, partners in zip(rows, pairs, strict=True) if not partners],
        [_result_name(other) for other in candidates if id(other) not in paired],
    )


def _board_identity(result: Result) -> tuple[str, ...]:
    return tuple(str(result.attributes.get(attribute, "")) for attribute in ("suite", "limit", "images", "unlike"))


def _result_name(result: Result) -> str:
    notes = [f"seed {result.attributes['seed']}", *filter(None, [str(result.attributes.get("settings", ""))])]
    return f"{result.attributes['detector']} ({', '.join(notes)})"


def _find_partners(result: Result, others: Sequence[Result]) -> list[Result]:
    """The other result that is the same but for what may have changed; several where that is not clear."""
    candidates = [other for other in others if _attribute_texts(other, SAME) == _attribute_texts(result, SAME)]
    for name in PREFERRED:
        if len(candidates) > 1:
            candidates = [
                other for other in candidates if _attribute_texts(other, (name,)) == _attribute_texts(result, (name,))
            ] or candidates
    return candidates


def _attribute_texts(result: Result, names: Sequence[str]) -> tuple[str, ...]:
    return tuple(str(result.attributes.get(name, "")) for name in names)


def _compare_row(
    name: str, result: Result, partners: Sequence[Result], views: Mapping[str, Sequence[str]]
) -> ComparedRow:
    if len(partners) > 1:
        files = ", ".join(sorted(partner.cell.path.name for partner in partners))
        return ComparedRow(name, {}, {}, [], [f"{len(partners)} results there could be meant ({files})"])
    partner = partners[0]
    if _attribute_texts(result, ("suite_fingerprint",)) != _attribute_texts(partner, ("suite_fingerprint",)):
        versions = [f"version {side.attributes['suite_version']}" for side in (result, partner)]
        prints = [f"fingerprint {str(side.attributes['suite_fingerprint'])[:8]}" for side in (result, partner)]
        texts = [" with ".join(side) for side in zip(versions, prints, strict=True)]
        return ComparedRow(name, {}, {}, [], [f"another suite of the same name: {texts[0]} here, {texts[1]} there"])
    frame, left_out = tables.result_difference(result.cell, result.scores, partner.cell, partner.scores)
    values = {str(task): part for task, part in partner.scores.groupby("task", sort=False)}
    deltas = {str(task): part for task, part in frame.groupby("task", sort=False)}
    return ComparedRow(
        name,
        {task: {view: means_of(part, set(sets)) for view, sets in views.items()} for task, part in values.items()},
        {task: {view: _delta(part, set(sets)) for view, sets in views.items()} for task, part in deltas.items()},
        _changed_provenance(provenance(result), provenance(partner)),
        [text.removeprefix("Not compared: ").rstrip(".") for text in left_out],
        signs_of(partner.scores, views),
        flags_of(tables.find_flags(partner.scores)),
    )


def _delta(part: pd.DataFrame, sets: set[str]) -> dict[str, Delta] | None:
    """Unweighted over `sets`, as values are; None where one of them could not be compared."""
    chosen = part[part["ood"].isin(sets)]
    if set(chosen["ood"]) != sets:
        return None
    deltas = {}
    for metric in LEADING:
        of_metric = chosen[chosen["metric"] == metric]
        deltas[metric] = Delta(*(float(np.mean(of_metric[name].to_numpy(float))) for name in NUMBERS))
    return deltas


def _changed_provenance(ours: Mapping[str, str], theirs: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """Heading, text here and text there of what differs in what two rows rest on; of lists, the lines that differ."""
    changes = []
    for heading in dict.fromkeys([*ours, *theirs]):
        here, there = (side.get(heading, "").splitlines() for side in (ours, theirs))
        if heading not in EXPECTED and here != there:
            differing = [
                "\n".join(line for line in lines if line not in other_lines)
                for lines, other_lines in ((here, there), (there, here))
            ]
            changes.append((heading, differing[0] or "none", differing[1] or "none"))
    return changes
