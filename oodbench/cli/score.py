"""`oodbench score`: a fitted detector on images, a line each."""

from dataclasses import dataclass
from pathlib import Path

import click

from oodbench.basics.memory import loading
from oodbench.cli.options import (
    Examples,
    builder_option,
    collect_into,
    data_option,
    device_option,
    plugin_option,
    replace_option,
    typed,
)


@dataclass(frozen=True)
class ScoreOptions:
    """The options of `oodbench score`, called as in its declaration."""

    images: tuple[str, ...]
    detector: Path
    keep: float
    delta: float
    fdr: float | None
    form: str
    output: Path | None
    replace: bool
    network: str | None
    device: str
    data: Path
    plugins: tuple[Path, ...]


@click.command(
    cls=Examples,
    examples=(
        "oodbench score photos/ --with energy.ood",
        "oodbench score photos/ more.zip pack.h5 --with energy.ood --keep 0.99 --delta 0.1 -o scores.csv",
    ),
)
@click.argument("images", nargs=-1, required=True, metavar="IMAGES...")
@click.option(
    "--with",
    "detector",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FILE",
    help="A detector that `oodbench fit` or save() wrote.",
)
@click.option(
    "--keep",
    type=float,
    default=0.95,
    show_default=True,
    metavar="SHARE",
    help="Call an image OOD below the score that keeps this share of ID images.",
)
@click.option(
    "--delta",
    type=float,
    default=0.0,
    show_default=True,
    metavar="P",
    help="The promise of --keep may be broken with this probability, by unlucky ID images; 0 promises the share in "
    "expectation over them.",
)
@click.option(
    "--fdr",
    type=float,
    metavar="SHARE",
    help="Instead of --keep: call images OOD so that, in expectation, at most this share of those called OOD is ID "
    "(Benjamini and Hochberg over all images of the command).",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["csv", "json"]),
    default="csv",
    show_default=True,
    help="Rows, or one JSON object a line.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write to this file, which is whole or not there, instead of standard output.",
)
@replace_option
@builder_option
@device_option
@data_option
@plugin_option
@collect_into(ScoreOptions)
def score(options: ScoreOptions) -> None:
    """Score images with a fitted detector: a line each with file, score, p-value and decision.

    IMAGES are image files, folders, archives and packs (HDF5), or names of image sets. Scores are higher for
    in-distribution (ID) images. The p-value says how unusual the score is among those of ID images: of an ID image it
    is 0.05 or less with a probability of at most 5 %. The decision is ID or OOD.

    An image that cannot be read has its line, too, which says why, and the others are scored; the exit code is then 1.
    """
    if options.fdr is not None and (typed("keep") or typed("delta")):
        raise click.UsageError("--fdr decides over all images together, --keep and --delta over each: give one of them")
    with loading():
        from oodbench.cli.work import score as work
    work.score(options, threshold_required=typed("keep") or typed("delta"))
