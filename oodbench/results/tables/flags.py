"""The flags of a frame's figures: by how much each may be off, and what to run next; the worst first."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import pandas as pd

from oodbench.results.attributes import json_object
from oodbench.results.tables.next_command import next_command
from oodbench.results.tables.summary import ASIDE, MEAN, Entry, sets_behind
from oodbench.statistics import honesty, severity
from oodbench.statistics.severity import Effect
from oodbench.suitefiles.selection import curves

CARRIED = "flagged"
"""The column of a frame of differences with what is flagged of the two values behind each, as JSON."""

PRINTED_TIES = "look at --convention default, which takes the scores as they are; what a paper's code prints may tie"
"""The remedy for ties of the published convention."""


NEXT = "; next: "
"""Between what was seen and what to run."""


Place = tuple[str, str, str]
"""The place of a figure: a cell, a task, and an OOD set or a mean."""


@dataclass(frozen=True)
class Flagged:
    """A flag on the figures of one task, or curve over radii, of one cell.

    Attributes:
        cell: as the frame calls it.
        about: the task, or the curve over radii.
        tasks: whose figures it is about.
        text: what was seen, what it can do, whether to believe it and what to run next.
        effect: the most that a figure may be off by, a fraction.
        belief: which of `oodbench.statistics.severity.BELIEFS` that leaves.
        of: the result whose value it is about, where the frame is of differences; else empty.
    """

    cell: str
    about: str
    tasks: tuple[str, ...]
    text: str
    effect: float
    belief: str
    of: str = ""

    @property
    def seen(self) -> str:
        """The text without what to run next."""
        return self.text.partition(NEXT)[0]


def find_flags(scores: pd.DataFrame) -> list[Flagged]:
    """Return the flags of the rows of a tidy frame, those of accuracy left out; the worst first."""
    flags = _carried_flags(scores) if CARRIED in scores else _value_flags(scores)
    return sorted(flags, key=lambda flag: -flag.effect)


def _value_flags(scores: pd.DataFrame) -> Iterable[Flagged]:
    elsewhere = _tasks_of_twins(scores)
    for cell, part in scores.groupby("cell", sort=False):
        yield from (
            *_measured_flags(str(cell), part),
            *_rising_flags(str(cell), part),
            *_disordered_flags(str(cell), part, elsewhere.get(str(cell), {})),
        )


SAME_DETECTOR = ("suite", "suite_fingerprint", "detector", "seed", "limit", "parameters", "tuned", "code", "over_code")
"""Columns in which results of one and the same detector are equal; its network is, too."""


def _tasks_of_twins(scores: pd.DataFrame) -> dict[str, dict[str, honesty.TaskAUROCs]]:
    """By cell, what each task left of the same detector in other cells: a run with other settings has its own file."""
    found: dict[str, dict[str, honesty.TaskAUROCs]] = {}
    known = scores[(scores["network_digest"] != "") & (scores["fingerprint"] != "")]
    for _, twins in known.groupby([*SAME_DETECTOR, "network_digest", "convention"], sort=False, dropna=False):
        tasks = {str(cell): remaining_auroc(part) for cell, part in twins.groupby("cell", sort=False)}
        for cell in tasks if len(tasks) > 1 else ():
            found[cell] = {
                f"{task} ({other})": left
                for other, of_other in tasks.items()
                if other != cell
                for task, left in of_other.items()
            }
    return found


def flags_json(flags: Iterable[Flagged], task: str) -> str:
    """The flags of the figures of a task as JSON, for the column `CARRIED`."""
    return json.dumps([asdict(flag) for flag in flags if task in flag.tasks])


def _carried_flags(differences: pd.DataFrame) -> Iterable[Flagged]:
    """The flags of both values behind each difference. Tasks may have got other names since they were stored."""
    for (cell, task), part in differences.groupby(["cell", "task"], sort=False):
        for flag in json.loads(str(part[CARRIED].iloc[0])):
            yield Flagged(**{**flag, "cell": str(cell), "tasks": (str(task),)})


def severities(flags: Iterable[Flagged]) -> dict[tuple[str, str], float]:
    """The most that a figure may be off by, a fraction, by (cell, task)."""
    worst: dict[tuple[str, str], float] = {}
    for flag in flags:
        for task in flag.tasks:
            worst[flag.cell, task] = max(flag.effect, worst.get((flag.cell, task), 0.0))
    return worst


def flag_sizes(summary: Sequence[Entry], scores: pd.DataFrame) -> dict[Place, float]:
    """Return by how much the figures of a table may be off, by what each rests on; arguments as `competing_entries`."""
    return {
        (*place, ood): size
        for ood, flags in _flags_by_set(summary, scores)
        for place, size in severities(flags).items()
    }


def competing_entries(summary: Sequence[Entry], scores: pd.DataFrame) -> list[Entry]:
    """Entries as they are held against each other: a figure that is worse than it looks cannot be the best one.

    Args:
        summary: of a table.
        scores: the rows of a tidy frame that it was made of, those of accuracy left out.
    """
    doubted = {(*place, ood) for ood, flags in _flags_by_set(summary, scores) for place in disqualified_figures(flags)}
    return [
        replace(entry, rivals=None)
        if entry.metric != "accuracy" and any((cell, *entry.place) in doubted for cell in entry.cells)
        else entry
        for entry in summary
    ]


def _flags_by_set(summary: Sequence[Entry], scores: pd.DataFrame) -> Iterator[tuple[str, list[Flagged]]]:
    """Each set or mean of a table, and what is flagged of the sets behind it: an attack may fail on one set alone."""
    for ood in dict.fromkeys(entry.ood for entry in summary):
        yield ood, find_flags(scores[scores["ood"].isin(sets_behind(scores, ood))])


def averaging_notes(summary: Sequence[Entry]) -> list[str]:
    """A note that sizes are means, where a table has several sets and no mean of them; else none."""
    sets = {entry.ood for entry in summary if entry.ood}
    sets_alone = len(sets) > 1 and not any(ood.startswith(MEAN) for ood in sets)
    return (
        ["How far off figures may be is a mean over these OOD sets; each has the sign of its own."]
        if sets_alone
        else []
    )


def shown_parts(summary: Sequence[Entry], scores: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """The rows that the figures of a table rest on, as one; and those of each set beside its means, by name."""
    columns = dict.fromkeys(entry.ood for entry in summary)
    mean_columns = [ood for ood in columns if ood.startswith(MEAN)]
    main_sets = {name for ood in mean_columns or columns for name in sets_behind(scores, ood)}
    other_sets = [ood for ood in columns if mean_columns and ood not in {*mean_columns, *main_sets, ""}]
    return [("", scores[scores["ood"].isin(main_sets)]), *((ood, scores[scores["ood"] == ood]) for ood in other_sets)]


def disqualified_figures(flags: Iterable[Flagged]) -> set[tuple[str, str]]:
    """(cell, task) of figures that are not to be believed, or known to be too good by more than a point."""
    return {
        (flag.cell, task) for flag in flags if flag.belief in (severity.NO, severity.AT_MOST) for task in flag.tasks
    }


def effects_json(effects: Mapping[str, Effect]) -> str:
    """Effects as a frame holds them: JSON, null where a flag says nothing of a number."""
    return json.dumps(
        {
            name: {metric: None if np.isnan(size) else size for metric, size in asdict(effect).items()}
            for name, effect in effects.items()
        }
    )


def _measured_flags(cell: str, scores: pd.DataFrame) -> Iterable[Flagged]:
    """Flags from the attack's own measurements, one a task."""
    for task, part in scores.groupby("task", sort=False):
        rows = part.drop_duplicates("ood")
        warnings = severity.flag_statements(set_flags(rows))
        if warnings:
            text = "; also ".join(warning.text for warning in warnings) + _next_steps(
                part, [_remedy(warning, part) for warning in warnings]
            )
            yield Flagged(cell, str(task), (str(task),), text, warnings[0].effect, warnings[0].belief)


