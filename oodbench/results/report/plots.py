"""Results as figures for a paper: ROC curves, histograms of scores, bars by task, and curves over the attack's radius.

What is drawn is a `Board`, the same plain data that the report page shows. Matplotlib draws it, an extra that is
imported when a figure is asked for (`pip install 'oodbench[plot]'`).
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from oodbench.basics.errors import OodbenchError, unknown
from oodbench.results.metric_facts import FACTS
from oodbench.results.report.model import Board, Panel, Row, Task, Value
from oodbench.suitefiles import suitefile

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, HEIGHT = 3.4, 2.6
"""Inches of one panel: a column of a paper."""

ACROSS = 3
"""Panels beside each other."""

COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#bbbbbb")
"""Colours that the colour-blind tell apart (Paul Tol's); then they begin again, dashed."""

SERIES: Mapping[str, tuple[str, str]] = {
    "id": ("ID", "#4477aa"),
    "clean": ("OOD as they are", "#bbbbbb"),
    "ood": ("OOD", "#ee6677"),
}
"""Of a histogram: what it is called, and its colour."""

SIGNS: Mapping[str, str] = {
    "": "",
    "†": "flagged, and off by one point at most",
    "‡": "flagged, and off by more than one point or by nobody knows how much",
}
"""Signs beside a figure and their meaning, see `oodbench.statistics.severity`; the worst last."""

HATCHED = "hatched: not to be believed, or known to be too good"

LETTERS = 22
"""About so many of the smallest print are an inch."""

Draw = Callable[[Board, str, str], "Figure"]


def select_rows(board: Board, detectors: Sequence[str]) -> Board:
    """The board with the rows of these detectors alone, in this order; all of them as they are if none is named."""
    if not detectors:
        return board
    return replace(board, rows=[row for name in detectors for row in board.rows if row.detector == name])


def figure_bytes(figure: Figure, form: str) -> bytes:
    """A figure as "svg", "pdf" or "png"; the same results give the same bytes."""
    buffer = io.BytesIO()
    date_field = {"svg": "Date", "pdf": "CreationDate"}.get(form)
    import matplotlib

    with matplotlib.rc_context({"svg.hashsalt": "oodbench", "svg.fonttype": "none", "pdf.fonttype": 42}):
        figure.savefig(
            buffer, format=form, dpi=200, bbox_inches="tight", metadata={date_field: None} if date_field else None
        )
    return buffer.getvalue()


def roc(board: Board, task: str, metric: str) -> Figure:
    """ROC curves under `task`, a panel for each OOD set: the share of ID kept over the share of OOD accepted."""
    sets = sets_under(board, task)
    figure, panels = _grid(len(sets))
    for axes, ood in zip(panels, sets, strict=True):
        for number, (row, panel) in enumerate(_panels(board, task, ood)):
            sign = row.mark(task, ood)
            figures = f" ({panel.metrics[metric].text}{sign})" if metric in panel.metrics else _spaced_sign(sign)
            axes.plot(panel.roc.accepted, panel.roc.kept, label=f"{_row_name(row, [task])}{figures}", **_style(number))
        axes.axhline(0.95, color="#999999", linewidth=0.5)
        axes.set(title=f"{ood}, {task}", xlabel="OOD accepted", ylabel="ID kept", xlim=(0, 1), ylim=(0, 1.005))
        axes.legend(loc="lower right", fontsize="x-small", frameon=False)
    _explain(figure, [row.mark(task, ood) for ood in sets for row, _ in _panels(board, task, ood)])
    return figure


def hist(board: Board, task: str, metric: str) -> Figure:
    """Scores of ID and OOD images under `task`, a panel for each row and OOD set; the line keeps 95 % of ID images."""
    row_panels = [(row, panel) for row in board.rows for panel in row.panels if panel.task == task]
    _require_found(row_panels, board, task)
    figure, panels = _grid(len(row_panels))
    for axes, (row, panel) in zip(panels, row_panels, strict=True):
        _histogram(axes, panel, row.mark(task, panel.ood))
        axes.set(title=f"{_row_name(row, [task])}: {panel.ood}, {task}", xlabel="score", yticks=[])
        axes.legend(fontsize="x-small", frameon=False)
    _explain(figure, [row.mark(task, panel.ood) for row, panel in row_panels])
    return figure


def bars(board: Board, task: str, metric: str) -> Figure:
    """The mean of `metric` over the OOD sets by task, a bar for each row, with intervals where there are some.

    A figure that is flagged has its sign above the bar, and is hatched where it is not to be believed.
    """
    view = view_of(board)
    tasks = [
        board_task.name
        for board_task in board.tasks
        if any(mean_of(row, board_task.name, view, metric) for row in board.rows)
    ]
    rows = [row for row in board.rows if any(mean_of(row, task, view, metric) for task in tasks)]
    if not rows:
        raise OodbenchError(f"no row has a mean over the {view} of suite {board.suite}: nothing to draw")
    figure, (axes,) = _grid(1, wide=max(1.0, len(tasks) * len(rows) / 10))
    share = 0.8 / len(rows)
    signs: list[str] = []
    doubted = False
    for number, row in enumerate(rows):
        values = {task: value for task in tasks if (value := mean_of(row, task, view, metric))}
        for order, (task, value) in enumerate(values.items()):
            position, doubtful = tasks.index(task) + share * (number - (len(rows) - 1) / 2), row.doubts(task, view)
            axes.bar(
                position,
                100 * value.value,
                share,
                yerr=_whiskers(value),
                color=COLOURS[number % len(COLOURS)],
                hatch="////" if doubtful else None,
                edgecolor="white",
                label=None if order else _legend_label(row, values, view),  # a row is in the legend once
                error_kw={"linewidth": 0.8},
            )
            _draw_sign(axes, position, value.value if value.high is None else value.high, row.mark(task, view))
            signs.append(row.mark(task, view))
            doubted |= doubtful
    axes.set_xticks(range(len(tasks)), tasks, rotation=20, ha="right")
    axes.set(title=f"{board.suite}, mean over {view}", ylabel=f"{FACTS[metric].title}, percent", ylim=(0, 100))
    axes.legend(fontsize="x-small", frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    _explain(figure, signs, HATCHED if doubted else "")
    return figure


def eps(board: Board, task: str, metric: str) -> Figure:
    """The mean of `metric` over the OOD sets against the radius of the attack `task`, a line for each row."""
    points = curve_points(board, task)
    if len(points) < 2:
        raise OodbenchError(
            f"there is no curve of {task!r} over radii: run it at several, as in "
            f"`oodbench run --suite {suitefile.suite_argument(board.suite)} --detector msp --task {task} --eps 0,2,4,8`"
        )
    view = view_of(board)
    figure, (axes,) = _grid(1)
    signs: list[str] = []
    for number, row in enumerate(board.rows):
        row_points = [(point, value) for point in points if (value := mean_of(row, point.name, view, metric))]
        if not row_points:
            continue
        heights = [100 * value.value for _, value in row_points]
        label = _legend_label(row, [point.name for point, _ in row_points], view)
        axes.plot([point.radius for point, _ in row_points], heights, marker="o", label=label, **_style(number))
        for point, value in row_points:
            _draw_sign(axes, point.radius, value.value + 0.02, row.mark(point.name, view))
            signs.append(row.mark(point.name, view))
    if not axes.lines:
        raise OodbenchError(f"no row has a mean over the {view} of suite {board.suite}: nothing to draw")
    axes.set(title=f"{board.suite}, mean over {view}", ylim=(0, 100))
    axes.set(xlabel="radius, of 255 levels", ylabel=f"{FACTS[metric].title}, percent")
    axes.legend(fontsize="x-small", frameon=False)
    _explain(figure, signs)
    return figure


KINDS: Mapping[str, Draw] = {"roc": roc, "hist": hist, "bars": bars, "eps": eps}
"""By what `oodbench plot --kind` calls them; each is given a board, a task and a metric."""


def _grid(count: int, wide: float = 1.0) -> tuple[Figure, list[Axes]]:
    """A figure of so many panels."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise OodbenchError(
            "figures are drawn by Matplotlib, which is missing: pip install 'oodbench[plot]'"
        ) from error

    columns = min(ACROSS, count)
    rows = -(-count // columns)
    figure = Figure(figsize=(WIDTH * columns * wide, HEIGHT * rows), layout="constrained")
    return figure, [figure.add_subplot(rows, columns, number + 1) for number in range(count)]


def _style(number: int) -> dict[str, Any]:
    return {"color": COLOURS[number % len(COLOURS)], "linestyle": "-" if number < len(COLOURS) else "--"}


def sets_under(board: Board, task: str) -> list[str]:
    """The OOD sets that some row has scores of under `task`.

    Raises:
        OodbenchError: none has.
    """
    sets = list(dict.fromkeys(panel.ood for row in board.rows for panel in row.panels if panel.task == task))
    _require_found(sets, board, task)
    return sets


def _require_found(items: Sequence[object], board: Board, task: str) -> None:
    if not items:
        raise unknown("task", task, [board_task.name for board_task in board.tasks])


def _panels(board: Board, task: str, ood: str) -> list[tuple[Row, Panel]]:
    return [(row, panel) for row in board.rows for panel in row.panels if (panel.task, panel.ood) == (task, ood)]


def view_of(board: Board) -> str:
    """The view whose means a figure shows: the first one, which is the widest."""
    return next(iter(board.views))


def curve_points(board: Board, task: str) -> list[Task]:
    """The tasks that are points of the curve of `task` over radii, by radius."""
    return sorted(
        (board_task for board_task in board.tasks if board_task.point == task), key=lambda board_task: board_task.radius
    )


def mean_of(row: Row, task: str, view: str, metric: str) -> Value | None:
    """The mean that a figure shows of a row, None where the row lacks one of the view's sets."""
    means = row.means.get(task, {}).get(view)
    return means.get(metric) if means else None


def _whiskers(value: Value) -> list[list[float]] | None:
    """The distances from the value down and up to the ends of its interval, in percent; None without an interval."""
    if value.low is None or value.high is None:
        return None
    return [[100 * (value.value - value.low)], [100 * (value.high - value.value)]]


def _spaced_sign(sign: str) -> str:
    return f" {sign}" if sign else ""


def _row_name(row: Row, tasks: Sequence[str]) -> str:
    """A row by its name, and why its figures under `tasks` are not to be held against those of the others, if so."""
    reasons = dict.fromkeys(row.apart[task] for task in tasks if task in row.apart)
    return ", ".join([row.name, *reasons])


def _legend_label(row: Row, tasks: Iterable[str], view: str) -> str:
    """A row as the legend has it, with the sign of the worst that is flagged of its figures under `tasks`."""
    tasks = [*tasks]
    return _row_name(row, tasks) + _spaced_sign(
        max((row.mark(task, view) for task in tasks), key=[*SIGNS].index, default="")
    )


def _draw_sign(axes: Axes, at: float, height: float, sign: str) -> None:
    """The sign of a figure, if it has one, above what is drawn of it up to `height`, a fraction."""
    if sign:
        place = at, min(100 * height, 94)  # inside the axes
        axes.annotate(sign, place, (0, 1), textcoords="offset points", ha="center", fontsize="x-small")


def _explain(figure: Figure, signs: Iterable[str], extra: str = "") -> None:
    """A line below the panels that says what the signs in a figure mean; none where it has none."""
    used_signs = set(signs)
    meanings = [f"{sign} {meaning}" for sign, meaning in SIGNS.items() if meaning and sign in used_signs]
    text = "; ".join([*meanings, *([extra] if extra else [])])
    if text:
        figure.supxlabel("\n".join(textwrap.wrap(text, int(LETTERS * figure.get_figwidth()))), fontsize="xx-small")


def _histogram(axes: Axes, panel: Panel, sign: str) -> None:
    bins = panel.histogram
    for name, (series_title, colour) in SERIES.items():
        if counts := bins.counts.get(name):
            width = (bins.high - bins.low) / len(counts)
            edges = [bins.low + width * place for place in range(len(counts) + 1)]
            share = [count / max(1, sum(counts)) for count in counts]
            label = f"{series_title}, {panel.task}" if name == "ood" and "clean" in bins.counts else series_title
            label += _spaced_sign(sign) if name == "ood" else ""
            axes.stairs(share, edges, fill=name != "clean", alpha=0.6, color=colour, label=label)
    axes.axvline(panel.threshold, color="black", linewidth=0.8)
