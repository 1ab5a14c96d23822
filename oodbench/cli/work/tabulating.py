"""`oodbench table`: what stored scores say, computed and laid out."""

from pathlib import Path

import click
import pandas as pd

from oodbench.basics.errors import OodbenchError
from oodbench.cli.results import TIDY
from oodbench.cli.terminal import width
from oodbench.registry import discover
from oodbench.results import reference, tables
from oodbench.results.folder import find, only


def table(
    results: Path,
    form: str | None,
    long: bool,
    by: str | None,
    suites: tuple[str, ...],
    detectors: tuple[str, ...],
    tasks: tuple[str, ...],
    sets: tuple[str, ...],
    metrics: tuple[str, ...],
    sort: str,
    seeds: str,
    intervals: bool,
    convention: str,
    compare: str | None,
    base: str | None,
    plugins: tuple[Path, ...],
) -> None:
    """See `oodbench.cli.results.table`."""
    known = discover(plugins)
    view = tables.View(by or "task", sets, metrics, seeds, sort)
    view.require_known(convention)  # a misspelt metric is named before anything is computed
    there = find(results)
    cells = only(
        only(there.cells, "suite", suites), "detector", [*detectors, base] if base and detectors else detectors
    )
    if base and compare:
        raise OodbenchError("--against shows differences and --compare figures: leave out one of them")
    if base:
        paired = tables.against(cells, known, base, convention)
        frame, left_out = paired.frame, [*there.left_out, *paired.left_out]
    else:
        frame, left_out = tables.tidy(cells, known, convention, intervals), list(there.left_out)
    frame = tables.of_tasks(frame, tasks)
    view.require_measured(frame)
    for line in left_out:
        click.echo(f"WARNING: {line}", err=True)
    if form in TIDY:
        if compare:
            raise OodbenchError("--compare is for tables that people read: leave it out, or --format github")
        found = tables.flat(frame, view) if by else tables.chosen(frame, view)
        absent = tables.lacking(frame) if by and not sets else []
        for line in [*absent, *tables.left_stale(frame, view)]:
            click.echo(f"WARNING: {line}", err=True)
        click.echo(_tidy_text(found, form), nl=form != "csv")
        return
    if not (form or long or base or compare or intervals):
        click.echo(tables.compact(frame, view, width(), left_out))
        return
    figures = tables.Published(reference.read(Path(compare))) if compare else None
    click.echo(tables.render(frame, view, form or "github", figures, left_out))


def _tidy_text(frame: pd.DataFrame, form: str) -> str:
    return frame.to_csv(index=False) if form == "csv" else tables.as_json(frame)