def set_flags(rows: pd.DataFrame) -> list[severity.SetFlags]:
    """The flags of each OOD set, a row of a tidy frame each."""
    columns = {name: rows[name].astype(float).tolist() for name in honesty.FLAGS}
    return [
        severity.SetFlags({name: column[at] for name, column in columns.items()}, load_effects(text))
        for at, text in enumerate(rows["effects"])
    ]


def _remedy(warning: severity.FlagStatement, rows: pd.DataFrame) -> str:
    """The remedy for a flag; ties in scores as a paper prints them need none but to look at the scores as they are."""
    printed = warning.remedy == severity.REMEDIES["ties"] and (rows["convention"] == "published").all()
    return PRINTED_TIES if printed else warning.remedy


def _next_steps(rows: pd.DataFrame, remedies: Sequence[str]) -> str:
    """The text of what to do about flags with these remedies, of which "" stands for a harder attack."""
    steps = list(dict.fromkeys(remedy for remedy in remedies if remedy))
    if "" in remedies and (command := next_command(rows)):
        steps.append(f"`{command}`")
    return f"{NEXT}{'; '.join(steps)}" if steps else ""


def load_effects(text: object) -> dict[str, Effect]:
    """The effects that `effects_json` stored; none in a frame made by hand."""
    sizes_by_flag: dict[str, dict[str, float | None]] = json.loads(text) if isinstance(text, str) and text else {}
    return {
        name: Effect(**{metric: np.nan if size is None else size for metric, size in of_flag.items()})
        for name, of_flag in sizes_by_flag.items()
    }


