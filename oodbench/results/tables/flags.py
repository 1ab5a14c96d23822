"""Which figures of a frame are flagged, how far off they may be, and what to run next; the worst first."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import pandas as pd

from oodbench.results.tables.next_command import next_command
from oodbench.results.tables.summary import ASIDE, MEAN, Entry, behind
from oodbench.statistics import honesty, severity
from oodbench.statistics.severity import Effect
from oodbench.suitefiles.selection import curves

CARRIED = "flagged"
"""The column of a frame of differences with what is flagged of the two values behind each, as JSON."""

PRINTED_TIES = "look at --convention default, which takes the scores as they are; what a paper's code prints may tie"
"""What helps against ties of the published convention."""


NEXT = "; next: "
"""Between what was seen and what to run."""


Place = tuple[str, str, str]
"""What a figure rests on: a cell, a task, and an OOD set or a mean."""


@dataclass(frozen=True)
class Flagged:
    """What is said of one task of one cell.

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


def flagged(scores: pd.DataFrame) -> list[Flagged]:
    """What is flagged in the rows of a tidy frame, those of accuracy left out; the worst first."""
    found = _of_sides(scores) if CARRIED in scores else _of_values(scores)
    return sorted(found, key=lambda one: -one.effect)


def _of_values(scores: pd.DataFrame) -> Iterable[Flagged]:
    for cell, part in scores.groupby("cell", sort=False):
        yield from (*_measured(str(cell), part), *_rising(str(cell), part), *_disordered(str(cell), part))


def carried(found: Iterable[Flagged], task: str) -> str:
    """What is flagged of the figures of a task, as the column `CARRIED` holds it."""
    return json.dumps([asdict(one) for one in found if task in one.tasks])


def _of_sides(differences: pd.DataFrame) -> Iterable[Flagged]:
    """What is flagged of both values behind each difference. Tasks may have got other names since it was stored."""
    for (cell, task), part in differences.groupby(["cell", "task"], sort=False):
        for one in json.loads(str(part[CARRIED].iloc[0])):
            yield Flagged(**{**one, "cell": str(cell), "tasks": (str(task),)})


def severities(found: Iterable[Flagged]) -> dict[tuple[str, str], float]:
    """By (cell, task), the most that a figure may be off by, a fraction."""
    worst: dict[tuple[str, str], float] = {}
    for one in found:
        for task in one.tasks:
            worst[one.cell, task] = max(one.effect, worst.get((one.cell, task), 0.0))
    return worst


def sizes(summary: Sequence[Entry], scores: pd.DataFrame) -> dict[Place, float]:
    """By how much the figures of a table may be off, by what each rests on; arguments as `competing` has them."""
    return {
        (*place, ood): size for ood, found in _by_sets(summary, scores) for place, size in severities(found).items()
    }


def competing(summary: Sequence[Entry], scores: pd.DataFrame) -> list[Entry]:
    """Entries as they are held against each other: a figure that is worse than it looks cannot be the best one.

    Args:
        summary: of a table.
        scores: the rows of a tidy frame that it was made of, those of accuracy left out.
    """
    doubted = {(*place, ood) for ood, found in _by_sets(summary, scores) for place in disqualified(found)}
    return [
        replace(entry, rivals=None)
        if entry.metric != "accuracy" and any((cell, *entry.place) in doubted for cell in entry.cells)
        else entry
        for entry in summary
    ]


def _by_sets(summary: Sequence[Entry], scores: pd.DataFrame) -> Iterator[tuple[str, list[Flagged]]]:
    """Each set or mean of a table, and what is flagged of the sets behind it: an attack may fail on one set alone."""
    for ood in dict.fromkeys(entry.ood for entry in summary):
        yield ood, flagged(scores[scores["ood"].isin(behind(scores, ood))])


def averaged(summary: Sequence[Entry]) -> list[str]:
    """That sizes are means, where a table has several sets and no mean of them."""
    sets = {entry.ood for entry in summary if entry.ood}
    alone = len(sets) > 1 and not any(ood.startswith(MEAN) for ood in sets)
    return ["How far off figures may be is a mean over these OOD sets; each has the sign of its own."] if alone else []


