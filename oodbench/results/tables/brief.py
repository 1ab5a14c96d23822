"""What a compact table says below itself: no more than it cannot be read without, the rest is `--long`'s."""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from oodbench.metrics import AT_CLEAN
from oodbench.results.metric_facts import FACTS
from oodbench.results.tables import notes
from oodbench.results.tables.comparable import OF_ID
from oodbench.results.tables.conditions import trained_elsewhere
from oodbench.results.tables.flags import Flagged, averaged, flagged, shown
from oodbench.results.tables.layout import best_of, one_line
from oodbench.results.tables.rows import Rows
from oodbench.results.tables.smoothed import about_smoothed
from oodbench.results.tables.summary import Entry, aside, behind
from oodbench.statistics import severity
from oodbench.statistics.severity import BELIEFS
from oodbench.tasks import STORED
from oodbench.tasks.task import NORMS


def brief(
    frame: pd.DataFrame,
    measured: pd.DataFrame,
    rows: Rows,
    summary: Sequence[Entry],
    metrics: Sequence[str],
    left_out: Iterable[str],
) -> list[str]:
    """The notes of a compact table, a sentence or two each, what went wrong first.

    Args:
        frame: tidy, of one suite and convention, with what failed.
        measured: its rows that have values, tasks called by what they did.
        rows: of the table.
        summary: what it shows.
        metrics: in its order.
        left_out: what else must be said of the results.
    """
    said = []
    if len(measured):
        scores, cells = measured[measured["metric"] != OF_ID], measured.drop_duplicates("cell")
        said += [_counts(measured, summary), *_metrics(metrics, summary), *_balls(scores)] if summary else []
        said += about_smoothed(scores) if summary else []
        said += [*notes.upside_down(scores, rows.called), *_flags(scores, summary, rows.called)]
        said += about_failed(frame, rows.called)
        named = [replace(entry, line=rows.row_of[entry][0]) for entry in summary]
        said += notes.missing(measured, named, rows.called)
        said += [*notes.about_stale(cells, rows.called), *notes.about_images(cells)]
        said += notes.about_outdated(cells, named, rows.called)
        said += [*notes.about_apart(named), *notes.about_repeated(cells, rows.called)]
        said += notes.about_operating_points(cells, rows.called) + notes.about_printed(scores, rows.called)
        said += notes.about_unlabelled(measured) if OF_ID in metrics else []
        said += notes.about_labels(measured)
        said += notes.about_seeds(cells, summary, rows.called)
        said += notes.about_doubted_tuning(cells, rows.called)
        said += [*_machines(measured), *trained_elsewhere(measured, rows.called)]
    else:
        said += about_failed(frame, rows.called)
    intervals = ", 95 % intervals" if frame["low"].notna().any() else ""
    more = f"--long shows all metrics{intervals}, what is behind each flag and what to run next, what figures rest on."
    return [*said, *left_out, more]


def about_failed(frame: pd.DataFrame, called: Mapping[str, str]) -> list[str]:
    """Which detectors failed, and why."""
    rows = frame[frame["failed"] != ""].drop_duplicates("cell")
    found = []
    for _, row in rows.iterrows():
        name, why = called[str(row["cell"])], one_line(row["failed"])
        why = why if why.startswith(name) else f"{name}: {why}"
        found.append(f"Failed: {why}; the same run again tries it.")
    return found


def _flags(scores: pd.DataFrame, summary: Sequence[Entry], called: Mapping[str, str]) -> list[str]:
    """What is flagged of the figures that are shown; those of sets beside the means by the names of these."""
    said = []
    for name, part in shown(summary, scores):
        said += about_flags(part, {cell: f"{line}, {name}" if name else line for cell, line in called.items()})
    return [*said, *(averaged(summary) if said else [])]


def about_flags(scores: pd.DataFrame, called: Mapping[str, str]) -> list[str]:
    """Which figures are flagged and how far off they may be, the worst kind first."""
    worst: dict[tuple[str, str], Flagged] = {}
    for one in flagged(scores):
        for task in one.tasks:
            worst.setdefault((one.cell, task), one)
    found = []
    for sign in ("‡", "†"):
        of_sign = {place: one for place, one in worst.items() if severity.mark(one.effect) == sign}
        for belief, words in BELIEFS.items():
            some = {place: one.effect for place, one in of_sign.items() if one.belief == belief}
            if some:
                found.append(f"{sign} {words} (points): {_listed(some, called)}.")
    return found


