"""A tidy frame to a printed table: markdown, LaTeX, HTML or plain text."""

import json
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from html import escape
from math import isfinite, isnan, nan
from typing import Any, cast

import numpy as np
import pandas as pd
from tabulate import tabulate

from oodbench.basics.words import in_markdown_cell
from oodbench.metrics import AT_CLEAN, CONVENTIONS
from oodbench.results.metric_facts import FACTS
from oodbench.results.tables import flags
from oodbench.results.tables.comparable import OF_ID, tell_threats_apart
from oodbench.results.tables.difference_notes import BASE, difference_notes
from oodbench.results.tables.frame import FAILURE
from oodbench.results.tables.lines import cell_name, line_names, lines
from oodbench.results.tables.notes import footnotes, stale_notes
from oodbench.results.tables.published import Published
from oodbench.results.tables.summary import MEAN, SUITE, Entry, View, selected_sets, summarise
from oodbench.statistics import severity

LONGEST_FAILURE = 60
"""Letters of a failure that a table's row holds."""

FIRST, LAST = "\ue000", "\ue001"
"""Around what is to be bold while a table is laid out: letters of no language, which survive any escaping."""


@dataclass(frozen=True)
class Style:
    """The markup of one kind of text.

    Attributes:
        table: tabulate's name of it.
        bold: before and after the best value of a column.
        frame: around title, table and notes, with these names.
        note: around each note.
        escapes: tabulate escapes what stands in the table.
        in_cell: writes a text so that it stays within its cell, where tabulate does not.
        signs: what stands in for characters that the format cannot hold.
    """

    table: str
    bold: tuple[str, str]
    frame: str
    note: str
    escapes: bool = False
    in_cell: Callable[[str], str] = str
    signs: Mapping[str, str] = field(default_factory=dict)


ARROWS = {"↓": "$\\downarrow$", "↑": "$\\uparrow$", "±": "$\\pm$", "†": "$^\\dagger$", "‡": "$^\\ddagger$"}
STYLES: Mapping[str, Style] = {
    "github": Style("github", ("**", "**"), "### {title}\n\n{table}\n\n{notes}", "- {note}", in_cell=in_markdown_cell),
    "plain": Style("simple", ("", "*"), "{title}\n\n{table}\n* best of its task and sets\n\n{notes}", "- {note}"),
    "latex": Style("latex_booktabs", ("\\textbf{", "}"), "% {title}\n{table}\n{notes}", "% {note}", True, signs=ARROWS),
    "html": Style("html", ("<b>", "</b>"), "<h3>{title}</h3>\n{table}\n<ul>\n{notes}\n</ul>", "<li>{note}</li>", True),
}
"""The forms for people; the tidy forms, csv and json, are pandas' own."""


def render(
    frame: pd.DataFrame,
    view: View | None = None,
    form: str = "github",
    published: Published | None = None,
    left_out: Sequence[str] = (),
) -> str:
    """A tidy frame for people, in percent: one table a suite, the best of each column bold, what it rests on below.

    Args:
        frame: from `tidy`.
        view: what of it is shown; means over each suite's OOD sets if left out.
        form: one of `STYLES`.
        published: figures to stand beside the measured ones.
        left_out: what else must be said of the results, below the last table.

    Raises:
        OodbenchError: a set, mean or metric is not known.
    """
    parts = []
    suites = split_by_suite(frame)
    for number, (title, part) in enumerate(suites, 1):
        more = left_out if number == len(suites) else ()
        parts.append(_suite_table(part, title, view or View(), STYLES[form], published, more))
    return "\n\n".join(parts)


