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
from oodbench.results.tables import printed
from oodbench.tasks import STORED

METRIC = "auroc"
"""What is compared: unlike FPR@95 it has a value for guessing that everybody knows."""

GUESSING = 0.5

ADAPTIVE = "-adaptive"
"""The end of the kind of an attack that has the threat of another one, and searches harder."""

SIDES: Mapping[str, str] = {"out": "", "in": " on ID images", "both": " on ID and OOD images"}
"""Which images an attack moves, and how that is said."""

NAMED = 3
"""Figures that are not counted are named up to so many."""


def verdict(rows: Sequence[Row], tasks: Sequence[Task], view: str) -> list[Sentence]:
    """What `rows` come to, averaged over `view`: attacks first, then images as they are."""
    found = [_told(group, rows, view) for group in _groups(rows, tasks)]
    told = sorted((one for one in found if one), key=lambda one: one.order)
    attacked = any(one.order[0] in (Rank.LEADS, Rank.ATTACKS) for one in told)
    return [one.sentence for one in told] + [Sentence("Nothing here was attacked.")] * bool(told and not attacked)


class Rank(IntEnum):
    """What is told first: attacks that move OOD images inside a ball, other attacks, what is none, and proofs."""

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


class Left(StrEnum):
    """Why a figure is not counted, as it is said."""

    FLAGGED = "flagged as too good or not to be believed"
    SPARED = "measured under a weaker attack alone"


@dataclass(frozen=True)
class _Standing:
    """What a row has left under the strongest task of a group; `left` says why it is not counted, if it is not."""

    row: Row
    value: Value
    left: Left | None = None

    @property
    def text(self) -> str:
        return f"{self.row.name} {self.value.text} %"


@dataclass(frozen=True)
class _Told:
    order: tuple[int, int]
    sentence: Sentence


def _groups(rows: Sequence[Row], tasks: Sequence[Task]) -> list[_Group]:
    """Tasks by their threat; points of a curve over radii only where there is nothing else."""
    shown = [task for task in tasks if not task.curve] or tasks
    by_threat: dict[tuple[str, ...], list[Task]] = {}
    for task in shown:
        by_threat.setdefault(_threat(rows, task), []).append(task)
    return [_group(rows, found) for found in by_threat.values()]


def _constants(rows: Sequence[Row], task: Task) -> Mapping[str, object]:
    return next((row.constants[task.name] for row in rows if task.name in row.constants), {})


def _threat(rows: Sequence[Row], task: Task) -> tuple[str, ...]:
    """Equal for attacks that may do the same to the same images."""
    about = _constants(rows, task)
    kind = str(about.get("kind", ""))
    weaker = kind.removesuffix(ADAPTIVE)
    if not task.attack or f"{weaker}{ADAPTIVE}" not in STORED:
        return ("", task.name)
    return weaker, str(about.get("epsilon")), str(about.get("side", "out"))


def _group(rows: Sequence[Row], tasks: Sequence[Task]) -> _Group:
    about = _constants(rows, tasks[0])
    kind = STORED.get(str(about.get("kind", "")))
    names = ", ".join(task.name for task in tasks)
    if kind and kind.certifies:
        return _Group(
            tasks, Rank.PROVES, f"Guaranteed, whatever the attack ({names}; the list of tasks says in which sense):"
        )
    if tasks[0].attack:
        how = f"the worst of {names}" if len(tasks) > 1 else names
        side = str(about.get("side", "out"))
        leads = side == "out" and _threat(rows, tasks[0])[0]
        rank = Rank.LEADS if leads else Rank.ATTACKS
        return _Group(tasks, rank, f"Under attack{SIDES.get(side, '')} ({how}),")
    if tasks[0].clean:
        return _Group(tasks, Rank.UNATTACKED, "On images as they are,")
    smoothed = kind is not None and kind.smooths
    begins = f"With scores of {names} and without an attack," if smoothed else f"Under {names}, which is no attack,"
    return _Group(tasks, Rank.UNATTACKED, begins)


def _told(group: _Group, rows: Sequence[Row], view: str) -> _Told | None:
    alike = [task for task in group.tasks if len(task.threats) < 2]
    standings = list(_standings(rows, alike, view))
    counted = [one for one in standings if one.left is None]
    order = (group.rank, -len(counted))
    if len(alike) < len(group.tasks) and not standings:
        text = f"{group.begins} rows were not treated alike, so none is called the best."
        return _Told((group.rank, 1), Sentence(text))
    if not standings:
        return None
    if not counted:
        return _Told(order, Sentence(f"{group.begins} {_none_counts(standings)}."))
    return _Told(order, _leading(group, counted, [one for one in standings if one.left is not None]))


