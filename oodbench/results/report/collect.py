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
    all_results = read(cells, detectors or {})
    # A run that was stopped before its first task leaves nothing to show.
    results = sorted((result for result in all_results if len(result.scores)), key=_board_key)
    troubled = [result for result in all_results if result.trouble]
    if not results:
        troubles_text = "".join(f"; {name} {why}" for name, why in map(_named_trouble, troubled))
        raise OodbenchError(f"no OOD image has a score yet: let `oodbench run` finish one task at least{troubles_text}")
    originals = Originals(data)
    attacks = sum(result.scores[result.scores["looks"] > 0]["task"].nunique() for result in results)
    share = BUDGET // max(1, attacks)
    parts = [list(part) for _, part in groupby(results, key=_board_key)]
    parts.sort(key=lambda part: _is_changed([result.attributes for result in part]))
    homes = [_board_number(result, parts) for result in troubled]
    extents = _extent_texts([[result.attributes for result in part] for part in parts])
    other_results = read(other.cells, detectors or {}) if other else []
    report_boards = [
        _board(
            part,
            extent,
            [_named_trouble(result) for result, home in zip(troubled, homes, strict=True) if home == number],
            originals,
            share,
            (other.name if other else "", other_results),
        )
        for number, (part, extent) in enumerate(zip(parts, extents, strict=True))
    ]
    if other and not any(board.against for board in report_boards):
        raise OodbenchError(
            f"nothing in {other.name} can stand beside these results: it holds none of the same suite, on as many "
            f"images; here are {', '.join(dict.fromkeys(f'{board.suite} ({board.extent})' for board in report_boards))}"
        )
    return report_boards


def _board_key(result: Result) -> tuple[str, ...]:
    """Equal where values may stand in one column: same suite, same images."""
    names = ("suite", "suite_version", "suite_fingerprint", "limit", "images", "unlike")
    return tuple(str(result.attributes.get(name, "")) for name in names)


def _board_number(troubled: Result, parts: Sequence[Sequence[Result]]) -> int:
    """The board on which a trouble is told: its own, or else the nearest to it, so that it is told at all."""
    key = _board_key(troubled)

    def likeness(number: int) -> tuple[int, int]:
        other = _board_key(parts[number][0])
        return sum(own == others for own, others in zip(key, other, strict=True)) + 10 * (key[0] == other[0]), -number

    return max(range(len(parts)), key=likeness)


def _named_trouble(result: Result) -> tuple[str, str]:
    """The name of a detector that failed or whose scores are stale, and its trouble."""
    attributes = result.attributes
    notes = [f"seed {attributes['seed']}", *filter(None, [str(attributes.get("settings", ""))])]
    notes += [f"{attributes['limit']} images"] if attributes["limit"] else []
    notes += tables.network_notes(attributes)
    return f"{attributes['detector']} ({', '.join(notes)})", result.trouble


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
    attributes = [result.attributes for result in results]
    apart = _reasons_apart(results)
    names = _row_names(attributes, [result.cell.path.stem for result in results], _shared_settings(attributes))
    titles = {str(result.frame["cell"].iloc[0]): name for result, name in zip(results, names, strict=True)}
    rows = [
        make_row(result, name, views, reasons, originals, share)
        for result, name, reasons in zip(results, names, apart, strict=True)
    ]
    tasks = _tasks(rows)
    return Board(
        str(results[0].attributes["suite"]),
        extent,
        _is_changed(attributes),
        troubled,
        _summary_text(rows, scores),
        {view: verdict(rows, tasks, view) for view in views},
        _basis_texts(scores) | _gap_texts(scores, titles),
        views,
        tasks,
        rows,
        comparison(other[0], results, rows, views, other[1]),
    )


def _reasons_apart(results: Sequence[Result]) -> list[dict[str, str]]:
    """The reasons why a row is held against no other, by task, for each row."""
    frame = tables.tell_threats_apart(pd.concat([result.frame for result in results]))
    standings = tables.standings(frame[frame["metric"] != tables.FAILURE])
    stored = {
        (cell, task): named for cell, task, named in zip(frame["cell"], frame["task"], frame["named"], strict=True)
    }
    reasons: list[dict[str, str]] = []
    for result in results:
        cell = str(result.frame["cell"].iloc[0])
        cell_reasons = {key: standing.apart for key, standing in standings.items() if key[0] == cell and standing.apart}
        reasons.append({str(stored[key]): reason for key, reason in cell_reasons.items()})
    return reasons


