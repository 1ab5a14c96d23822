"""`oodbench table`: metrics of stored scores, computed and laid out."""

from pathlib import Path

import click
import pandas as pd

from oodbench.basics.errors import OodbenchError
from oodbench.cli.table import TIDY, TableOptions
from oodbench.cli.terminal import warn, width
from oodbench.registry import Registry, discover
from oodbench.results import reference, tables
from oodbench.results.folder import find_results, select_cells


def table(options: TableOptions) -> None:
    """Print the table of a results folder."""
    registry = discover(options.plugins)
    view = tables.View(options.by or "task", options.sets, options.metrics, options.seeds, options.sort)
    view.require_known(options.convention)  # a misspelt metric is named before anything is computed
    frame, left_out = _metrics(options, registry)
    frame = tables.select_tasks(frame, options.tasks)
    view.require_measured(frame)
    for line in left_out:
        warn(line)
    if options.form in TIDY:
        _print_tidy(options, options.form, frame, view)
    elif options.form or options.long or options.base or options.compare or options.intervals:
        figures = tables.Published(reference.read(Path(options.compare))) if options.compare else None
        click.echo(tables.render(frame, view, options.form or "github", figures, left_out))
    else:
        click.echo(tables.render_compact(frame, view, width(), left_out))


def _metrics(options: TableOptions, registry: Registry) -> tuple[pd.DataFrame, list[str]]:
    """Return the tidy frame of the results that were chosen, and a line for each one that is left out."""
    results = find_results(options.results)
    base = options.base
    names = [*options.detectors, base] if base and options.detectors else options.detectors
    cells = select_cells(select_cells(results.cells, "suite", options.suites), "detector", names)
    if base and options.compare:
        raise OodbenchError("--against shows differences and --compare figures: leave out one of them")
    if base:
        paired = tables.paired_differences(cells, registry, base, options.convention)
        return paired.frame, [*results.left_out, *paired.left_out]
    return tables.tidy(cells, registry, options.convention, options.intervals), list(results.left_out)


def _print_tidy(options: TableOptions, form: str, frame: pd.DataFrame, view: tables.View) -> None:
    """Print rows for programs, and warn of what they lack."""
    if options.compare:
        raise OodbenchError("--compare is for tables that people read: leave it out, or --format github")
    rows = tables.flat_frame(frame, view) if options.by else tables.select_rows(frame, view)
    missing = tables.missing_set_lines(frame) if options.by and not options.sets else []
    for line in [*missing, *tables.stale_lines(frame, view)]:
        warn(line)
    click.echo(rows.to_csv(index=False) if form == "csv" else tables.json_text(rows), nl=form != "csv")
