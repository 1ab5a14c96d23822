"""A board in a few sentences: what its detectors keep under attack, which is best without one, and what is not counted.

No sentence rests on a figure that is flagged as not to be believed, or as known to be too good: such figures are named
as what they are. Where several attacks have the same threat, a detector keeps what the strongest of them left, and one
that met only a weaker one than others did is not compared with these.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from statistics import fmean

from oodbench.results.report.model import Row, Sentence, Task, Value
from oodbench.results.tables import percent_text
from oodbench.tasks import STORED

METRIC = "auroc"
"""The metric that is compared: unlike FPR@95 it has a value for guessing that everybody knows."""

GUESSING = 0.5

ADAPTIVE = "-adaptive"
"""The end of the kind of an attack that has the threat of another one, and searches harder."""

SIDES: Mapping[str, str] = {"out": "", "in": " on ID images", "both": " on ID and OOD images"}
"""Words for the images that an attack moves, by its side."""

NAMED = 3
"""Figures that are not counted are named up to so many."""


def verdict(rows: Sequence[Row], tasks: Sequence[Task], view: str) -> list[Sentence]:
    """Return the outcome of `rows`, averaged over `view`: attacks first, then images as they are."""
    conclusions = [_conclusion(group, rows, view) for group in _groups(rows, tasks)]
    ordered = sorted((conclusion for conclusion in conclusions if conclusion), key=lambda conclusion: conclusion.order)
    attacked = any(conclusion.order[0] in (Rank.LEADS, Rank.ATTACKS) for conclusion in ordered)
    return [conclusion.sentence for conclusion in ordered] + [Sentence("Nothing here was attacked.")] * bool(
        ordered and not attacked
    )


class Rank(IntEnum):
    """The order of sentences: attacks that move OOD images inside a ball, other attacks, no attacks, proofs."""

    LEADS = 0
    ATTACKS = 1
    UNATTACKED = 2
    PROVES = 3


@dataclass(frozen=True)
class _Group:
    """Tasks with one threat, and how a sentence about them begins."""

    tasks: Sequence[Task]
    rank: Rank
    begins: str

    @property
    def attacks(self) -> bool:
        return self.rank in (Rank.LEADS, Rank.ATTACKS)

    @property
    def proves(self) -> bool:
        return self.rank == Rank.PROVES


class Uncounted(StrEnum):
    """The reason why a figure is not counted, in words."""

    FLAGGED = "flagged as too good or not to be believed"
    SPARED = "measured under a weaker attack alone"


@dataclass(frozen=True)
class _Standing:
    """The value of a row under the strongest task of a group; `uncounted` says why it is not counted, if it is not."""

    row: Row
    value: Value
    uncounted: Uncounted | None = None

    @property
    def text(self) -> str:
        return f"{self.row.name} {self.value.text} %"


@dataclass(frozen=True)
class _Conclusion:
    order: tuple[int, int]
    sentence: Sentence


def _groups(rows: Sequence[Row], tasks: Sequence[Task]) -> list[_Group]:
    """Tasks by their threat; points of a curve over radii only where there is nothing else."""
    shown = [task for task in tasks if not task.curve] or tasks
    by_threat: dict[tuple[str, ...], list[Task]] = {}
    for task in shown:
        by_threat.setdefault(_threat(rows, task), []).append(task)
    return [_group(rows, group_tasks) for group_tasks in by_threat.values()]


def _constants(rows: Sequence[Row], task: Task) -> Mapping[str, object]:
    return next((row.constants[task.name] for row in rows if task.name in row.constants), {})


def _threat(rows: Sequence[Row], task: Task) -> tuple[str, ...]:
    """Equal for attacks that may do the same to the same images."""
    constants = _constants(rows, task)
    kind = str(constants.get("kind", ""))
    base_kind = kind.removesuffix(ADAPTIVE)
    if not task.attack or f"{base_kind}{ADAPTIVE}" not in STORED:
        return ("", task.name)
    return base_kind, str(constants.get("epsilon")), str(constants.get("side", "out"))


def _group(rows: Sequence[Row], tasks: Sequence[Task]) -> _Group:
    constants = _constants(rows, tasks[0])
    kind = STORED.get(str(constants.get("kind", "")))
    names = ", ".join(task.name for task in tasks)
    if kind and kind.certifies:
        return _Group(
            tasks, Rank.PROVES, f"Guaranteed, whatever the attack ({names}; the list of tasks says in which sense):"
        )
    if tasks[0].attack:
        attacks_text = f"the worst of {names}" if len(tasks) > 1 else names
        side = str(constants.get("side", "out"))
        leads = side == "out" and _threat(rows, tasks[0])[0]
        rank = Rank.LEADS if leads else Rank.ATTACKS
        return _Group(tasks, rank, f"Under attack{SIDES.get(side, '')} ({attacks_text}),")
    if tasks[0].clean:
        return _Group(tasks, Rank.UNATTACKED, "On images as they are,")
    smoothed = kind is not None and kind.smooths
    begins = f"With scores of {names} and without an attack," if smoothed else f"Under {names}, which is no attack,"
    return _Group(tasks, Rank.UNATTACKED, begins)


def _conclusion(group: _Group, rows: Sequence[Row], view: str) -> _Conclusion | None:
    comparable_tasks = [task for task in group.tasks if len(task.threats) < 2]
    standings = list(_standings(rows, comparable_tasks, view))
    counted = [standing for standing in standings if standing.uncounted is None]
    order = (group.rank, -len(counted))
    if len(comparable_tasks) < len(group.tasks) and not standings:
        text = f"{group.begins} rows were not treated alike, so none is called the best."
        return _Conclusion((group.rank, 1), Sentence(text))
    if not standings:
        return None
    if not counted:
        return _Conclusion(order, Sentence(f"{group.begins} {_none_counts_text(standings)}."))
    return _Conclusion(
        order, _leader_sentence(group, counted, [standing for standing in standings if standing.uncounted is not None])
    )


def _none_counts_text(standings: Sequence[_Standing]) -> str:
    flagged = sum(standing.uncounted is Uncounted.FLAGGED for standing in standings)
    if flagged == len(standings):
        return f"no figure can be believed: all {flagged} are flagged"
    return f"no figure counts: {flagged} are flagged, and {len(standings) - flagged} were {Uncounted.SPARED}"


def _standings(rows: Sequence[Row], tasks: Sequence[Task], view: str) -> Iterator[_Standing]:
    figures: list[tuple[Row, dict[str, Value]]] = []
    for row in rows:
        means = {task.name: row.means.get(task.name, {}).get(view) for task in tasks if not row.apart.get(task.name)}
        if values := {name: of_view[METRIC] for name, of_view in means.items() if of_view}:
            figures.append((row, values))
    hardest = {task.name for task in tasks if str(_constants(rows, task).get("kind", "")).endswith(ADAPTIVE)}
    hardest_was_met = any(hardest & values.keys() for _, values in figures)
    for row, values in figures:
        name = min(values, key=lambda task: values[task].value)
        is_spared = hardest_was_met and not hardest & values.keys()
        yield _Standing(
            row, values[name], Uncounted.SPARED if is_spared else Uncounted.FLAGGED if row.doubts(name, view) else None
        )


def _leader_sentence(group: _Group, counted: Sequence[_Standing], uncounted: Sequence[_Standing]) -> Sentence:
    """Name the best detector of those whose figures count, the nearest other one, and the figures that do not count."""
    by_detector: dict[str, list[_Standing]] = {}
    for standing in counted:
        by_detector.setdefault(standing.row.detector, []).append(standing)
    # Several rows of a detector, such as seeds, count by their mean: the luckiest of them is no headline.
    leader = max(by_detector, key=lambda name: fmean(standing.value.value for standing in by_detector[name]))
    others = [standing for standing in counted if standing.row.detector != leader]
    values = sorted((standing.value for standing in by_detector[leader]), key=lambda value: value.value)
    name = by_detector[leader][0].row.name if len(values) == 1 else leader
    nearest = max(others, key=lambda standing: standing.value.value, default=None)
    text = _comparison_text(group, name, values, nearest, _restriction_text(uncounted))
    nothing_holds = group.attacks and values[-1].value < GUESSING
    bar = values[-1].value if nothing_holds or nearest is None else nearest.value.value
    return Sentence(text, _not_counted_text(uncounted, bar))


def _comparison_text(
    group: _Group, name: str, values: Sequence[Value], nearest: _Standing | None, restriction: str
) -> str:
    """The sentence on the leader beside the nearest other; `restriction` says which figures are compared."""
    figure = _span_text(values)
    if group.attacks and values[-1].value < GUESSING:
        return (
            f"{group.begins} nothing holds: the highest AUROC{restriction} is {figure} ({name}), and guessing has 50 %."
        )
    if group.proves and values[-1].value < GUESSING:
        return (
            f"{group.begins} nothing better than guessing (50 %): the highest AUROC{restriction} is {figure} ({name})."
        )
    verb = "is sure to keep" if group.proves else "keeps" if group.attacks else "has"
    if nearest is None:
        return f"{group.begins} {name} {verb} an AUROC of {figure}, where guessing has 50 %."
    other_text = f"{nearest.value.text} %"
    if _too_close(values, nearest.value):
        return (
            f"{group.begins} {name} {verb} an AUROC of {figure} and {nearest.row.name} one of {other_text}. Their 95 % "
            "intervals or ranges overlap, so these figures alone do not say which is better."
        )
    superlative = "" if group.attacks or group.proves else ", the highest"
    return (
        f"{group.begins} {name} {verb} an AUROC of {figure}{superlative}; nothing else{restriction} is above "
        f"{other_text} ({nearest.row.name})."
    )


def _span_text(values: Sequence[Value]) -> str:
    low, high = values[0], values[-1]
    return (
        f"{high.text} %"
        if len(values) == 1
        else f"{percent_text(low.value)} to {percent_text(high.value)} % ({len(values)} rows)"
    )


def _too_close(values: Sequence[Value], other: Value) -> bool:
    """True if another value may be as high as the lowest of `values`."""
    lowest = values[0]
    if lowest.low is None or other.high is None:
        return other.value >= lowest.value
    return other.high >= lowest.low


def _restriction_text(uncounted: Sequence[_Standing]) -> str:
    """The words that restrict a comparison to the figures that count; "" if all do."""
    if any(standing.uncounted is Uncounted.FLAGGED for standing in uncounted):
        return " that can be believed"
    return " that met the same attacks" if uncounted else ""


def _not_counted_text(uncounted: Sequence[_Standing], bar: float) -> str:
    """Figures that look better than what was compared, by why they are not, the highest by name; "" where none does."""
    sentences = []
    for reason in Uncounted:
        hidden = sorted(
            (standing for standing in uncounted if standing.uncounted is reason and standing.value.value > bar),
            key=_highest_first,
        )
        if hidden:
            named = ", ".join(standing.text for standing in hidden[:NAMED])
            rest = f" and {len(hidden) - NAMED} more" if len(hidden) > NAMED else ""
            sentences.append(f"Not counted, since {reason}: {named}{rest}.")
    return " ".join(sentences)


def _highest_first(standing: _Standing) -> float:
    return -standing.value.value
