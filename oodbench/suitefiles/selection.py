"""The part of a suite that a run asks for: some of its OOD sets, some of its tasks, at which radius, against whom."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace

from oodbench.basics.errors import OodbenchError, unknown
from oodbench.suite import Suite
from oodbench.tasks import KINDS, Task

GRID = 255
"""Levels of an 8-bit image; radii count them."""


def parse_radii(text: str) -> tuple[int, ...]:
    """Parse radii in 1/255, such as `0,1,2,4`.

    Raises:
        OodbenchError: something else than whole numbers from 0 to 255.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) <= GRID for part in parts):
        raise OodbenchError(
            f"--eps {text!r} is not a list of whole numbers from 0 to 255: write for instance --eps 2,4,8"
        )
    return tuple(dict.fromkeys(int(part) for part in parts))


def curve_of(task: str) -> tuple[str, int] | None:
    """The name of a curve over radii and the radius in 1/255, for a task that `vary` made for one of several radii."""
    named = re.fullmatch(r"(.+)-eps(\d+)", task)
    return (named[1], int(named[2])) if named else None


def curves(radii: Mapping[str, int]) -> dict[str, tuple[str, int]]:
    """The curve over radii and the radius of each task that is a point of one.

    The suite's own task, at its own radius, is a point of the curve that bears its name.

    Args:
        radii: of the tasks that were done, by name, in 1/255.
    """
    points = {task: point for task in radii if (point := curve_of(task))}
    own_points = {name: (name, int(radii[name])) for name, _ in points.values() if name in radii}
    return points | {task: point for task, point in own_points.items() if point not in points.values()}


def name_before_variants(task: str) -> str:
    """The name of a task before `vary` added the side and the radius, which `--set` takes."""
    return re.sub(r"(-(in|both))?(-eps\d+)?$", "", task)


def restrict(suite: Suite, sets: Sequence[str]) -> Suite:
    """Restrict a suite to some of its OOD sets; to all if `sets` is empty.

    Raises:
        OodbenchError: the suite has no such set.
    """
    known = [ood.set for ood in suite.ood]
    for name in sets:
        if name not in known:
            raise unknown(f"OOD set of suite {suite.name!r}", name, known)
    return replace(suite, only=tuple(dict.fromkeys(sets)))


def vary(suite: Suite, names: Sequence[str], radii: Sequence[int], side: str) -> Suite:
    """Give a suite the tasks that are asked for; each variant has a name of its own.

    Args:
        suite: as its file says.
        names: tasks of the suite, or kinds of task that it lacks, which take their radius from its attacks in the same
            norm; none for all that the suite has.
        radii: each attack once at every one of these, in 1/255; none for the suite's own, which keeps its name among
            others too.
        side: who is attacked, see `oodbench.tasks.task.SIDES`.

    Raises:
        OodbenchError: no such task, or nothing that has a radius or sides.
    """
    tasks = {name: _task_called(suite, name) for name in names or suite.tasks}
    if side != "out":
        tasks = {
            f"{name}-{side}": _with_side(task, side) for name, task in tasks.items() if _has_constant(task, "side")
        } or _refuse_tasks(suite, tasks, "who is attacked can be chosen of none of the tasks")
    if radii:
        attacks = {name: task for name, task in tasks.items() if _has_constant(task, "epsilon")}
        if not attacks:
            _refuse_tasks(suite, tasks, "--eps needs an attack, and there is none among the tasks")
        tasks = {name: task for name, task in tasks.items() if name not in attacks} | {
            name if radius == task.epsilon else f"{name}-eps{radius}": _with_radius(task, radius)
            for name, task in attacks.items()
            for radius in radii
        }
    return replace(suite, tasks=tasks)


def _task_called(suite: Suite, name: str) -> Task:
    if name in suite.tasks:
        return suite.tasks[name]
    if name not in KINDS:
        raise unknown("task", name, {*suite.tasks, *KINDS})
    kind = KINDS[name]
    radii = (task.epsilon for task in suite.tasks.values() if _has_constant(task, "epsilon") and task.norm == kind.norm)
    radius = next(radii, None)
    task = kind()
    return task if radius is None or not _has_constant(task, "epsilon") else replace(task, epsilon=radius)  # type: ignore[type-var]


def _with_side(task: Task, side: str) -> Task:
    try:
        return replace(task, side=side)  # type: ignore[type-var]
    except ValueError as error:
        raise OodbenchError(f"task {task.kind!r}: {error}") from error


def _with_radius(task: Task, radius: int) -> Task:
    try:
        return replace(task, epsilon=radius)  # type: ignore[type-var]
    except ValueError as error:
        raise OodbenchError(f"task {task.kind!r}: {error}") from error


def _has_constant(task: Task, name: str) -> bool:
    return name in {field.name for field in fields(task)}  # type: ignore[arg-type]


def _refuse_tasks(suite: Suite, chosen: Iterable[str], what: str) -> dict[str, Task]:
    raise OodbenchError(f"suite {suite.name!r}: {what} {', '.join(chosen)}; name one with --task linf")
