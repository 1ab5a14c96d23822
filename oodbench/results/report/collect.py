"""Stored results to boards: which rows may stand together, what they are called and what values are averaged over."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pandas as pd

from oodbench.basics.errors import OodbenchError
from oodbench.results import tables
from oodbench.results.report.against import Other, comparison
from oodbench.results.report.model import Board, Row, Task
from oodbench.results.report.rows import Result, read
from oodbench.results.report.rows import row as make_row
from oodbench.results.report.sheets import BUDGET, Originals
from oodbench.results.report.verdict import verdict
from oodbench.results.store import Cell
from oodbench.suitefiles import settings
from oodbench.suitefiles.selection import curves
from oodbench.tasks import STORED

if TYPE_CHECKING:
    from oodbench.detector import Detector


def boards(
    cells: Sequence[Cell],
    data: Path,
    detectors: Mapping[str, type[Detector]] | None = None,
    other: Other | None = None,
) -> list[Board]:
    """One board a suite and choice of images, the rows of each in the order of `cells`; whole suites as they are first.

    Args:
        cells: what to show.
        data: the folder in which images before an attack are looked for.
        detectors: by name, as they are today: of two states of a method's code, theirs counts.
        other: results to put beside these.

    Raises:
        OodbenchError: a cell is damaged, no run wrote it, none holds a score of an OOD image, or none is of the same
            suite and images as one of `other`.
    """
    everything = read(cells, detectors or {})
    # A run that was stopped before its first task leaves nothing to show.
    results = sorted((result for result in everything if len(result.scores)), key=_board_key)
    troubled = [result for result in everything if result.trouble]
    if not results:
        said = "".join(f"; {name} {why}" for name, why in map(_troubled, troubled))
        raise OodbenchError(f"no OOD image has a score yet: let `oodbench run` finish one task at least{said}")
    originals = Originals(data)
    attacks = sum(result.scores[result.scores["looks"] > 0]["task"].nunique() for result in results)
    share = BUDGET // max(1, attacks)
    parts = [list(part) for _, part in groupby(results, key=_board_key)]
    parts.sort(key=lambda part: _changed([result.attributes for result in part]))
    homes = [_home(result, parts) for result in troubled]
    extents = _extents([[result.attributes for result in part] for part in parts])
    theirs = read(other.cells, detectors or {}) if other else []
    found = [
        _board(
            part,
            extent,
            [_troubled(result) for result, home in zip(troubled, homes, strict=True) if home == number],
            originals,
            share,
            (other.name if other else "", theirs),
        )
        for number, (part, extent) in enumerate(zip(parts, extents, strict=True))
    ]
    if other and not any(board.against for board in found):
        raise OodbenchError(
            f"nothing in {other.name} can stand beside these results: it holds none of the same suite, on as many "
            f"images; here are {', '.join(dict.fromkeys(f'{board.suite} ({board.extent})' for board in found))}"
        )
    return found


def _board_key(result: Result) -> tuple[str, ...]:
    """Equal where values may stand in one column: same suite, same images."""
    names = ("suite", "suite_version", "suite_fingerprint", "limit", "images", "unlike")
    return tuple(str(result.attributes.get(name, "")) for name in names)


def _home(troubled: Result, parts: Sequence[Sequence[Result]]) -> int:
    """The board on which a trouble is told: its own, or else the nearest to it, so that it is told at all."""
    key = _board_key(troubled)

    def alike(number: int) -> tuple[int, int]:
        other = _board_key(parts[number][0])
        return sum(one == two for one, two in zip(key, other, strict=True)) + 10 * (key[0] == other[0]), -number

    return max(range(len(parts)), key=alike)


def _troubled(result: Result) -> tuple[str, str]:
    """What a detector that failed or whose scores are stale is called, and what is the matter."""
    about = result.attributes
    notes = [f"seed {about['seed']}", *filter(None, [str(about.get("settings", ""))])]
    notes += [f"{about['limit']} images"] if about["limit"] else []
    notes += tables.named_network(about)
    return f"{about['detector']} ({', '.join(notes)})", result.trouble


def _board(
    results: Sequence[Result],
    extent: str,
    troubled: Sequence[tuple[str, str]],
    originals: Originals,
    share: int,
    other: tuple[str, Sequence[Result]],
) -> Board:
    scores = pd.concat([result.scores for result in results])
    views = _views(scores)
    about = [result.attributes for result in results]
    apart = _apart(results)
    names = _names(about, [result.cell.path.stem for result in results], _shared_settings(about))
    called = {str(result.frame["cell"].iloc[0]): name for result, name in zip(results, names, strict=True)}
    rows = [
        make_row(result, name, views, own, originals, share)
        for result, name, own in zip(results, names, apart, strict=True)
    ]
    tasks = _tasks(rows)
    return Board(
        str(results[0].attributes["suite"]),
        extent,
        _changed(about),
        troubled,
        _summary(rows, scores),
        {view: verdict(rows, tasks, view) for view in views},
        _basis(scores) | _gaps(scores, called),
        views,
        tasks,
        rows,
        comparison(other[0], results, rows, views, other[1]),
    )


def _apart(results: Sequence[Result]) -> list[dict[str, str]]:
    """Why each row is held against no other, by task."""
    frame = tables.threats_apart(pd.concat([result.frame for result in results]))
    standings = tables.standings(frame[frame["metric"] != tables.FAILURE])
    stored = {
        (cell, task): named for cell, task, named in zip(frame["cell"], frame["task"], frame["named"], strict=True)
    }
    found: list[dict[str, str]] = []
    for result in results:
        cell = str(result.frame["cell"].iloc[0])
        own = {key: standing.apart for key, standing in standings.items() if key[0] == cell and standing.apart}
        found.append({str(stored[key]): why for key, why in own.items()})
    return found


def _shared_settings(attributes: Sequence[Mapping[str, Any]]) -> list[str]:
    """Settings that every row of a board has."""
    each = [settings.texts(str(about.get("settings", ""))) for about in attributes]
    return [text for text in each[0] if all(text in other for other in each)]


def _changed(attributes: Sequence[Mapping[str, Any]]) -> bool:
    """A board is not the whole suite as it is."""
    first = attributes[0]
    fewer = any(first.get(name) for name in ("limit", "images", "unlike"))
    return fewer or bool(_shared_settings(attributes))


def _extents(boards: Sequence[Sequence[Mapping[str, Any]]]) -> list[str]:
    """How much of its suite each board is, and what all of its rows changed; never the same of two boards."""
    texts = [_extent(attributes) for attributes in boards]
    counts = Counter((about[0]["suite"], text) for about, text in zip(boards, texts, strict=True))
    return [
        f"{text}, fingerprint {about[0]['suite_fingerprint'][:8]}" if counts[about[0]["suite"], text] > 1 else text
        for about, text in zip(boards, texts, strict=True)
    ]


def _extent(attributes: Sequence[Mapping[str, Any]]) -> str:
    first = attributes[0]
    parts = [f"version {first['suite_version']}", *_shared_settings(attributes)]
    networks = {tuple(tables.named_network(about)) for about in attributes}
    parts += [name for names in networks if len(networks) == 1 for name in names]
    parts += [f"{first['limit']} images of each set"] if first["limit"] else []
    parts += [f"{first['images']} images of each OOD set"] if first["images"] else []
    parts += [str(first["unlike"])] if first.get("unlike") else []
    return ", ".join(parts)


def _summary(rows: Sequence[Row], scores: pd.DataFrame) -> str:
    count = scores["detector"].nunique()
    verb = "tells" if count == 1 else "tell"
    return (
        f"How well {_counted(count, 'detector')} {verb} {_counted(rows[0].n_id, 'image')} of "
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
    """The means of the suite over those of their sets that were measured, and each of these sets by itself.

    Means of the same sets stand there once. One that lacks sets says how many it has; a row that lacks sets which
    others have has no such mean, so that all values of a view are over the same sets.
    """
    views: dict[str, list[str]] = {}
    there = set(scores["ood"])
    known = tables.means(scores)
    for name, sets in known.items():
        own = [ood for ood in sets if ood in there]
        whole = own == sets
        if own and own not in views.values() and (whole or own not in known.values()):
            views[f"{name} sets" if whole else f"{name} sets ({len(own)} of {len(sets)})"] = own
    return views | {str(ood): [str(ood)] for ood in scores["ood"].unique()}


def _gaps(scores: pd.DataFrame, names: Mapping[str, str]) -> dict[str, str]:
    """Which of the suite's OOD sets nobody measured, and which ones rows lack that others have, in words by heading.

    Args:
        scores: rows of a tidy frame.
        names: what the row of each cell is called.
    """
    wanted, there = tables.means(scores).get("all", []), set(scores["ood"])
    gone = [ood for ood in wanted if ood not in there]
    rows = scores.groupby(["cell", "task"], sort=False)["ood"]
    lacking = [
        f"{names[cell]}, {task}: {', '.join(missing)}"
        for (cell, task), part in cast("Iterable[tuple[tuple[str, str], pd.Series[str]]]", rows)
        if (missing := [ood for ood in wanted if ood in there - set(part)])
    ]
    found = {"OOD sets of the suite that are left out": ", ".join(gone)}
    found["rows that lack OOD sets, and have no mean over them"] = "; ".join(lacking)
    return {heading: text for heading, text in found.items() if text}


def _tasks(rows: Sequence[Row]) -> list[Task]:
    tasks = []
    points = curves(_one_radius(rows))
    for name in dict.fromkeys(task for row in rows for task in row.threats):
        having = [row for row in rows if name in row.threats]
        point, radius = points.get(name, ("", 0))
        tasks.append(
            Task(
                name=name,
                threats=_threats(name, having),
                clean=all(row.constants[name].get("kind") == "clean" for row in having),
                attack=any(_attacks(row.constants[name]) for row in having),
                curve=point if point != name else "",
                point=point,
                radius=radius,
            )
        )
    return tasks


def _one_radius(rows: Sequence[Row]) -> dict[str, int]:
    """The radius of each task, in 1/255; those that had several under one name are points of no curve."""
    radii: dict[str, set[int]] = {}
    for row in rows:
        for task, about in row.constants.items():
            radii.setdefault(task, set()).add(int(about.get("epsilon", 0)))
    return {task: next(iter(found)) for task, found in radii.items() if len(found) == 1}


def _attacks(constants: Mapping[str, Any]) -> bool:
    """Images were moved inside a ball; what is guaranteed of a ball moves none."""
    kind = STORED.get(str(constants.get("kind", "")))
    return constants.get("epsilon", 0) > 0 and not (kind and kind.certifies)


def _threats(task: str, rows: Sequence[Row]) -> list[str]:
    """What a task did, in words; where rows differ in what words do not say, their constants."""
    words = list(dict.fromkeys(row.threats[task] for row in rows))
    constants = list(dict.fromkeys(json.dumps(row.constants[task], sort_keys=True) for row in rows))
    return words if len(words) > 1 or len(constants) == 1 else constants


def _names(attributes: Sequence[Mapping[str, Any]], stems: Sequence[str], shared: Collection[str]) -> list[str]:
    """What each row is called: its detector, what sets it apart, and settings but for those `shared` by the board."""
    names = []
    for each in attributes:
        rivals = [other for other in attributes if other["detector"] == each["detector"]]
        seeds, networks = {rival["seed"] for rival in rivals}, {(*tables.named_network(rival),) for rival in rivals}
        notes = [f"seed {each['seed']}"] if len(seeds) > 1 else []
        notes += tables.named_network(each) if len(networks) > 1 else []
        notes += [text for text in settings.texts(str(each.get("settings", ""))) if text not in shared]
        notes += ["tuned on ID test images"] if '"source": "id-test"' in str(each.get("tuned", "")) else []
        names.append(f"{each['detector']} ({', '.join(notes)})" if notes else str(each["detector"]))
    alike = {name for name, count in Counter(names).items() if count > 1}
    # The same settings, but other code, parameters or data behind them: the key in the file's name tells them apart.
    return [
        f"{name} {stem.rpartition('-')[2][:6]}" if name in alike else name
        for name, stem in zip(names, stems, strict=True)
    ]
