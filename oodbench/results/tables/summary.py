"""A tidy frame to the figures of a table: means over OOD sets, then mean and deviation over seeds."""

from collections import Counter
from collections.abc import Container, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf, isnan, nan
from statistics import fmean
from typing import Any, cast

import numpy as np
import pandas as pd

from oodbench.basics.errors import OodbenchError, unknown
from oodbench.metrics import AT_CLEAN, CONVENTIONS
from oodbench.results.attributes import json_object
from oodbench.results.metric_facts import FACTS
from oodbench.results.tables.comparable import OF_ID, Standing, standings, tell_threats_apart
from oodbench.results.tables.gaps import Gaps
from oodbench.results.tables.lines import Line, Note, label, lines, tell_apart

SUITE = ["suite", "suite_version", "suite_fingerprint"]
"""Rows that differ in one of these never meet in one mean."""


ASIDE = "aside"
"""The distance of an OOD set that is shown beside the means."""


MEAN = "mean:"
"""In front of the name of a mean, where a column could hold a set's name as well; no set's name has a colon."""


@dataclass(frozen=True)
class View:
    """The part of a frame that a table shows, and its order.

    Attributes:
        by: "task" for one mean, "ood" for a row each set, "mean" for each mean that the suite knows. OOD sets that
            stand aside have rows of their own, unless `sets` says what is shown.
        sets: OOD sets, or names of the suite's means, which are averaged and shown; all if empty.
        metrics: shown, in this order; all of the convention, those of attacked ID images where there are any, and ID
            accuracy, if empty.
        seeds: "mean" for one line for all seeds of a detector, "each" for a line each.
        sort: metric by which lines are ordered within a task and set, best first, and those last whose figures are not
            to be believed; as stored if empty.
    """

    by: str = "task"
    sets: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    seeds: str = "mean"
    sort: str = ""

    def require_known(self, convention: str) -> None:
        """OodbenchError if there is no metric of a name that is asked for in `convention`."""
        known = [*CONVENTIONS[convention], *AT_CLEAN, OF_ID]
        for name in (*self.metrics, *([self.sort] if self.sort else [])):
            if name not in known:
                raise unknown("metric", name, known)

    def require_measured(self, frame: pd.DataFrame) -> None:
        """OodbenchError if what is asked for is of attacked ID images, and none were attacked in a tidy frame."""
        measured = set(frame["metric"])
        for name in {*self.metrics, self.sort} & set(AT_CLEAN) - measured:
            raise OodbenchError(
                f"metric {name!r} is of attacked ID images, and none were: `oodbench run` with --threat both does that"
            )

    def shown(self, frame: pd.DataFrame) -> list[str]:
        """The metrics of a table of `frame`, tidy and in one convention, in order.

        Raises:
            OodbenchError: there is no metric of that name.
        """
        convention, measured = str(frame["convention"].iloc[0]), set(frame["metric"])
        self.require_known(convention)
        usual = [*CONVENTIONS[convention], *(name for name in AT_CLEAN if name in measured), OF_ID]
        return list(dict.fromkeys(self.metrics)) or usual


@dataclass(frozen=True)
class Entry:
    """One number of a table, as a fraction.

    Attributes:
        line: what its row is called.
        task: by name.
        ood: an OOD set, or `MEAN` and the name of a mean.
        metric: by name.
        value: mean over seeds and those of the OOD sets that are there; NaN where none is.
        sd: over seeds, of the means over sets (n - 1); NaN for one seed.
        low: of the interval over images, averaged as the value is; NaN where there is none.
        high: likewise.
        missing: sets of the mean, or the set itself, that are not there; the value does not rest on them.
        detector: by name.
        cells: behind the number, one a seed.
        apart: why it is not among the main results of its task, such as "other code"; empty if it is.
        notes: what its row is called beside the detector, note by note.
        mark: what tells its row from others that would be called the same; empty if none would.
        rivals: equal where values may be held against each other; None where they may be held against none.
    """

    line: str
    task: str
    ood: str
    metric: str
    value: float
    sd: float
    low: float
    high: float
    missing: tuple[str, ...]
    detector: str
    cells: tuple[str, ...]
    apart: str = ""
    notes: "tuple[Note, ...]" = ()
    mark: str = ""
    rivals: Hashable | None = ""

    @property
    def place(self) -> tuple[str, str]:
        """The place where lines compete: the task, and the set or mean."""
        return self.task, self.ood

    @property
    def incomplete(self) -> bool:
        """True if there is no value, since none of its sets was measured."""
        return bool(self.missing) and isnan(self.value)


def mean_sets(frame: pd.DataFrame) -> dict[str, list[str]]:
    """OOD sets behind each mean, of a frame of one suite: as its results say, or all that there are.

    A suite's means are no part of its fingerprint, so its results may differ in them. Then what most of them say counts
    for all rows, and of what equally many say the mean over the most sets. `other_means` names the others.
    """
    sets_said: dict[str, dict[frozenset[str], list[str]]] = {}
    votes: Counter[tuple[str, frozenset[str]]] = Counter()
    for text, count in frame[["cell", "means"]].drop_duplicates()["means"].value_counts(sort=False).items():
        for name, sets in json_object(text).items():
            sets_said.setdefault(name, {}).setdefault(frozenset(sets), sets)
            votes[name, frozenset(sets)] += count
    every = frame[(frame["ood"] != "") & (frame["distance"] != ASIDE)]
    known = {"all": list(dict.fromkeys(every["ood"]))}
    for name, choices in sets_said.items():
        known[name] = choices[max(choices, key=lambda sets: (votes[name, sets], len(sets)))]
    return known