def _listed(effects: Mapping[tuple[str, str], float], called: Mapping[str, str]) -> str:
    """By row, the tasks and by how much each may be off."""
    of_row: dict[str, dict[str, float]] = {}
    for (cell, task), effect in effects.items():
        of_row.setdefault(called[cell], {}).setdefault(task, effect)
    return "; ".join(
        f"{name} {', '.join(f'{task} {_size(effect)}' for task, effect in tasks.items())}"
        for name, tasks in of_row.items()
    )


def _size(effect: float) -> str:
    return "anything" if effect >= 1 else f"{100 * effect:.2f}"


def _counts(frame: pd.DataFrame, summary: Sequence[Entry]) -> str:
    """Means over which sets, of how many images."""
    scores = frame[frame["metric"] != OF_ID]
    asked = {name for entry in summary for name in behind(frame, entry.ood)}
    shown = asked & set(scores["ood"]) or asked
    averaged = shown - set(aside(frame)) if len(shown) > 1 else shown
    rows = scores[scores["ood"].isin(shown)]
    sets = []
    for distance, part in rows.groupby("distance", sort=False):
        sets.append(f"{distance} {', '.join(dict.fromkeys(part['ood']))}".strip())
    mean = f"mean over {len(averaged)} OOD sets" if len(averaged) > 1 else "OOD set"
    said = f"Percent; {mean} ({'; '.join(sets)}; {_numbers(rows['n_ood'])} images each)"
    said += f" against {_numbers(frame['n_id'])} ID images."
    return said + "".join(f" {one}" for one in notes.about_left_out(frame, shown))


def _numbers(column: "pd.Series[Any]") -> str:
    numbers = sorted({int(number) for number in column if number})
    return " or ".join(map(str, numbers)) if len(numbers) < 3 else f"{numbers[0]} to {numbers[-1]}"


def _metrics(metrics: Collection[str], summary: Sequence[Entry]) -> list[str]:
    """What the columns mean, and which is the best."""
    sets = len({entry.ood for entry in summary}) > 1
    best = f" * best of its column{' and set' if sets else ''}." if best_of(summary) else ""
    return [" ".join(dict.fromkeys(FACTS[metric].meaning for metric in metrics)) + best]


def _balls(scores: pd.DataFrame) -> list[str]:
    """How far images were moved, and which."""
    found: dict[tuple[bool, str, int, str], dict[str, None]] = {}
    for _, row in scores[scores["epsilon"] > 0].drop_duplicates("task").iterrows():
        constants = json.loads(str(row["constants"]) or "{}")
        kind, side = STORED.get(str(constants.get("kind"))), str(constants.get("side", "out"))
        certified = bool(kind and kind.certifies)
        norm = NORMS[kind.norm if kind else "linf"]
        found.setdefault((certified, side, int(row["epsilon"]), norm), {})[str(row["task"])] = None
    moved = {"out": "OOD images", "in": "ID images", "both": "ID and OOD images"}
    said = []
    for (certified, side, epsilon, norm), tasks in found.items():
        how = f"a guarantee, for {moved[side]} anywhere" if certified else f"{moved[side]} attacked"
        said.append(f"{', '.join(tasks)}: {how} within {epsilon}/255 ({norm}).")
    attacked_id = list(dict.fromkeys(scores.loc[scores["metric"].isin(AT_CLEAN), "task"]))
    if attacked_id:
        said.append(
            f"{', '.join(attacked_id)}: FPR@95 takes its threshold from attacked ID images; --metric fpr95_clean is at "
            "one that was set before the attack."
        )
    return said


def _machines(frame: pd.DataFrame) -> list[str]:
    count = len(frame.drop_duplicates(["hardware", "torch"]))
    return [f"Measured on {count} machines or versions of torch, which round differently."] if count > 1 else []
