"""Stored results to boards: which rows may stand together, what they are called and what values are averaged over."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import pandas as pd

from oodbench import tables
from oodbench.errors import OodbenchError
from oodbench.report.model import Board, Row, Task
from oodbench.report.rows import Result, read
from oodbench.report.rows import row as make_row
from oodbench.report.sheets import BUDGET, Originals
from oodbench.store import Cell
from oodbench.variation import curve_of

ALL = "all sets"
"""The view that averages over every OOD set that does not stand aside."""

APART = {
    "seed": "seed {}",
    "settings": "{}",
    "checkpoint": "checkpoint {}",
}
"""What may set rows of one board apart, and how a name says it."""


def boards(cells: Sequence[Cell], data: Path) -> list[Board]:
    """One board a suite and choice of images, the rows of each in the order of `cells`.

    Args:
        cells: what to show.
        data: the folder in which images before an attack are looked for.

    Raises:
        OodbenchError: a cell is damaged or there twice, no run wrote it, or none holds a score of an OOD image.
    """
    tables.require_distinct(cells)
    # A run that was stopped before its first task leaves nothing to show.
    results = sorted((result for result in map(read, cells) if len(result.scores)), key=_board_key)
    if not results:
        raise OodbenchError("no OOD image has a score yet: let `oodbench run` finish one task at least")
    originals = Originals(data)
    attacks = sum(result.scores[result.scores["looks"] > 0]["task"].nunique() for result in results)
    share = BUDGET // max(1, attacks)
    return [_board(list(part), originals, share) for _, part in groupby(results, key=_board_key)]


def _board_key(result: Result) -> tuple[str, ...]:
    """Equal where values may stand in one column: same suite, same images."""
    names = ("suite", "suite_version", "suite_fingerprint", "limit", "images", "unlike")
    return tuple(str(result.attributes.get(name, "")) for name in names)


def _board(results: Sequence[Result], originals: Originals, share: int) -> Board:
    scores = pd.concat([result.scores for result in results])
    views = _views(scores)
    names = _names([result.attributes for result in results], [result.cell.path.stem for result in results])
    expected = {str(task): set(part["ood"]) for task, part in scores.groupby("task")}
    rows = [
        make_row(result, name, views, expected, originals, share) for result, name in zip(results, names, strict=True)
    ]
    return Board(
        str(results[0].attributes["suite"]),
        _extent(results[0].attributes),
        _summary(rows, scores),
        _basis(scores),
        views,
        _tasks(rows),
        rows,
    )


def _extent(attributes: Mapping[str, Any]) -> str:
    """How much of its suite a board is."""
    parts = [f"version {attributes['suite_version']}"]
    parts += [f"first {attributes['limit']} images of each set"] if attributes["limit"] else []
    parts += [f"{attributes['images']} images of each OOD set"] if attributes["images"] else []
    parts += [str(attributes["unlike"])] if attributes.get("unlike") else []
    return ", ".join(parts)


def _summary(rows: Sequence[Row], scores: pd.DataFrame) -> str:
    return (
        f"How well {_counted(scores['detector'].nunique(), 'detector')} tell {_counted(rows[0].n_id, 'image')} of "
        f"{rows[0].id_set} (in-distribution, ID) from {_counted(scores['ood'].nunique(), 'set')} of others "
        f"(out-of-distribution, OOD), under {_counted(scores['task'].nunique(), 'task')}."
    )


def _basis(scores: pd.DataFrame) -> dict[str, str]:
    sets = scores.drop_duplicates("ood")[["ood", "distance", "n_ood"]].itertuples(index=False)
    days = sorted({str(date)[:10] for date in scores["date"]})
    machines = sorted(set(scores["hardware"] + ", torch " + scores["torch"]))
    basis = {
        "OOD sets": ", ".join(f"{ood} ({distance}, {_counted(count, 'image')})" for ood, distance, count in sets),
        "measured": f"{' to '.join(dict.fromkeys([days[0], days[-1]]))} on {'; '.join(machines)}",
    }
    if scores["low"].notna().any():
        basis["intervals"] = (
            "95 % over images, 1,000 bootstrap resamples; over several sets their mean, as if all erred together"
        )
    return basis


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _views(scores: pd.DataFrame) -> dict[str, list[str]]:
    """All sets but those aside, those of each distance if there are several, and each by itself."""
    every = {str(ood): str(distance) for ood, distance in scores[["ood", "distance"]].itertuples(index=False)}
    beside = tables.aside(scores)
    distances = {ood: distance for ood, distance in every.items() if ood not in beside}
    kinds = dict.fromkeys(distances.values())
    views = {ALL: list(distances)}
    if len(kinds) > 1:
        views |= {f"{kind} sets": [ood for ood, distance in distances.items() if distance == kind] for kind in kinds}
    return views | {ood: [ood] for ood in every}


def _tasks(rows: Sequence[Row]) -> list[Task]:
    tasks = []
    for name in dict.fromkeys(task for row in rows for task in row.threats):
        having = [row for row in rows if name in row.threats]
        curve, radius = curve_of(name) or ("", 0)
        tasks.append(
            Task(
                name=name,
                threats=list(dict.fromkeys(row.threats[name] for row in having)),
                clean=all(row.constants[name].get("kind") == "clean" for row in having),
                attack=any(row.constants[name].get("epsilon", 0) > 0 for row in having),
                curve=curve,
                radius=radius,
            )
        )
    return tasks


def _names(attributes: Sequence[Mapping[str, Any]], stems: Sequence[str]) -> list[str]:
    """What each row is called: its detector, and whatever sets rows of the board apart."""
    differing = [name for name in APART if len({each.get(name, "") for each in attributes}) > 1]
    names = []
    for each in attributes:
        notes = [APART[name].format(Path(str(each[name])).name) for name in differing if each.get(name)]
        notes += ["tuned on ID test images"] if '"source": "id-test"' in str(each.get("tuned", "")) else []
        names.append(f"{each['detector']} ({', '.join(notes)})" if notes else str(each["detector"]))
    shared = {name for name, count in Counter(names).items() if count > 1}
    # The same settings, but other code, parameters or data behind them: the key in the file's name tells them apart.
    return [
        f"{name} {stem.rpartition('-')[2][:6]}" if name in shared else name
        for name, stem in zip(names, stems, strict=True)
    ]
