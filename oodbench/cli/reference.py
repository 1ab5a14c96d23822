"""`oodbench reference`: figures of others, as a file that tables and checks take."""

from pathlib import Path

import click

from oodbench.cli.options import Examples, Group


@click.group(
    cls=Group,
    examples=(
        "oodbench reference import openood cifar10.csv --commit 28d3a40 -o board.csv",
        "oodbench table results/ --compare board.csv --convention openood",
    ),
)
def reference() -> None:
    """Figures that others published: made into a reference, which stands beside one's own in tables."""


@reference.group(
    "import",
    cls=Group,
    examples=(
        "oodbench reference import openood cifar10.csv --commit 28d3a40 -o board.csv",
        "oodbench reference import openood imagenet1k_ood.csv --commit 28d3a40 -o imagenet.csv",
    ),
)
def import_() -> None:
    """Read the figures of a public leaderboard."""


@import_.command(
    cls=Examples,
    examples=(
        "oodbench reference import openood cifar10.csv --commit 28d3a40 -o board.csv",
        "oodbench reference import openood download.csv --board cifar100 --commit 28d3a40 -o board.csv",
    ),
)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--commit", required=True, metavar="HEX", help="Of OpenOOD's repository, that the file was taken from.")
@click.option(
    "--release", "version", default="1.5", show_default=True, metavar="N.N", help="OpenOOD's version, for people."
)
@click.option("--board", metavar="NAME", help="Which board it is; the name of the file if left out.")
@click.option(
    "-o",
    "--output",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    metavar="FILE",
    help="The reference to write.",
)
def openood(file: Path, commit: str, version: str, board: str | None, path: Path) -> None:
    """Make reference rows of a CSV file of OpenOOD's leaderboard.

    FILE is one of its boards, such as cifar10.csv or imagenet1k_ood.csv. Each row says version, commit and board, so
    that everybody can find the same figure, and stands beside one's own with `oodbench table RESULTS --compare FILE
    --convention openood`.
    """
    from oodbench.cli.work import reference as work

    work.openood(file, commit, version, board, path)
