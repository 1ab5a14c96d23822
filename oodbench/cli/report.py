"""`oodbench report`: results as a page."""

from pathlib import Path

import click

from oodbench.basics.files import write_atomic
from oodbench.cli.options import Examples, data_option, plugin_option, results_argument
from oodbench.registry import discover
from oodbench.results.folder import find
from oodbench.results.report import boards, render


@click.command(
    cls=Examples,
    examples=("oodbench report results/ -o report.html", "oodbench report results/digits-adv -o digits.html"),
)
@results_argument
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("report.html"),
    show_default=True,
    help="The page.",
)
@data_option
@plugin_option
def report(results: Path, output: Path, data: Path, plugins: tuple[Path, ...]) -> None:
    """Write a results folder as one HTML page that opens offline.

    Images that passed for ID are shown where they were kept (`oodbench run --keep-images`) and where the images before
    the attack are built in or in the data folder.
    """
    registry = discover(plugins)
    found = find(results)
    for line in found.left_out:
        click.echo(f"WARNING: {line}", err=True)
    page = render(boards(found.cells, data, {name: registry[name] for name in registry.names()}))
    write_atomic(output, page)
    click.echo(f"{output.resolve()}: {len(page) / 2**20:.1f} MiB, opens in any browser")
