"""`oodbench board`: figures under attack that anybody can lower by handing in evidence."""

from dataclasses import dataclass
from pathlib import Path

import click

from oodbench.cli.options import Examples, Group, collect_into
from oodbench.cli.verify import ResourceOptions, checked_with

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


@dataclass(frozen=True)
class AddOptions(ResourceOptions):
    """The options of `oodbench board add`, called as in its declaration."""

    file: Path
    folder: Path
    url: str


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
@collect_into(AddOptions)
def add(options: AddOptions) -> None:
    """Verify evidence, and let it begin entries or lower their figures.

    What `oodbench verify` checks is checked; if anything does not hold, or could not be looked at, nothing is written
    and the exit code is 1. Lower figures inside the same ball replace those of an entry, set by set; weaker evidence is
    recorded and changes nothing. The folder is begun where there is none.
    """
    if options.url and not options.url.startswith("https://"):
        raise click.UsageError("--url begins with https://")
    from oodbench.cli.work import board as work

    work.add(options)


@dataclass(frozen=True)
class CheckBoardOptions(ResourceOptions):
    """The options of `oodbench board check`, called as in its declaration."""

    folder: Path


@board.command(
    cls=Examples, examples=("oodbench board check --board board", "oodbench board check --board board --data packs")
)
@board_option
@checked_with
@collect_into(CheckBoardOptions)
def check(options: CheckBoardOptions) -> None:
    """Verify every archive of a board again, and hold its entries against what these say.

    Exit code 1 if an archive is missing or another one, does not hold any more, or an entry has other figures. Evidence
    that lies elsewhere (--url) is named as not checked.
    """
    from oodbench.cli.work import board as work

    work.check(options)


@board.command(
    cls=Examples, examples=("oodbench board show --board board", "oodbench board show --board board --history")
)
@board_option
@click.option(
    "--history", is_flag=True, help="Each entry's evidence in its order: what replaced what, and whose it was."
)
def show(folder: Path, history: bool) -> None:
    """Print a board: each entry with what its strongest evidence says."""
    from oodbench.cli.work import board as work

    work.show(folder, history)


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
def render(folder: Path, out: Path | None) -> None:
    """Make the board's page, index.html, and its table, entries.csv, of its entries."""
    from oodbench.cli.work import board as work

    work.render(folder, out)