def _shared_settings(attributes: Sequence[Mapping[str, Any]]) -> list[str]:
    """Settings that every row of a board has."""
    settings_of_rows = [settings.texts(str(about.get("settings", ""))) for about in attributes]
    return [text for text in settings_of_rows[0] if all(text in other for other in settings_of_rows)]


def _is_changed(attributes: Sequence[Mapping[str, Any]]) -> bool:
    """True if a board is not the whole suite as it is."""
    first = attributes[0]
    fewer = any(first.get(name) for name in ("limit", "images", "unlike"))
    return fewer or bool(_shared_settings(attributes))


def _extent_texts(boards: Sequence[Sequence[Mapping[str, Any]]]) -> list[str]:
    """The extent of each board: its part of the suite and what all rows changed; never the same for two boards."""
    texts = [_extent_text(attributes) for attributes in boards]
    counts = Counter((rows_attributes[0]["suite"], text) for rows_attributes, text in zip(boards, texts, strict=True))
    return [
        f"{text}, fingerprint {rows_attributes[0]['suite_fingerprint'][:8]}"
        if counts[rows_attributes[0]["suite"], text] > 1
        else text
        for rows_attributes, text in zip(boards, texts, strict=True)
    ]


def _extent_text(attributes: Sequence[Mapping[str, Any]]) -> str:
    first = attributes[0]
    parts = [f"version {first['suite_version']}", *_shared_settings(attributes)]
    networks = {tuple(tables.network_notes(about_row)) for about_row in attributes}
    parts += [name for names in networks if len(networks) == 1 for name in names]
    parts += [f"{first['limit']} images of each set"] if first["limit"] else []
    parts += [f"{first['images']} images of each OOD set"] if first["images"] else []
    parts += [str(first["unlike"])] if first.get("unlike") else []
    return ", ".join(parts)


def _summary_text(rows: Sequence[Row], scores: pd.DataFrame) -> str:
    count = scores["detector"].nunique()
    verb = "tells" if count == 1 else "tell"
    return (
        f"How well {_count_text(count, 'detector')} {verb} {_count_text(rows[0].n_id, 'image')} of "
        f"{rows[0].id_set} (in-distribution, ID) from {_count_text(scores['ood'].nunique(), 'set')} of others "
        f"(out-of-distribution, OOD), under {_count_text(scores['task'].nunique(), 'task')}."
    )


def _basis_texts(scores: pd.DataFrame) -> dict[str, str]:
    sets = scores.drop_duplicates("ood")[["ood", "distance", "n_ood"]].itertuples(index=False)
    days = sorted({str(date)[:10] for date in scores["date"]})
    machines = sorted(set(scores["hardware"] + ", torch " + scores["torch"]))
    basis = {
        "OOD sets": ", ".join(f"{ood} ({distance}, {_count_text(count, 'image')})" for ood, distance, count in sets),
        "measured": f"{' to '.join(dict.fromkeys([days[0], days[-1]]))} on {'; '.join(machines)}",
    }
    if image_notes := tables.shared_image_notes(scores):
        basis["images in two sets, or repeated"] = " ".join(image_notes).rstrip(".")
    if attacked_notes := tables.attacked_id_notes(scores):
        basis["attacked ID images"] = " ".join(attacked_notes).rstrip(".")
    if scores["low"].notna().any():
        basis["intervals"] = (
            "95 %, for endless images of these kinds, of which the ones scored are a sample; over several sets their "
            "mean, as if all erred together"
        )
    return basis


