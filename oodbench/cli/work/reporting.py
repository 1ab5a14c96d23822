"""`oodbench report`: results as a page, or as a folder of pages, written."""

from collections.abc import Sequence
from pathlib import Path

import click

from oodbench.basics.files import write_atomic
from oodbench.cli.options import typed
from oodbench.registry import discover
from oodbench.results import report as reports
from oodbench.results.folder import find, only
from oodbench.results.store import Cell


def report(
    results: Path,
    suites: tuple[str, ...],
    detectors: tuple[str, ...],
    output: Path,
    against: Path | None,
    site: Path | None,
    data: Path,
    plugins: tuple[Path, ...],
) -> None:
    """See `oodbench.cli.report.report`."""
    if site and typed("output"):
        raise click.UsageError("--site writes pages of its own names into its folder: leave out -o")
    known, cells = discover(plugins), _found(results, suites, detectors)
    other = reports.Other(str(against), _found(against, suites, detectors)) if against else None
    boards = reports.boards(cells, data, known, other)
    if site:
        _write_site(reports.site_of(boards), site)
        return
    page = reports.render(boards)
    write_atomic(output, page)
    click.echo(f"{output.resolve()}: {len(page) / 2**20:.1f} MiB, opens in any browser")


def _found(results: Path, suites: Sequence[str], detectors: Sequence[str]) -> Sequence[Cell]:
    """Those of a folder's results that were asked for."""
    found = find(results)
    for line in found.left_out:
        click.echo(f"WARNING: {line}", err=True)
    return only(only(found.cells, "suite", suites), "detector", detectors)


def _write_site(made: reports.Site, folder: Path) -> None:
    earlier = reports.write_site(made, folder)
    size = sum(map(len, made.pages.values())) / 2**20
    click.echo(f"{folder.resolve()}: {len(made.pages)} pages, {size:.1f} MiB; begin at {folder / 'index.html'}")
    for path in earlier:
        click.echo(f"{path}: of an earlier call, stays; the index no longer leads there", err=True)