def _rising_flags(cell: str, scores: pd.DataFrame) -> Iterable[Flagged]:
    """Attacks whose AUROC rises with the radius."""
    rows = scores[(scores["metric"] == "auroc") & (scores["distance"] != ASIDE)]
    of_task = rows.groupby("task", sort=False)
    values = of_task["value"].mean()
    radii = {str(task): int(radius) for task, radius in of_task["epsilon"].first().items()}
    points: dict[str, list[tuple[int, float]]] = {}
    tasks: dict[str, list[str]] = {}
    for task, (curve, radius) in curves(radii).items():
        points.setdefault(curve, []).append((radius, float(values[task])))
        tasks.setdefault(curve, []).append(task)
    for name, (text, effect) in honesty.rising_curves(points).items():
        steps = f"{text}: no radius's figure is to be believed closer than that"
        last = scores[scores["task"] == tasks[name][-1]]
        steps += _next_steps(last, [""])
        yield Flagged(cell, f"{name} over radii", tuple(tasks[name]), steps, effect, severity.AT_MOST)


def _disordered_flags(
    cell: str, scores: pd.DataFrame, elsewhere: Mapping[str, honesty.TaskAUROCs]
) -> Iterable[Flagged]:
    """Attacks that do less damage than weaker ones of the same detector, in this cell or `elsewhere`."""
    own = remaining_auroc(scores)
    for task, (damage_text, effect) in honesty.disordered_tasks(own, elsewhere).items():
        text = f"{damage_text}: the AUROC is too high by {100 * effect:.2f} points at least"
        text += _next_steps(scores[scores["task"] == task], [""])
        yield Flagged(cell, task, (task,), text, effect, severity.AT_MOST)


def remaining_auroc(scores: pd.DataFrame) -> dict[str, honesty.TaskAUROCs]:
    """The AUROC that each task leaves of one cell, from its tidy frame; sets that stand aside do not count.

    An OOD set goes by its name and by its images: fewer of them are another set.
    """
    rows = scores[(scores["metric"] == "auroc") & (scores["distance"] != ASIDE)]
    return {
        str(task): honesty.TaskAUROCs(
            json_object(part["constants"].iloc[0]),
            dict(zip(zip(part["ood"], part["fingerprint"], strict=True), part["value"], strict=True)),
        )
        for task, part in rows.groupby("task", sort=False)
    }
