"""A tidy frame to the table that a terminal shows: detectors down, tasks across, what all rows share said once."""

import textwrap
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from oodbench.metrics import AT_CLEAN
from oodbench.results.metric_facts import FACTS
from oodbench.results.tables import flags
from oodbench.results.tables.brief import brief_notes
from oodbench.results.tables.comparable import OF_ID
from oodbench.results.tables.layout import (
    best_values,
    failure_rows,
    flag_mark,
    leading_metrics,
    measured_rows,
    ordered_entries,
    split_by_suite,
    value_text,
)
from oodbench.results.tables.lines import lines
from oodbench.results.tables.rows import Rows, rows_of
from oodbench.results.tables.summary import MEAN, SUITE, Entry, View

WIDTH = 80
"""Columns where nobody knows of how many there are, as in a file or a pipe."""

LABEL = 28
"""Letters of a row's name before it goes on in the next line."""

GAP = "  "
"""Between two tasks; between the metrics of one there is a single space."""

NOTHING, INCOMPLETE, FAILED, BEST = "–", "missing", "failed", "*"
"""Marks of a cell that was not measured, lacks sets, is of a failed detector, or holds the best value."""


@dataclass(frozen=True)
class Column:
    """A column of numbers: the task that it is of ("" for none), its heading, and a text for each row."""

    task: str
    heading: str
    cells: Sequence[str]

    @property
    def width(self) -> int:
        """The width of the widest of its texts."""
        return max(map(len, (self.heading, *self.cells)))


def render_compact(
    frame: pd.DataFrame, view: View | None = None, width: int = WIDTH, left_out: Sequence[str] = ()
) -> str:
    """A tidy frame for a terminal, in percent, one part a suite: FPR@95 and AUROC where `view` names no metrics.

    What all rows share stands above the table once, and below it what this table cannot be read without. All of a
    task's metrics stand side by side if that fits, else each metric has a block of its own, and a block that is still
    too wide is cut between tasks.

    Args:
        frame: from `tidy`.
        view: what of it is shown.
        width: letters of a line; a number and its row's name may need more.
        left_out: what else must be said of the results, below the last table.

    Raises:
        OodbenchError: a set, mean or metric is not known.
    """
    parts = []
    suites = split_by_suite(frame)
    for number, (_, part) in enumerate(suites, 1):
        more = left_out if number == len(suites) else ()
        parts.append(_suite_table(part, view or View(), width, more))
    return "\n\n".join(parts)


def _suite_table(frame: pd.DataFrame, view: View, width: int, left_out: Sequence[str]) -> str:
    convention = str(frame["convention"].iloc[0])
    metrics = list(dict.fromkeys(view.metrics)) or list(leading_metrics(convention)[:2])
    measured = measured_rows(frame)
    entries = [] if measured.empty else ordered_entries(measured, view)
    entries = [entry for entry in entries if entry.metric in {*metrics, OF_ID}]
    summary = flags.competing_entries(entries, measured[measured["metric"] != OF_ID]) if entries else []
    rows = rows_of(summary, lines(frame, view.seeds), measured, failure_rows(frame, view))
    shown = [entry for entry in summary if entry.metric in metrics]
    name, version, fingerprint = (frame[column].iloc[0] for column in SUITE)
    shared = [*rows.shared, *([f"convention {convention!r}"] if convention != "default" else [])]
    head = [f"{name}, version {version}, fingerprint {str(fingerprint)[:8]}", *([", ".join(shared)] if shared else [])]
    head += [f"{task}: {', '.join(said)}" for task, said in rows.of_task.items()]
    blocks = _blocks(rows, shown, metrics, measured, view, width)
    notes = brief_notes(frame, measured, rows, shown, metrics, left_out)
    wrapped = [line for text in head for line in textwrap.wrap(text, width)]
    return "\n\n".join(["\n".join(wrapped), *blocks, "\n".join(wrap_note(note, width) for note in notes)])


