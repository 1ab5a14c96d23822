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
from oodbench.variation import curves

APART = {
    "seed": "seed {}",
    "checkpoint": "checkpoint {}",
}
"""What may set rows of one detector apart, and how a name says it."""


def boards(cells: Sequence[Cell], data: Path) -> list[Board]:
    """One board a suite and choice of images, the rows of each in the order of `cells`.

    Args:
        cells: what to show.
        data: the folder in which images before an attack are looked for.

    Raises:
        OodbenchError: a cell is damaged or there twice, no run wrote it, or none holds a score of an OOD image.
    """
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
    rows = [make_row(result, name, views, originals, share) for result, name in zip(results, names, strict=True)]
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
    parts += [f"{attributes['limit']} images of each set"] if attributes["limit"] else []
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
    if said := tables.about_attacked_id(scores):
        basis["attacked ID images"] = " ".join(said).rstrip(".")
    if scores["low"].notna().any():
        basis["intervals"] = (
            "95 %, for endless images of these kinds, of which the ones scored are a sample; over several sets their "
            "mean, as if all erred together"
        )
    return basis


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _views(scores: pd.DataFrame) -> dict[str, list[str]]:
    """The means of the suite, those of the same sets once, and each set that was measured by itself.

    A mean names all of its sets, measured or not: as in a table, what lacks one of them has no mean.
    """
    views: dict[str, list[str]] = {}
    for name, sets in tables.means(scores).items():
        if sets not in views.values():
            views[f"{name} sets"] = sets
    return views | {str(ood): [str(ood)] for ood in scores["ood"].unique()}


def _tasks(rows: Sequence[Row]) -> list[Task]:
    tasks = []
    points = curves({task: int(about.get("epsilon", 0)) for row in rows for task, about in row.constants.items()})
    for name in dict.fromkeys(task for row in rows for task in row.threats):
        having = [row for row in rows if name in row.threats]
        point, radius = points.get(name, ("", 0))
        tasks.append(
            Task(
                name=name,
                threats=list(dict.fromkeys(row.threats[name] for row in having)),
                clean=all(row.constants[name].get("kind") == "clean" for row in having),
                attack=any(row.constants[name].get("epsilon", 0) > 0 for row in having),
                curve=point if point != name else "",
                point=point,
                radius=radius,
            )
        )
    return tasks


def _names(attributes: Sequence[Mapping[str, Any]], stems: Sequence[str]) -> list[str]:
    """What each row is called: its detector, what sets rows of one detector apart, settings unless all share them."""
    changed = len({each.get("settings", "") for each in attributes}) > 1
    names = []
    for each in attributes:
        rivals = [other for other in attributes if other["detector"] == each["detector"]]
        differing = [name for name in APART if len({rival.get(name, "") for rival in rivals}) > 1]
        notes = [APART[name].format(Path(str(each[name])).name) for name in differing if each.get(name)]
        notes += [str(each["settings"])] if changed and each.get("settings") else []
        notes += ["tuned on ID test images"] if '"source": "id-test"' in str(each.get("tuned", "")) else []
        names.append(f"{each['detector']} ({', '.join(notes)})" if notes else str(each["detector"]))
    shared = {name for name, count in Counter(names).items() if count > 1}
    # The same settings, but other code, parameters or data behind them: the key in the file's name tells them apart.
    return [
        f"{name} {stem.rpartition('-')[2][:6]}" if name in shared else name
        for name, stem in zip(names, stems, strict=True)
    ]
