"""The rows of its board that a figure does not draw, or not in full, and why."""

from collections.abc import Iterator, Sequence

from oodbench.results.report.model import Board, Row
from oodbench.results.report.plots import curve_points, mean_of, sets_under, view_of


def undrawn_lines(board: Board, kind: str, task: str, metric: str) -> list[str]:
    """Return the rows of a board, or their tasks, that a figure of this kind lacks and why, a line each.

    Args:
        board: that is drawn.
        kind: of `oodbench.results.report.plots.KINDS`.
        task: as the figure is given it.
        metric: likewise.
    """
    if kind in ("roc", "hist"):
        return [*_without_panels(board, task)]
    tasks = [board_task.name for board_task in (curve_points(board, task) if kind == "eps" else board.tasks)]
    return [*_without_means(board, tasks, metric), *(_without_radius(board, task) if kind == "eps" else ())]


def _without_panels(board: Board, task: str) -> Iterator[str]:
    sets = sets_under(board, task)
    for row in board.rows:
        row_sets = _sets_of(row, task)
        if missing := [ood for ood in sets if ood not in row_sets]:
            yield f"{row.name} under {task}: no scores of {', '.join(missing)}"


def _without_means(board: Board, tasks: Sequence[str], metric: str) -> Iterator[str]:
    view = view_of(board)
    for row in board.rows:
        reasons: dict[str, list[str]] = {}
        for task in tasks:
            if not mean_of(row, task, view, metric):
                reasons.setdefault(_why_without(row, task, board.views[view]), []).append(task)
        for reason, lacking_tasks in reasons.items():
            yield f"{row.name} under {', '.join(lacking_tasks)}: {reason}, so it has no mean over {view}"


def _without_radius(board: Board, task: str) -> Iterator[str]:
    """A task that is no point of its own curve, since rows have it within several radii."""
    by_radius: dict[int, list[str]] = {}
    for row in board.rows:
        if task in row.constants:
            by_radius.setdefault(int(row.constants[task].get("epsilon", 0)), []).append(row.name)
    if len(by_radius) > 1:
        words = "; ".join(f"{radius} of 255 levels: {', '.join(names)}" for radius, names in sorted(by_radius.items()))
        yield f"{task}: it was measured within several radii under this one name, so it is no point ({words})"


def _why_without(row: Row, task: str, sets: Sequence[str]) -> str:
    row_sets = _sets_of(row, task)
    missing = [ood for ood in sets if ood not in row_sets]
    if missing:
        return f"no scores of {', '.join(missing)}" if row_sets else "no scores"
    return "its constants changed between the sets"


def _sets_of(row: Row, task: str) -> set[str]:
    return {panel.ood for panel in row.panels if panel.task == task}