def wrap_note(text: str, width: int) -> str:
    """A note in lines of `width` letters, its first as far left as it goes. Words stay whole: some are commands."""
    return "\n".join(textwrap.wrap(text, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False))


def _blocks(
    rows: Rows, summary: Sequence[Entry], metrics: Sequence[str], measured: pd.DataFrame, view: View, width: int
) -> list[str]:
    """The table, or the tables that its metrics and tasks are spread over."""
    effects = flags.flag_sizes(summary, measured[measured["metric"] != OF_ID]) if len(measured) else {}
    columns = _columns(rows, summary, metrics, effects)
    second_heading = _second_heading(summary, view)
    labels = [
        _label_column(rows, second_heading, width),
        *([_set_column(rows, second_heading)] if second_heading else []),
    ]
    room = width - sum(max(map(len, column)) + len(GAP) for column in labels)
    task_metrics = [metric for metric in metrics if metric != OF_ID]
    if not task_metrics or (len(task_metrics) > 1 and _total_width(columns) <= room):
        return [_grid(labels, columns)]
    blocks = []
    for metric in task_metrics:
        # A block is of one metric, which its corner names; its columns are called as their tasks are.
        titled_labels = [[FACTS[metric].short, *labels[0][1:]], *labels[1:]]
        block_columns = [
            Column("", column.task, column.cells) for column in columns if column.heading == FACTS[metric].short
        ]
        block_columns += [column for column in columns if not column.task] if metric == task_metrics[-1] else []
        while block_columns:
            count = next(
                (count for count in range(len(block_columns), 1, -1) if _total_width(block_columns[:count]) <= room), 1
            )
            blocks.append(
                _grid(
                    titled_labels if block_columns[0].heading != FACTS[OF_ID].short else labels, block_columns[:count]
                )
            )
            block_columns = block_columns[count:]
    return blocks


def _second_heading(summary: Sequence[Entry], view: View) -> str:
    """The heading of the second column, which says of which set or mean a row is; "" if none is needed."""
    sets_beside = any(not entry.ood.startswith(MEAN) for entry in summary)
    return "OOD set" if view.by == "ood" else "mean over" if view.by == "mean" or sets_beside else ""


