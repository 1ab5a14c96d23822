"""`oodbench report`: results as a page, written."""

from pathlib import Path

import click

from oodbench.basics.files import write_atomic
from oodbench.registry import discover
from oodbench.results.folder import find
from oodbench.results.report import boards, render


def report(results: Path, output: Path, data: Path, plugins: tuple[Path, ...]) -> None:
    """See `oodbench.cli.report.report`."""
    detectors, found = discover(plugins), find(results)
    for line in found.left_out:
        click.echo(f"WARNING: {line}", err=True)
    page = render(boards(found.cells, data, detectors))
    write_atomic(output, page)
    click.echo(f"{output.resolve()}: {len(page) / 2**20:.1f} MiB, opens in any browser")