def other_means(frame: pd.DataFrame) -> dict[tuple[str, tuple[str, ...]], list[str]]:
    """The cells that have a mean over other sets than `mean_sets` of the frame, by its name and these sets."""
    known = mean_sets(frame)
    cells: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for cell, text in frame[["cell", "means"]].drop_duplicates().itertuples(index=False):
        for name, sets in json_object(text).items():
            if set(sets) != set(known[name]):
                cells.setdefault((name, tuple(sets)), []).append(str(cell))
    return cells


def sets_aside(frame: pd.DataFrame) -> list[str]:
    """The OOD sets that have rows of their own and enter no mean but those that name them."""
    return list(dict.fromkeys(frame.loc[frame["distance"] == ASIDE, "ood"]))


def selected_sets(frame: pd.DataFrame, sets: Sequence[str]) -> list[str]:
    """The OOD sets that `sets`, names of sets or of means, stand for; those of the mean "all" if it is empty.

    Raises:
        OodbenchError: the suite has neither a set nor a mean of that name.
    """
    known = mean_sets(frame)
    every = list(dict.fromkeys([*known["all"], *frame.loc[frame["ood"] != "", "ood"]]))
    chosen = []
    for name in sets or ["all"]:
        if name not in known and name not in every:
            raise unknown(f"OOD set or mean of suite {frame['suite'].iloc[0]!r}", name, [*known, *every])
        chosen += known.get(name, [name])
    return list(dict.fromkeys(chosen))


def sets_behind(frame: pd.DataFrame, ood: str) -> list[str]:
    """The OOD sets behind a set's name, or behind `MEAN` and the names of means or sets with "+" between them."""
    if not ood.startswith(MEAN):
        return [ood]
    known = mean_sets(frame)
    return [name for part in ood.removeprefix(MEAN).split("+") for name in known.get(part, [part])]


def summarise(frame: pd.DataFrame, view: View, doubted: Container[tuple[str, str]] = ()) -> list[Entry]:
    """The numbers of a table of one suite and convention: an entry a (line, task, set or mean, metric).

    A mean is over those of its OOD sets that were measured. Sets that no row has are left out of all of them. A row
    that lacks some which another has says so in its name, is averaged with no other seed and is held against none but
    those that rest on the same sets.

    Args:
        frame: tidy.
        view: what of it is shown.
        doubted: (cell, task) of figures that are not to be believed: sorting puts none of them ahead of another.

    Raises:
        OodbenchError: a set or metric is not known.
    """
    frame = frame if "named" in frame else tell_threats_apart(frame)
    line_of = {str(cell): line for line in lines(frame, view.seeds) for cell in line.cells["cell"]}
    standing = standings(frame)
    wanted = {*view.shown(frame), view.sort}
    gaps = Gaps.of(frame, groups := _groups(frame, view))
    entries_of_line: dict[tuple[Line, str, Hashable, str], dict[tuple[str, str], list[Entry]]] = {}
    for cell, task, part in _cells(frame):
        measured_sets = frozenset(part["ood"])
        for ood, names in groups.items():
            sets_note = gaps.sets_text(ood, measured_sets) if ood.startswith(MEAN) else ""
            line_entries = entries_of_line.setdefault((line_of[cell], task, standing[cell, task].images, sets_note), {})
            for entry in _entries(part, task, ood, names):
                if entry.metric in wanted:
                    line_entries.setdefault((ood, entry.metric), []).append(entry)
    seeds = [
        ([_average_seeds(entries) for entries in line_entries.values()], sets_note)
        for (*_, sets_note), line_entries in entries_of_line.items()
        if line_entries
    ]
    return _sort_entries(_name_lines(seeds, line_of, standing), view.sort, doubted)