def split_by_suite(frame: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """The parts of a frame that never meet, with their titles: suites as they are before those that a run changed."""
    parts = []
    for keys, part in frame.groupby(SUITE, sort=False):
        name, version, fingerprint = cast(tuple[str, int, str], keys)
        changed = part["settings"].iloc[0] if part["settings"].nunique() == 1 else ""
        notes = [f"version {version}", *([str(changed)] if changed else []), f"fingerprint {fingerprint[:8]}"]
        parts.append((bool((part["settings"] != "").all()), f"{name} ({', '.join(notes)})", part))
    names = list(dict.fromkeys(frame["suite"]))
    parts.sort(key=lambda titled_part: (names.index(titled_part[2]["suite"].iloc[0]), titled_part[0]))
    return [(title, _unchanged_first(part)) for _, title, part in parts]


def _unchanged_first(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of each detector together, those of whole sets without changed settings first; else in their order."""
    ranks = frame["detector"].map({name: rank for rank, name in enumerate(frame["detector"].unique())})
    changed = (frame["settings"] != "") | (frame["limit"] > 0) | (frame["images"] > 0)
    return frame.iloc[np.lexsort((changed, ranks))]


def json_text(frame: pd.DataFrame) -> str:
    """The rows of a frame as JSON, every number with all its digits, and null for NaN and infinity.

    Bytes of a folder's name that are no text are written as escapes, since JSON holds nothing but text.
    """

    def json_value(value: Any) -> Any:
        if isinstance(value, str):
            return value.encode(errors="backslashreplace").decode()
        return None if isinstance(value, float) and not isfinite(value) else value

    rows = [{name: json_value(value) for name, value in row.items()} for row in frame.to_dict("records")]
    return json.dumps(rows, indent=1, separators=(",", ":"))  # pandas keeps 15 decimals at most


def flat_frame(frame: pd.DataFrame, view: View) -> pd.DataFrame:
    """The figures that `render` would show, one metric a row, as fractions.

    Columns are the suite's, `convention`, those of an `Entry`, and `n_seeds`.

    `flag` is the sign that a table has behind the figure, and `off_by` the most that it may be off by: a fraction, 1
    where nobody knows, NaN where nothing is flagged. `stale` is what is left out of its cells, in words.

    Raises:
        OodbenchError: as `render`.
    """
    rows: list[dict[str, object]] = []
    for keys, part in frame.groupby(SUITE, sort=False):
        suite_columns = dict(zip(SUITE, cast(tuple[str, int, str], keys), strict=True))
        suite_columns |= {"convention": part["convention"].iloc[0]}
        measured = measured_rows(part)
        stale, entries = part.groupby("cell")["stale"].first(), ordered_entries(measured, view)
        effects = flags.flag_sizes(entries, measured[measured["metric"] != OF_ID])
        for entry in entries:
            columns = {"n_seeds": len(entry.cells), "missing": " ".join(entry.missing), "failed": ""}
            columns |= {"flag": flag_mark(entry, effects), "off_by": largest_effect(entry, effects)}
            columns["stale"] = "; ".join(dict.fromkeys(stale[cell] for cell in entry.cells if stale[cell]))
            rows.append({**suite_columns, **asdict(entry), **columns})
        for name, failure in failure_rows(part, view):
            no_figure = {
                "task": "",
                "ood": "",
                "metric": FAILURE,
                "value": nan,
                "missing": "",
                "apart": "",
                "n_seeds": 1,
            }
            columns = {"detector": failure["detector"], "failed": failure["failed"], "flag": "", "off_by": nan}
            columns["stale"] = failure["stale"]
            rows.append({**suite_columns, "line": name, **no_figure, **columns})
    return pd.DataFrame(rows).drop(columns=["cells", "rivals", "notes", "mark"], errors="ignore")


def missing_set_lines(frame: pd.DataFrame) -> list[str]:
    """A line for each suite of a tidy frame some of whose OOD sets were measured by nobody, or not by every row."""
    text_lines = []
    for _, part in frame.groupby(SUITE, sort=False):
        rows = [set(row) for _, row in part[part["ood"] != ""].groupby(["cell", "task"], sort=False)["ood"]]
        if missing := [name for name in selected_sets(part, ()) if not all(name in row for row in rows)]:
            text_lines.append(
                f"{part['suite'].iloc[0]}: {', '.join(missing)}: not measured, or not in every row; means are over the "
                "others, and the column 'missing' says which sets each lacks"
            )
    return text_lines


def stale_lines(frame: pd.DataFrame, view: View) -> list[str]:
    """A line for each cell of a tidy frame of whose stored scores some are left out, in the words of a table."""
    parts = [part for _, part in frame.groupby(SUITE, sort=False)]
    return [
        line
        for part in parts
        for line in stale_notes(part.drop_duplicates("cell"), line_names(lines(part, view.seeds)))
    ]


def measured_rows(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows that have values, each task called by what it did."""
    return tell_threats_apart(frame[frame["metric"] != FAILURE])


def ordered_entries(measured: pd.DataFrame, view: View) -> list[Entry]:
    """The entries of rows from `measured_rows`; sorted ones have those that are not to be believed behind the others.

    Raises:
        OodbenchError: as `render`.
    """
    if not view.sort:
        return summarise(measured, view)
    sets = selected_sets(measured, view.sets) if view.sets else list(measured["ood"].unique())
    scores = measured[(measured["metric"] != OF_ID) & measured["ood"].isin(sets)]
    return summarise(measured, view, flags.disqualified_figures(flags.find_flags(scores)))


def failure_rows(frame: pd.DataFrame, view: View) -> "list[tuple[str, pd.Series[Any]]]":
    """The title of the line of each detector that failed, and its row."""
    titles = line_names(lines(frame, view.seeds))
    return [
        (cell_name(str(row["cell"]), row["seed"], titles), row)
        for _, row in frame[frame["metric"] == FAILURE].iterrows()
    ]


def select_rows(frame: pd.DataFrame, view: View) -> pd.DataFrame:
    """The rows of a tidy frame that `view` shows, as they are: nothing is averaged.

    Raises:
        OodbenchError: as `render`.
    """
    parts = []
    for _, part in frame.groupby(SUITE, sort=False):
        sets = ["", *(selected_sets(part, view.sets) if view.sets else part["ood"].unique())]
        metrics = [*view.shown(part), FAILURE]
        parts.append(part[part["ood"].isin(sets) & part["metric"].isin(metrics)])
    return pd.concat(parts)


def _suite_table(
    frame: pd.DataFrame,
    title: str,
    view: View,
    style: Style,
    published: Published | None,
    left_out: Sequence[str],
) -> str:
    measured, failures = measured_rows(frame), failure_rows(frame, view)
    if measured.empty:
        table, notes = pd.DataFrame(columns=["detector", "task"]), []
    else:
        summary = ordered_entries(measured, view)
        summary = flags.competing_entries(summary, measured[measured["metric"] != OF_ID])
        table = _table(measured, summary, view, (FIRST, LAST) if style.escapes else style.bold, published)
        titles = line_names(lines(frame, view.seeds))
        notes = difference_notes(measured, summary) if BASE in frame else footnotes(measured, summary, titles)
        notes += published.notes(measured, summary) if published else []
    table = pd.concat([table, _failed_rows(failures, table.columns)], ignore_index=True).fillna("")
    notes = [
        *(f"Failed: {name}: {one_line(row['failed'])}; the same run again tries it." for name, row in failures),
        *notes,
    ]
    notes += left_out
    headings, *rows = [[style.in_cell(str(text)) for text in row] for row in (table.columns, *table.to_numpy())]
    text = tabulate(rows, headings, tablefmt=style.table, disable_numparse=True, colalign=_alignments(headings))
    for mark, sign in {**dict(zip((FIRST, LAST), style.bold, strict=True)), **style.signs}.items():
        text = text.replace(mark, sign)
    is_html = style.table == "html"
    written = [style.note.format(note=escape(note, quote=False) if is_html else note) for note in notes]
    title = escape(title, quote=False) if is_html else title
    return style.frame.format(title=title, table=text, notes="\n".join(written))


def _failed_rows(failures: "Sequence[tuple[str, pd.Series[Any]]]", headings: Collection[str]) -> pd.DataFrame:
    """A row for each detector that failed; what is long about it stands below the table."""
    rows = []
    for name, failure in failures:
        why = one_line(failure["failed"])
        why = why if len(why) <= LONGEST_FAILURE else f"{why[:LONGEST_FAILURE].rstrip()}…"
        rows.append({**dict.fromkeys(headings, "–"), "detector": name, "task": f"failed: {why}"})
    return pd.DataFrame(rows, columns=list(headings))


def one_line(text: object) -> str:
    """A text of several lines in one, without the stop at its end; dots that leave something out stay."""
    line = " ".join(str(text).split())
    return line if line.endswith("...") else line.removesuffix(".")


def _table(
    frame: pd.DataFrame, summary: Sequence[Entry], view: View, marks: tuple[str, str], published: Published | None
) -> pd.DataFrame:
    """The cells of the table as text, the best ones between `marks`; columns are headings."""
    convention = str(frame["convention"].iloc[0])
    metrics = view.shown(frame)
    bounded = any(not isnan(entry.low) for entry in summary)
    best = best_values(summary)
    effects = flags.flag_sizes(summary, frame[frame["metric"] != OF_ID])
    rows: dict[tuple[str, str, str], dict[str, Entry]] = {}
    for entry in summary:
        rows.setdefault((entry.line, *entry.place), {})[entry.metric] = entry
    sets_beside = any(not entry.ood.startswith(MEAN) for entry in summary)
    set_heading = "OOD set" if view.by == "ood" else "mean over" if view.by == "mean" or sets_beside else ""
    table = []
    for (line, task, ood), entries_by_metric in rows.items():
        row = {"detector": line, "task": task}
        row |= {set_heading: ood.removeprefix(MEAN)} if set_heading else {}
        for metric in metrics:
            if metric not in entries_by_metric:  # of attacked ID images, where none were
                row[FACTS[metric].heading] = ""
                continue
            entry = entries_by_metric[metric]
            is_best = best.get((*entry.place, metric, entry.rivals)) == percent_text(entry.value)
            text = value_text(entry) + flag_mark(entry, effects)
            row[FACTS[metric].heading] = f"{marks[0]}{text}{marks[1]}" if is_best else text
            if published and metric not in (OF_ID, *AT_CLEAN):
                figure = published.figure(frame, entry)
                row[f"{FACTS[metric].title} {published.word}"] = "" if figure is None else percent_text(figure)
        for metric in metrics if bounded else ():
            if metric in (view.metrics or leading_metrics(convention)):
                row[f"{FACTS[metric].title}, 95 % interval"] = (
                    _interval_text(entries_by_metric[metric]) if metric in entries_by_metric else ""
                )
        table.append(row)
    return pd.DataFrame(table)


def _alignments(headings: Sequence[str]) -> list[str]:
    """Numbers to the right, words to the left."""
    return ["left" if name in ("detector", "task", "OOD set", "mean over") else "right" for name in headings]


def leading_metrics(convention: str) -> tuple[str, ...]:
    """Metrics whose intervals are shown where nobody chose metrics."""
    return next(iter(CONVENTIONS[convention])), "auroc", OF_ID


def value_text(entry: Entry) -> str:
    """A number of a table, with its deviation over seeds."""
    if entry.incomplete:
        return "incomplete"
    if isnan(entry.value):
        return "unknown"
    return percent_text(entry.value) + (f" ± {percent_text(entry.sd)}" if len(entry.cells) > 1 else "")


def flag_mark(entry: Entry, effects: Mapping[flags.Place, float]) -> str:
    """The sign of what is flagged behind a number, by its worst seed."""
    size = largest_effect(entry, effects)
    return "" if isnan(size) else severity.mark(size)


def largest_effect(entry: Entry, effects: Mapping[flags.Place, float]) -> float:
    """The most that a number may be off by for what is flagged, by its worst seed; NaN where nothing is."""
    sizes = [effects[cell, *entry.place] for cell in entry.cells if (cell, *entry.place) in effects]
    return max(sizes) if sizes and entry.metric != OF_ID and not isnan(entry.value) else nan


def percent_text(value: float) -> str:
    """A fraction in percent, as every table and page has it."""
    return f"{round(100 * value, 2) + 0.0:.2f}"  # no minus in front of zero


def _interval_text(entry: Entry) -> str:
    return "" if isnan(entry.low) else f"{percent_text(entry.low)} to {percent_text(entry.high)}"


def best_values(summary: Sequence[Entry]) -> dict[tuple[str, str, str, Hashable], str]:
    """The best value, as printed, of each (task, set or mean, metric, rivals) that several lines compete for.

    Where all print the same, none is the best.
    """
    rivals: dict[tuple[str, str, str, Hashable], list[float]] = {}
    for entry in summary:
        if entry.rivals is not None:
            rivals.setdefault((*entry.place, entry.metric, entry.rivals), []).append(entry.value)
    best = {}
    for (task, ood, metric, rivals_key), values in rivals.items():
        known = [value for value in values if not isnan(value)]
        if len(values) > 1 and known and (len(known) == 1 or len({*map(percent_text, known)}) > 1):
            best[task, ood, metric, rivals_key] = percent_text(
                min(known) if FACTS[metric].lower_is_better else max(known)
            )
    return best
