"""`oodbench report`: results as a page, or as a folder of pages, written."""

from pathlib import Path

import click

from oodbench.basics.files import write_atomic
from oodbench.cli.options import typed
from oodbench.registry import discover
from oodbench.results import report as reports
from oodbench.results.folder import Found, find


def report(
    results: Path, output: Path, against: Path | None, site: Path | None, data: Path, plugins: tuple[Path, ...]
) -> None:
    """See `oodbench.cli.report.report`."""
    if site and typed("output"):
        raise click.UsageError("--site writes pages of its own names into its folder: leave out -o")
    detectors, found = discover(plugins), _found(results)
    other = reports.Other(str(against), _found(against).cells) if against else None
    boards = reports.boards(found.cells, data, detectors, other)
    if site:
        _write_site(reports.site_of(boards), site)
        return
    page = reports.render(boards)
    write_atomic(output, page)
    click.echo(f"{output.resolve()}: {len(page) / 2**20:.1f} MiB, opens in any browser")


def _found(results: Path) -> Found:
    found = find(results)
    for line in found.left_out:
        click.echo(f"WARNING: {line}", err=True)
    return found


def _write_site(made: reports.Site, folder: Path) -> None:
    earlier = reports.write_site(made, folder)
    size = sum(map(len, made.pages.values())) / 2**20
    click.echo(f"{folder.resolve()}: {len(made.pages)} pages, {size:.1f} MiB; begin at {folder / 'index.html'}")
    for path in earlier:
        click.echo(f"{path}: of an earlier call, stays; the index no longer leads there", err=True)