def _name_lines(
    noted_entries: Sequence[tuple[Sequence[Entry], str]],
    line_of: Mapping[str, Line],
    standing: Mapping[tuple[str, str], Standing],
) -> list[Entry]:
    """Each line of entries by what it is called, and how it stands beside others.

    Args:
        noted_entries: entries, and which OOD sets they rest on where other lines rest on more.
        line_of: the line of each cell.
        standing: of each (cell, task).
    """
    entry_lists = [entries for entries, _ in noted_entries]
    line_standings = [standing[entries[0].cells[0], entries[0].task] for entries in entry_lists]
    notes = [
        line_of[entries[0].cells[0]].notes(entries[0].cells, line_standing.apart)
        + ((Note("sets", sets_note),) if sets_note else ())
        for (entries, sets_note), line_standing in zip(noted_entries, line_standings, strict=True)
    ]
    own_marks = [line_of[entries[0].cells[0]].mark for entries in entry_lists]
    texts = [
        f"{label(entries[0].detector, line_standing)} {mark}".strip()
        for entries, line_standing, mark in zip(entry_lists, notes, own_marks, strict=True)
    ]
    # A line that has lost some of its seeds to another threat, or to other images, may be called as one beside it.
    tasks = [entries[0].task for entries in entry_lists]
    marks = tell_apart(
        [entries[0].cells[0] for entries in entry_lists],
        [f"{task} {text}" for task, text in zip(tasks, texts, strict=True)],
    )
    return [
        replace(
            entry,
            line=f"{text} {mark}".strip(),
            apart=line_standing.apart,
            notes=sets_note,
            mark=f"{first} {mark}".strip(),
            rivals=(line_standing.rivals, entry.missing)
            if entry.missing and line_standing.rivals is not None
            else line_standing.rivals,
        )
        for entries, text, sets_note, first, mark, line_standing in zip(
            entry_lists, texts, notes, own_marks, marks, line_standings, strict=True
        )
        for entry in entries
    ]


def _groups(frame: pd.DataFrame, view: View) -> dict[str, list[str]]:
    """The sets behind each row that is shown of a task; none of which nobody measured anything, if others are left."""
    chosen, known = selected_sets(frame, view.sets), mean_sets(frame)
    groups = {
        "task": {MEAN + ("+".join(view.sets) or "all"): chosen},
        "ood": {name: [name] for name in chosen},
        "mean": {MEAN + name: sets for name, sets in known.items() if set(sets) <= set(chosen)},
    }[view.by]
    groups |= {} if view.sets else {name: [name] for name in sets_aside(frame)}
    if not groups:
        raise OodbenchError(
            f"--sets {' '.join(view.sets)} leaves no mean of the suite whole: leave it out, or --by ood"
        )
    measured_sets = set(frame["ood"])
    return {ood: names for ood, names in groups.items() if measured_sets & set(names)} or groups


def _cells(frame: pd.DataFrame) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Each cell, each of its tasks, and what was measured there, in the columns that `_entries` reads."""
    # All sixty would be copied with every selection of rows, which was most of the time of a table.
    frame = frame[["cell", "detector", "task", "ood", "metric", "value", "low", "high"]]
    accuracies = frame[frame["metric"] == OF_ID]
    scores = frame[frame["metric"] != OF_ID].groupby(["cell", "task"], sort=False)
    for (cell, task), part in cast("Iterable[tuple[tuple[str, str], pd.DataFrame]]", scores):
        yield cell, task, pd.concat([part, accuracies[accuracies["cell"] == cell]])


def _entries(cell: pd.DataFrame, task: str, ood: str, names: Sequence[str]) -> Iterator[Entry]:
    """Each metric of one cell and task, averaged over those of the sets called `names` that are there."""
    scores = cell[cell["ood"].isin(names)]
    measured_sets = set(scores["ood"])
    missing = tuple(name for name in names if name not in measured_sets)
    detector, name = str(cell["detector"].iloc[0]), str(cell["cell"].iloc[0])
    for metric in dict.fromkeys(cell["metric"]):
        part = cell[cell["metric"] == OF_ID] if metric == OF_ID else scores[scores["metric"] == metric]
        missing_of_metric = () if metric == OF_ID else missing
        value, low, high = (nan if part.empty else _mean(part[column]) for column in ("value", "low", "high"))
        yield Entry("", task, ood, str(metric), value, nan, low, high, missing_of_metric, detector, (name,))


def _average_seeds(entries: Sequence[Entry]) -> Entry:
    """One line's seeds together."""
    values = [entry.value for entry in entries]
    return replace(
        entries[0],
        value=fmean(values),
        sd=float(np.std(values, ddof=1)) if len(values) > 1 else nan,
        low=fmean(entry.low for entry in entries),
        high=fmean(entry.high for entry in entries),
        missing=tuple(dict.fromkeys(name for entry in entries for name in entry.missing)),
        cells=tuple(cell for entry in entries for cell in entry.cells),
    )


def _mean(column: "pd.Series[Any]") -> float:
    return float(np.mean(column.to_numpy(dtype=np.float64)))


def _sort_entries(entries: list[Entry], metric: str, doubted: Container[tuple[str, str]]) -> list[Entry]:
    """Tasks and sets together and their lines by a metric, best first.

    Then those that are doubted, unless it is by ID accuracy, which no attack concerns; last those over fewer sets or
    without value.
    """
    if not metric:
        return entries
    sign = 1 if FACTS[metric].lower_is_better else -1
    ranks = {(entry.line, *entry.place): sign * entry.value for entry in entries if entry.metric == metric}
    places = list(dict.fromkeys(entry.place for entry in entries))

    def rank(entry: Entry) -> tuple[int, bool, bool, bool, float]:
        value = ranks.get((entry.line, *entry.place), nan)
        fewer = any(note.kind == "sets" for note in entry.notes)
        behind = metric != OF_ID and any((cell, entry.task) in doubted for cell in entry.cells)
        return places.index(entry.place), fewer, isnan(value), behind, inf if isnan(value) else value

    return sorted(entries, key=rank)
