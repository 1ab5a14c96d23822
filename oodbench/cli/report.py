"""`oodbench report`: results as a page."""

from dataclasses import dataclass
from pathlib import Path

import click

from oodbench.cli import completing
from oodbench.cli.options import Examples, collect_into, data_option, plugin_option, results_argument, several


@dataclass(frozen=True)
class ReportOptions:
    """The options of `oodbench report`, called as in its declaration."""

    results: Path
    suites: tuple[str, ...]
    detectors: tuple[str, ...]
    output: Path
    against: Path | None
    site: Path | None
    data: Path
    plugins: tuple[Path, ...]


@click.command(
    cls=Examples,
    examples=(
        "oodbench report results/ --site public/",
        "oodbench report results/ --against earlier/ -o beside.html",
        "oodbench report results/ -o report.html",
        "oodbench report results/ --suite digits-adv --detector msp -o digits.html",
    ),
)
@results_argument
@several("--suite", "suites", "NAME", completing.suites, "Only this suite; repeatable.")
@several("--detector", "detectors", "NAME", completing.detectors, "Only this detector; repeatable.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("report.html"),
    show_default=True,
    help="The page to write.",
)
@click.option(
    "--against",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Another results folder or bundle of scores: a table puts both side by side and marks what differs by more "
    "than chance.",
)
@click.option(
    "--site",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="Write a page for each suite and an index.html into this folder, to be hosted as a leaderboard.",
)
@data_option
@plugin_option
@collect_into(ReportOptions)
def report(options: ReportOptions) -> None:
    """Write a results folder as one HTML page that opens offline.

    The page says first what the results come to: which detector keeps how much under attack. Images that passed for ID
    are shown where they were kept (`oodbench run --keep-images`) and where the images before the attack are built in or
    in the data folder. The page is made to be passed on: of files it tells the names, and not in which folders of this
    machine they lie. --site overwrites the pages that it wrote before, and no other file.
    """
    from oodbench.cli.work import report as work

    work.report(options)