def _count_text(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _views(scores: pd.DataFrame) -> dict[str, list[str]]:
    """The means of the suite over those of their sets that were measured, and each of these sets by itself.

    Means of the same sets stand there once. One that lacks sets says how many it has; a row that lacks sets which
    others have has no such mean, so that all values of a view are over the same sets.
    """
    views: dict[str, list[str]] = {}
    measured_sets = set(scores["ood"])
    known = tables.mean_sets(scores)
    for name, sets in known.items():
        present = [ood for ood in sets if ood in measured_sets]
        is_complete = present == sets
        if present and present not in views.values() and (is_complete or present not in known.values()):
            views[f"{name} sets" if is_complete else f"{name} sets ({len(present)} of {len(sets)})"] = present
    return views | {str(ood): [str(ood)] for ood in scores["ood"].unique()}


def _gap_texts(scores: pd.DataFrame, names: Mapping[str, str]) -> dict[str, str]:
    """The OOD sets that nobody measured, and those that rows lack and others have, in words by heading.

    Args:
        scores: rows of a tidy frame.
        names: what the row of each cell is called.
    """
    suite_sets, measured_sets = tables.mean_sets(scores).get("all", []), set(scores["ood"])
    left_out = [ood for ood in suite_sets if ood not in measured_sets]
    rows = scores.groupby(["cell", "task"], sort=False)["ood"]
    row_gaps = [
        f"{names[cell]}, {task}: {', '.join(missing)}"
        for (cell, task), part in cast("Iterable[tuple[tuple[str, str], pd.Series[str]]]", rows)
        if (missing := [ood for ood in suite_sets if ood in measured_sets - set(part)])
    ]
    texts = {"OOD sets of the suite that are left out": ", ".join(left_out)}
    texts["results that have a mean over other sets"] = " ".join(tables.mean_notes(scores, names)).rstrip(".")
    texts["rows that lack OOD sets, and have no mean over them"] = "; ".join(row_gaps)
    return {heading: text for heading, text in texts.items() if text}


def _tasks(rows: Sequence[Row]) -> list[Task]:
    tasks = []
    points = curves(_task_radii(rows))
    for name in dict.fromkeys(task for row in rows for task in row.threats):
        task_rows = [row for row in rows if name in row.threats]
        point, radius = points.get(name, ("", 0))
        tasks.append(
            Task(
                name=name,
                threats=_threat_texts(name, task_rows),
                clean=all(row.constants[name].get("kind") == "clean" for row in task_rows),
                attack=any(_is_attack(row.constants[name]) for row in task_rows),
                curve=point if point != name else "",
                point=point,
                radius=radius,
            )
        )
    return tasks


def _task_radii(rows: Sequence[Row]) -> dict[str, int]:
    """The radius of each task, in 1/255; those that had several under one name are points of no curve."""
    radii: dict[str, set[int]] = {}
    for row in rows:
        for task, constants in row.constants.items():
            radii.setdefault(task, set()).add(int(constants.get("epsilon", 0)))
    return {task: next(iter(task_radii)) for task, task_radii in radii.items() if len(task_radii) == 1}


def _is_attack(constants: Mapping[str, Any]) -> bool:
    """True if images were moved inside a ball; a guarantee for a ball moves none."""
    kind = STORED.get(str(constants.get("kind", "")))
    return constants.get("epsilon", 0) > 0 and not (kind and kind.certifies)


def _threat_texts(task: str, rows: Sequence[Row]) -> list[str]:
    """The threats of a task in words, or its constants where rows differ in what the words do not say."""
    words = list(dict.fromkeys(row.threats[task] for row in rows))
    constants = list(dict.fromkeys(json.dumps(row.constants[task], sort_keys=True) for row in rows))
    return words if len(words) > 1 or len(constants) == 1 else constants


def _row_names(attributes: Sequence[Mapping[str, Any]], stems: Sequence[str], shared: Collection[str]) -> list[str]:
    """The name of each row: its detector, what sets it apart, and settings but for those `shared` by the board."""
    names = []
    for row_attributes in attributes:
        rivals = [other for other in attributes if other["detector"] == row_attributes["detector"]]
        seeds, networks = {rival["seed"] for rival in rivals}, {(*tables.network_notes(rival),) for rival in rivals}
        notes = [f"seed {row_attributes['seed']}"] if len(seeds) > 1 else []
        notes += tables.network_notes(row_attributes) if len(networks) > 1 else []
        notes += [text for text in settings.texts(str(row_attributes.get("settings", ""))) if text not in shared]
        notes += ["tuned on ID test images"] if '"source": "id-test"' in str(row_attributes.get("tuned", "")) else []
        names.append(f"{row_attributes['detector']} ({', '.join(notes)})" if notes else str(row_attributes["detector"]))
    alike = {name for name, count in Counter(names).items() if count > 1}
    # The same settings, but other code, parameters or data behind them: the key in the file's name tells them apart.
    return [
        f"{name} {stem.rpartition('-')[2][:6]}" if name in alike else name
        for name, stem in zip(names, stems, strict=True)
    ]