def _label_column(rows: Rows, second_heading: str, width: int) -> list[str]:
    """The first column: what rows are called, once where several sets follow each other; a text may have lines."""
    texts, before = [], ""
    for row in rows.rows:
        title = "" if second_heading and row.label == before else row.label
        texts.append(title)
        before = row.label
    longest = max(16, min(LABEL, width // 3))
    # What is too long goes on in rows of its own, which hold no numbers: `_grid` knows them by their line break.
    return ["detector", *("\n".join(textwrap.wrap(text, longest, subsequent_indent="  ")) for text in texts)]


def _set_column(rows: Rows, heading: str) -> list[str]:
    return [heading, *(row.ood.removeprefix(MEAN) for row in rows.rows)]


def _columns(
    rows: Rows, summary: Sequence[Entry], metrics: Sequence[str], effects: Mapping[flags.Place, float]
) -> list[Column]:
    """One a task and metric; ID accuracy, which no task changes, has one of its own."""
    best = best_values(summary)
    measured = {(*rows.row_of[entry], entry.task, entry.metric): entry for entry in summary}
    tasks = list(dict.fromkeys(entry.task for entry in summary))
    measured_pairs = {(entry.task, entry.metric) for entry in summary}
    columns = []
    for task in tasks:
        for metric in metrics:
            if metric == OF_ID or (metric in AT_CLEAN and (task, metric) not in measured_pairs):
                continue
            entries = [measured.get((row.label, row.ood, task, metric)) for row in rows.rows]
            columns.append(Column(task, FACTS[metric].short, _aligned_cells(entries, best, effects)))
    if OF_ID in metrics:
        keys = [[(row.label, row.ood, task, OF_ID) for task in tasks] for row in rows.rows]
        entries = [next((measured[key] for key in of_row if key in measured), None) for of_row in keys]
        columns.append(Column("", FACTS[OF_ID].short, _aligned_cells(entries, best, effects)))
    first, *others = columns or [Column("", "", [NOTHING] * len(rows.rows))]
    return [_with_failures(first, rows), *others]


def _with_failures(column: Column, rows: Rows) -> Column:
    """The column with a word in the rows of detectors that failed."""
    cells = [
        f"{FAILED:>{len(cell.rstrip())}}".ljust(len(cell)) if row.failed else cell
        for row, cell in zip(rows.rows, column.cells, strict=True)
    ]
    return Column(column.task, column.heading, cells)


def _aligned_cells(
    entries: Sequence[Entry | None],
    best: Mapping[tuple[str, str, str, Hashable], str],
    effects: Mapping[flags.Place, float],
) -> list[str]:
    """The cells of a column: points under points, signs behind them."""
    texts, signs = [], []
    for entry in entries:
        text = value_text(entry) if entry else NOTHING
        texts.append(INCOMPLETE if entry and entry.incomplete else text)
        is_best = entry is not None and best.get((*entry.place, entry.metric, entry.rivals)) == text.partition(" ")[0]
        signs.append(BEST * is_best + (flag_mark(entry, effects) if entry else ""))
    room = max(map(len, signs), default=0)
    # Words may take the room of the signs: they have none.
    numbers = [len(text) for text, entry in zip(texts, entries, strict=True) if entry and not entry.incomplete]
    digits = max(numbers, default=0)
    return [
        f"{text:>{digits}}{sign:{room}}" if entry and not entry.incomplete else f"{text:>{digits}}".ljust(digits + room)
        for text, sign, entry in zip(texts, signs, entries, strict=True)
    ]


def _groups(columns: Sequence[Column]) -> list[list[Column]]:
    """Columns of one task together."""
    groups: list[list[Column]] = []
    for column in columns:
        if groups and column.task and groups[-1][0].task == column.task:
            groups[-1].append(column)
        else:
            groups.append([column])
    return groups


def _column_widths(group: Sequence[Column]) -> list[int]:
    """The widths of a task's columns, of which the first is made wider where the task's name needs more."""
    widths = [column.width for column in group]
    widths[0] += max(0, len(group[0].task) - sum(widths) - len(widths) + 1)
    return widths


def _total_width(columns: Sequence[Column]) -> int:
    groups = [_column_widths(group) for group in _groups(columns)]
    return sum(sum(widths) + len(widths) - 1 for widths in groups) + len(GAP) * (len(groups) - 1)


def _grid(labels: Sequence[Sequence[str]], columns: Sequence[Column]) -> str:
    """Lay out the table: labels to the left, numbers to the right, tasks above the metrics where columns are of tasks.

    By hand, since a task's heading spans the columns of its metrics, for which tabulate has no means; nor does it put
    one space between the metrics of a task and more between tasks.
    """
    groups = _groups(columns)
    widths = [max(len(line) for text in column for line in text.split("\n")) for column in labels]
    first, above = [f"{'':{width}}" for width in widths], []
    for group in groups:
        above.append(f"{group[0].task:^{sum(_column_widths(group)) + len(group) - 1}}")
    text_lines = [GAP.join([*first, *above])] if any(group[0].task for group in groups) else []
    for number in range(len(labels[0])):
        numbers = [
            " ".join(
                f"{column.heading if number == 0 else column.cells[number - 1]:>{width}}"
                for column, width in zip(group, _column_widths(group), strict=True)
            )
            for group in groups
        ]
        row_labels = [column[number].split("\n") for column in labels]
        text_lines.append(GAP.join([*_pad([texts[0] for texts in row_labels], widths), *numbers]))
        text_lines += [GAP.join(_pad([text], widths)) for text in row_labels[0][1:]]
        if number == 0:
            text_lines.append("-" * max(map(len, text_lines)))
    return "\n".join(line.rstrip() for line in text_lines)


def _pad(texts: Collection[str], widths: Sequence[int]) -> list[str]:
    return [f"{text:{width}}" for text, width in zip(texts, widths, strict=False)]
