"""The notes below a compact table: only those without which it cannot be read; `--long` has the others."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from oodbench.metrics import AT_CLEAN
from oodbench.results.attributes import json_object
from oodbench.results.metric_facts import FACTS
from oodbench.results.tables import notes
from oodbench.results.tables.comparable import OF_ID
from oodbench.results.tables.conditions import training_place_notes
from oodbench.results.tables.flags import Flagged, averaging_notes, find_flags, shown_parts
from oodbench.results.tables.layout import best_values, one_line
from oodbench.results.tables.rows import Rows
from oodbench.results.tables.smoothed import smoothed_notes
from oodbench.results.tables.summary import Entry, sets_aside, sets_behind
from oodbench.statistics import severity
from oodbench.statistics.severity import BELIEFS
from oodbench.tasks import STORED
from oodbench.tasks.task import NORMS


def brief_notes(
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
    sentences = []
    if len(measured):
        scores, cells = measured[measured["metric"] != OF_ID], measured.drop_duplicates("cell")
        sentences += (
            [_counts_note(measured, summary), *_metrics_notes(metrics, summary), *_ball_notes(scores)]
            if summary
            else []
        )
        sentences += smoothed_notes(scores) if summary else []
        sentences += notes.shared_image_notes(measured)
        sentences += [*notes.upside_down_notes(scores, rows.titles), *_shown_flag_notes(scores, summary, rows.titles)]
        sentences += failure_notes(frame, rows.titles)
        titled_entries = [replace(entry, line=rows.row_of[entry][0]) for entry in summary]
        sentences += notes.missing_notes(measured, titled_entries, rows.titles)
        sentences += [*notes.stale_notes(cells, rows.titles), *notes.image_notes(cells)]
        sentences += notes.outdated_notes(cells, titled_entries, rows.titles)
        sentences += [*notes.apart_notes(titled_entries), *notes.mean_notes(measured, rows.titles)]
        sentences += notes.repeated_notes(cells, rows.titles)
        sentences += notes.operating_point_notes(cells, rows.titles) + notes.published_notes(scores, rows.titles)
        sentences += notes.unlabelled_notes(measured) if OF_ID in metrics else []
        sentences += notes.label_notes(measured)
        sentences += notes.seed_notes(cells, summary, rows.titles)
        sentences += notes.doubted_tuning_notes(cells, rows.titles)
        sentences += [*_machine_notes(measured), *training_place_notes(measured, rows.titles)]
    else:
        sentences += failure_notes(frame, rows.titles)
    intervals = ", 95 % intervals" if frame["low"].notna().any() else ""
    more = f"--long shows all metrics{intervals}, what is behind each flag and what to run next, what figures rest on."
    return [*sentences, *left_out, more]


def failure_notes(frame: pd.DataFrame, titles: Mapping[str, str]) -> list[str]:
    """A note for each detector that failed, with the reason."""
    rows = frame[frame["failed"] != ""].drop_duplicates("cell")
    sentences = []
    for _, row in rows.iterrows():
        name, reason = titles[str(row["cell"])], one_line(row["failed"])
        reason = reason if reason.startswith(name) else f"{name}: {reason}"
        sentences.append(f"Failed: {reason}; the same run again tries it.")
    return sentences


def _shown_flag_notes(scores: pd.DataFrame, summary: Sequence[Entry], titles: Mapping[str, str]) -> list[str]:
    """Notes on flags of the figures that are shown; those of sets beside the means have the set's name."""
    sentences = []
    for name, part in shown_parts(summary, scores):
        sentences += flag_notes(part, {cell: f"{line}, {name}" if name else line for cell, line in titles.items()})
    return [*sentences, *(averaging_notes(summary) if sentences else [])]


def flag_notes(scores: pd.DataFrame, titles: Mapping[str, str]) -> list[str]:
    """Notes on the flagged figures and by how much they may be off, the worst kind first."""
    worst: dict[tuple[str, str], Flagged] = {}
    for flag in find_flags(scores):
        for task in flag.tasks:
            worst.setdefault((flag.cell, task), flag)
    sentences = []
    for sign in ("‡", "†"):
        of_sign = {place: flag for place, flag in worst.items() if severity.mark(flag.effect) == sign}
        for belief, words in BELIEFS.items():
            effects = {place: flag.effect for place, flag in of_sign.items() if flag.belief == belief}
            if effects:
                sentences.append(f"{sign} {words} (points): {_effects_text(effects, titles)}.")
    return sentences