def shown(summary: Sequence[Entry], scores: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """The rows that the figures of a table rest on, as one; and those of each set beside its means, by name."""
    all_of_them = dict.fromkeys(entry.ood for entry in summary)
    means_of = [ood for ood in all_of_them if ood.startswith(MEAN)]
    main = {name for ood in means_of or all_of_them for name in behind(scores, ood)}
    beside = [ood for ood in all_of_them if means_of and ood not in {*means_of, *main, ""}]
    return [("", scores[scores["ood"].isin(main)]), *((ood, scores[scores["ood"] == ood]) for ood in beside)]


def disqualified(found: Iterable[Flagged]) -> set[tuple[str, str]]:
    """(cell, task) of figures that are not to be believed, or known to be too good by more than a point."""
    return {(one.cell, task) for one in found if one.belief in (severity.NO, severity.AT_MOST) for task in one.tasks}


def stored(effects: Mapping[str, Effect]) -> str:
    """Effects as a frame holds them: JSON, null where a flag says nothing of a number."""
    return json.dumps(
        {
            name: {metric: None if np.isnan(size) else size for metric, size in asdict(effect).items()}
            for name, effect in effects.items()
        }
    )


def _measured(cell: str, scores: pd.DataFrame) -> Iterable[Flagged]:
    """What the attack's own measurements warn of, a line a task."""
    for task, part in scores.groupby("task", sort=False):
        each = part.drop_duplicates("ood")
        means = {flag: float(each[flag].mean()) for flag in honesty.FLAGS}
        said = severity.said(means, severity.mean([loaded(text) for text in each["effects"]]))
        if said:
            text = "; also ".join(one.text for one in said) + _next(part, [_remedy(one, part) for one in said])
            yield Flagged(cell, str(task), (str(task),), text, said[0].effect, said[0].belief)


def _remedy(said: severity.Said, rows: pd.DataFrame) -> str:
    """What helps; against ties as a paper prints scores, the scores as they are, which nobody needs to mend."""
    printed = said.remedy == severity.REMEDIES["ties"] and (rows["convention"] == "published").all()
    return PRINTED_TIES if printed else said.remedy


def _next(rows: pd.DataFrame, remedies: Sequence[str]) -> str:
    """What to do about flags with these remedies, "" where another attack is one."""
    steps = list(dict.fromkeys(remedy for remedy in remedies if remedy))
    if "" in remedies and (command := next_command(rows)):
        steps.append(f"`{command}`")
    return f"{NEXT}{'; '.join(steps)}" if steps else ""


def loaded(text: object) -> dict[str, Effect]:
    """As `stored` left them; none in a frame made by hand."""
    found: dict[str, dict[str, float | None]] = json.loads(text) if isinstance(text, str) and text else {}
    return {
        name: Effect(**{metric: np.nan if size is None else size for metric, size in of_flag.items()})
        for name, of_flag in found.items()
    }


def _rising(cell: str, scores: pd.DataFrame) -> Iterable[Flagged]:
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
    for name, (text, effect) in honesty.rising(points).items():
        steps = f"{text}: no radius's figure is to be believed closer than that"
        last = scores[scores["task"] == tasks[name][-1]]
        steps += _next(last, [""])
        yield Flagged(cell, f"{name} over radii", tuple(tasks[name]), steps, effect, severity.AT_MOST)


def _disordered(cell: str, scores: pd.DataFrame) -> Iterable[Flagged]:
    """Attacks that do less damage than weaker ones."""
    for task, (text, effect) in honesty.disordered(left(scores)).items():
        words = f"{text}: the AUROC is too high by {100 * effect:.2f} points at least"
        words += _next(scores[scores["task"] == task], [""])
        yield Flagged(cell, task, (task,), words, effect, severity.AT_MOST)


def left(scores: pd.DataFrame) -> dict[str, honesty.Left]:
    """What each task leaves of the AUROC of one cell, from its tidy frame; sets that stand aside do not count."""
    rows = scores[(scores["metric"] == "auroc") & (scores["distance"] != ASIDE)]
    return {
        str(task): honesty.Left(
            json.loads(str(part["constants"].iloc[0]) or "{}"), dict(zip(part["ood"], part["value"], strict=True))
        )
        for task, part in rows.groupby("task", sort=False)
    }
