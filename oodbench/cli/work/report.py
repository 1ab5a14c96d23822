"""`oodbench report`: results as a page, or as a folder of pages, written."""

from collections.abc import Sequence
from pathlib import Path

import click

from oodbench.basics.files import write_atomic
from oodbench.cli.options import typed
from oodbench.cli.report import ReportOptions
from oodbench.cli.terminal import warn
from oodbench.registry import discover
from oodbench.results import report as reports
from oodbench.results.folder import find_results, select_cells
from oodbench.results.store import Cell


def report(options: ReportOptions) -> None:
    """Write the page, or the site, of a results folder."""
    if options.site and typed("output"):
        raise click.UsageError("--site writes pages of its own names into its folder: leave out -o")
    registry, cells = discover(options.plugins), _chosen_cells(options.results, options)
    other = None
    if options.against:
        other = reports.Other(str(options.against), _chosen_cells(options.against, options))
    boards = reports.boards(cells, options.data, registry, other)
    if options.site:
        _write_site(reports.site_of(boards), options.site)
        return
    page = reports.render(boards)
    write_atomic(options.output, page)
    click.echo(f"{options.output.resolve()}: {len(page) / 2**20:.1f} MiB, opens in any browser")


def _chosen_cells(folder: Path, options: ReportOptions) -> Sequence[Cell]:
    """Return the results of a folder on the suites and detectors that were named, and warn of those left out."""
    results = find_results(folder)
    for line in results.left_out:
        warn(line)
    return select_cells(select_cells(results.cells, "suite", options.suites), "detector", options.detectors)


def _write_site(site: reports.Site, folder: Path) -> None:
    earlier_pages = reports.write_site(site, folder)
    size = sum(map(len, site.pages.values())) / 2**20
    click.echo(f"{folder.resolve()}: {len(site.pages)} pages, {size:.1f} MiB; begin at {folder / 'index.html'}")
    for path in earlier_pages:
        click.echo(f"{path}: of an earlier call, stays; the index no longer leads there", err=True)