def _effects_text(effects: Mapping[tuple[str, str], float], titles: Mapping[str, str]) -> str:
    """List the tasks of each row and by how much each may be off."""
    of_row: dict[str, dict[str, float]] = {}
    for (cell, task), effect in effects.items():
        of_row.setdefault(titles[cell], {}).setdefault(task, effect)
    return "; ".join(
        f"{name} {', '.join(f'{task} {_size_text(effect)}' for task, effect in tasks.items())}"
        for name, tasks in of_row.items()
    )


def _size_text(effect: float) -> str:
    return "anything" if effect >= 1 else f"{100 * effect:.2f}"


def _counts_note(frame: pd.DataFrame, summary: Sequence[Entry]) -> str:
    """Means over which sets, of how many images."""
    scores = frame[frame["metric"] != OF_ID]
    wanted_sets = {name for entry in summary for name in sets_behind(frame, entry.ood)}
    shown_sets = wanted_sets & set(scores["ood"]) or wanted_sets
    averaged_sets = shown_sets - set(sets_aside(frame)) if len(shown_sets) > 1 else shown_sets
    rows = scores[scores["ood"].isin(shown_sets)]
    sets = []
    for distance, part in rows.groupby("distance", sort=False):
        sets.append(f"{distance} {', '.join(dict.fromkeys(part['ood']))}".strip())
    mean = f"mean over {len(averaged_sets)} OOD sets" if len(averaged_sets) > 1 else "OOD set"
    text = f"Percent; {mean} ({'; '.join(sets)}; {_numbers_text(rows['n_ood'])} images each)"
    text += f" against {_numbers_text(frame['n_id'])} ID images."
    return text + "".join(f" {note}" for note in notes.left_out_notes(frame, shown_sets))


def _numbers_text(column: "pd.Series[Any]") -> str:
    numbers = sorted({int(number) for number in column if number})
    return " or ".join(map(str, numbers)) if len(numbers) < 3 else f"{numbers[0]} to {numbers[-1]}"


def _metrics_notes(metrics: Collection[str], summary: Sequence[Entry]) -> list[str]:
    """Explain the columns, and the mark of the best value."""
    sets = len({entry.ood for entry in summary}) > 1
    best = f" * best of its column{' and set' if sets else ''}." if best_values(summary) else ""
    return [" ".join(dict.fromkeys(FACTS[metric].meaning for metric in metrics)) + best]


def _ball_notes(scores: pd.DataFrame) -> list[str]:
    """A note for each ball in which images were moved, or are guaranteed."""
    tasks_of_ball: dict[tuple[bool, str, int, str], dict[str, None]] = {}
    for _, row in scores[scores["epsilon"] > 0].drop_duplicates("task").iterrows():
        constants = json_object(row["constants"])
        kind, side = STORED.get(str(constants.get("kind"))), str(constants.get("side", "out"))
        certified = bool(kind and kind.certifies)
        norm = NORMS[kind.norm if kind else "linf"]
        tasks_of_ball.setdefault((certified, side, int(row["epsilon"]), norm), {})[str(row["task"])] = None
    moved = {"out": "OOD images", "in": "ID images", "both": "ID and OOD images"}
    sentences = []
    for (certified, side, epsilon, norm), tasks in tasks_of_ball.items():
        action = f"a guarantee, for {moved[side]} anywhere" if certified else f"{moved[side]} attacked"
        sentences.append(f"{', '.join(tasks)}: {action} within {epsilon}/255 ({norm}).")
    attacked_id = list(dict.fromkeys(scores.loc[scores["metric"].isin(AT_CLEAN), "task"]))
    if attacked_id:
        sentences.append(
            f"{', '.join(attacked_id)}: FPR@95 takes its threshold from attacked ID images; --metric fpr95_clean is at "
            "one that was set before the attack."
        )
    return sentences


def _machine_notes(frame: pd.DataFrame) -> list[str]:
    count = len(frame.drop_duplicates(["hardware", "torch"]))
    return [f"Measured on {count} machines or versions of torch, which round differently."] if count > 1 else []
