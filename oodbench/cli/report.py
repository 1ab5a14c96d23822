"""`oodbench report`: results as a page."""

from pathlib import Path
from typing import Any

import click

from oodbench.cli.options import Examples, data_option, plugin_option, results_argument


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
def report(**asked: Any) -> None:
    """Write a results folder as one HTML page that opens offline.

    Images that passed for ID are shown where they were kept (`oodbench run --keep-images`) and where the images before
    the attack are built in or in the data folder.
    """
    from oodbench.cli.work import reporting

    reporting.report(**asked)
