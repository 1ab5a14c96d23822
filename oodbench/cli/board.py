"""`oodbench board`: figures under attack that anybody can lower by handing in evidence."""

from pathlib import Path
from typing import Any

import click

from oodbench.cli.evidence import checked_with
from oodbench.cli.options import Examples, Group

board_option = click.option(
    "--board",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("board"),
    show_default=True,
    metavar="DIR",
    help="The board's folder.",
)


@click.group(
    cls=Group,
    examples=("oodbench board add evidence.zip --board board", "oodbench board show --board board"),
)
def board() -> None:
    """A board of detectors under attack, on which evidence alone moves a figure."""


@board.command(
    cls=Examples,
    examples=(
        "oodbench board add evidence.zip --board board",
        "oodbench board add evidence.zip --board board --url https://example.org/evidence.zip",
    ),
)
@click.argument("file", type=click.Path(path_type=Path), metavar="EVIDENCE")
@board_option
@click.option(
    "--url",
    metavar="https://...",
    default="",
    help="Where the archive lies for everybody: it is then named on the board, with its SHA-256, and not copied into "
    "it. For archives that are too large for a repository.",
)
@checked_with
def add(**asked: Any) -> None:
    """Verify evidence, and let it begin entries or lower their figures.

    What `oodbench verify` checks is checked; if anything does not hold, or could not be looked at, nothing is written
    and the exit code is 1. Lower figures inside the same ball replace those of an entry, set by set; weaker evidence is
    recorded and changes nothing. The folder is begun where there is none.
    """
    if asked["url"] and not asked["url"].startswith("https://"):
        raise click.UsageError("--url begins with https://")
    from oodbench.cli.work import boarding

    boarding.add(**asked)


@board.command(
    cls=Examples, examples=("oodbench board check --board board", "oodbench board check --board board --data packs")
)
@board_option
@checked_with
def check(**asked: Any) -> None:
    """Verify every archive of a board again, and hold its entries against what these say.

    Exit code 1 if an archive is missing or another one, does not hold any more, or an entry has other figures. Evidence
    that lies elsewhere (--url) is named as not checked.
    """
    from oodbench.cli.work import boarding

    boarding.check(**asked)


@board.command(
    cls=Examples, examples=("oodbench board show --board board", "oodbench board show --board board --history")
)
@board_option
@click.option(
    "--history", is_flag=True, help="Each entry's evidence in its order: what replaced what, and whose it was."
)
def show(**asked: Any) -> None:
    """Print a board: each entry with what its strongest evidence says."""
    from oodbench.cli.work import boarding

    boarding.show(**asked)


@board.command(
    cls=Examples,
    examples=("oodbench board render --board board", "oodbench board render --board board --out site/board"),
)
@board_option
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Folder for the page, if it is not the board's own; the evidence is copied there, too.",
)
def render(**asked: Any) -> None:
    """Make the board's page, index.html, and its table, entries.csv, of its entries."""
    from oodbench.cli.work import boarding

    boarding.render(**asked)