def _none_counts(standings: Sequence[_Standing]) -> str:
    flagged = sum(one.left is Left.FLAGGED for one in standings)
    if flagged == len(standings):
        return f"no figure can be believed: all {flagged} are flagged"
    return f"no figure counts: {flagged} are flagged, and {len(standings) - flagged} were {Left.SPARED}"


def _standings(rows: Sequence[Row], tasks: Sequence[Task], view: str) -> Iterator[_Standing]:
    figures: list[tuple[Row, dict[str, Value]]] = []
    for row in rows:
        means = {task.name: row.means.get(task.name, {}).get(view) for task in tasks if not row.apart.get(task.name)}
        if found := {name: of_view[METRIC] for name, of_view in means.items() if of_view}:
            figures.append((row, found))
    hardest = {task.name for task in tasks if str(_constants(rows, task).get("kind", "")).endswith(ADAPTIVE)}
    met = any(hardest & found.keys() for _, found in figures)
    for row, found in figures:
        name = min(found, key=lambda task: found[task].value)
        spared = met and not hardest & found.keys()
        yield _Standing(row, found[name], Left.SPARED if spared else Left.FLAGGED if row.doubts(name, view) else None)


def _leading(group: _Group, counted: Sequence[_Standing], left: Sequence[_Standing]) -> Sentence:
    """Which detector is the best of those whose figures count, how far others lie behind, and what is not counted."""
    own: dict[str, list[_Standing]] = {}
    for one in counted:
        own.setdefault(one.row.detector, []).append(one)
    # Several rows of a detector, such as seeds, count by their mean: the luckiest of them is no headline.
    leader = max(own, key=lambda name: fmean(one.value.value for one in own[name]))
    others = [one for one in counted if one.row.detector != leader]
    values = sorted((one.value for one in own[leader]), key=lambda value: value.value)
    name = own[leader][0].row.name if len(values) == 1 else leader
    nearest = max(others, key=lambda one: one.value.value, default=None)
    told = _comparison(group, name, values, nearest, _those(left))
    lost = group.attacks and values[-1].value < GUESSING
    bar = values[-1].value if lost or nearest is None else nearest.value.value
    return Sentence(told, _not_counted(left, bar))


def _comparison(group: _Group, name: str, values: Sequence[Value], nearest: _Standing | None, those: str) -> str:
    """The leader beside the nearest other; `those` says which figures are compared."""
    figure = _span(values)
    if group.attacks and values[-1].value < GUESSING:
        return f"{group.begins} nothing holds: the highest AUROC{those} is {figure} ({name}), and guessing has 50 %."
    if group.proves and values[-1].value < GUESSING:
        return f"{group.begins} nothing better than guessing (50 %): the highest AUROC{those} is {figure} ({name})."
    verb = "is sure to keep" if group.proves else "keeps" if group.attacks else "has"
    if nearest is None:
        return f"{group.begins} {name} {verb} an AUROC of {figure}, where guessing has 50 %."
    other = f"{nearest.value.text} %"
    if _too_close(values, nearest.value):
        return (
            f"{group.begins} {name} {verb} an AUROC of {figure} and {nearest.row.name} one of {other}. Their 95 % "
            "intervals or ranges overlap, so these figures alone do not say which is better."
        )
    best = "" if group.attacks or group.proves else ", the highest"
    return (
        f"{group.begins} {name} {verb} an AUROC of {figure}{best}; nothing else{those} is above {other} "
        f"({nearest.row.name})."
    )


def _span(values: Sequence[Value]) -> str:
    low, high = values[0], values[-1]
    return (
        f"{high.text} %"
        if len(values) == 1
        else f"{printed(low.value)} to {printed(high.value)} % ({len(values)} rows)"
    )


def _too_close(values: Sequence[Value], other: Value) -> bool:
    """Whether another value may be as high as the lowest of `values`."""
    lowest = values[0]
    if lowest.low is None or other.high is None:
        return other.value >= lowest.value
    return other.high >= lowest.low


def _those(left: Sequence[_Standing]) -> str:
    """Which figures are compared, where some are not."""
    if any(one.left is Left.FLAGGED for one in left):
        return " that can be believed"
    return " that met the same attacks" if left else ""


def _not_counted(left: Sequence[_Standing], above: float) -> str:
    """Figures that look better than what was compared, by why they are not, the highest by name; "" where none does."""
    said = []
    for why in Left:
        found = sorted((one for one in left if one.left is why and one.value.value > above), key=_highest_first)
        if found:
            named = ", ".join(one.text for one in found[:NAMED])
            more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
            said.append(f"Not counted, since {why}: {named}{more}.")
    return " ".join(said)


def _highest_first(standing: _Standing) -> float:
    return -standing.value.value
