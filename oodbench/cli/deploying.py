"""`oodbench fit` and `oodbench score`: a detector goes to work."""

from pathlib import Path
from typing import Any

import click

from oodbench.basics.memory import loading
from oodbench.cli import completing
from oodbench.cli.options import (
    Examples,
    data_option,
    device_option,
    exclusive,
    limit_option,
    network_option,
    out_option,
    plugin_option,
    precision_option,
    seed_option,
    set_option,
    suite_option,
    typed,
)
from oodbench.running.choices import ALL

builder_option = click.option(
    "--network",
    metavar="FILE.py:BUILDER",
    help="What builds the detector's network, where that is code of your own: what a file names is not run.",
)
replace_option = click.option("--replace", is_flag=True, help="Put the file in place of one that is there.")


@click.command(
    cls=Examples,
    examples=(
        "oodbench fit --suite digits --detector energy --pretrained -o energy.ood",
        "oodbench fit --suite digits --detector knn --pretrained --calibrate test -o knn.ood",
    ),
)
@suite_option
@click.option(
    "--detector", required=True, metavar="NAME", shell_complete=completing.detectors, help="Detector by name."
)
@network_option
@click.option(
    "--checkpoint",
    metavar="FILE|NAME",
    shell_complete=completing.networks,
    help="The trained network, instead of training one: a file (FILE#NAME for one of several sets of weights in "
    "it), or a name of `oodbench data list`.",
)
@click.option(
    "--pretrained",
    is_flag=True,
    help="Take the trained network that comes with oodbench, if it is exactly what would be trained.",
)
@click.option(
    "--calibrate",
    default="auto",
    show_default=True,
    metavar="auto|heldout|test|PATH",
    help="ID images that thresholds and p-values rest on, which neither network nor detector may have seen: those that "
    "the suite holds out of training, one half of its ID test images, or a folder, archive or pack of others. auto "
    "takes the held-out ones where they are known to be unseen, and else the half.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="The detector's file, such as detector.ood.",
)
@replace_option
@seed_option
@device_option
@data_option
@out_option
@limit_option
@precision_option
@set_option
@plugin_option
def fit(**asked: Any) -> None:
    """Fit a detector on a suite's network and write it to one file, with all that it needs to score images.

    The file holds what the detector learned, the network's weights and the scores of ID images that neither has seen,
    as numbers and text: nothing in it is ever run. `oodbench score IMAGES --with FILE` works with it, and in Python
    oodbench.load_detector(FILE). The suite's OOD test sets are not needed.
    """
    if ALL in (asked["suite"], asked["detector"]):
        raise click.UsageError("fit makes one detector of one suite: name them, instead of 'all'")
    exclusive("checkpoint", "pretrained")
    click.echo(f"planning {asked['detector']} on {asked['suite']}", err=True)
    with loading():
        from oodbench.cli.work import deploying
    deploying.fit(**asked)


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
def score(**asked: Any) -> None:
    """Score images with a fitted detector: a line each with file, score, p-value and decision.

    IMAGES are image files, folders, archives and packs (HDF5), or names of image sets. Scores are higher for
    in-distribution (ID) images. The p-value says how unusual the score is among those of ID images: of an ID image it
    is 0.05 or less with a probability of at most 5 %. The decision is ID or OOD.

    An image that cannot be read has its line, too, which says why, and the others are scored; the exit code is then 1.
    """
    if asked["fdr"] is not None and (typed("keep") or typed("delta")):
        raise click.UsageError("--fdr decides over all images together, --keep and --delta over each: give one of them")
    with loading():
        from oodbench.cli.work import serving
    serving.score(**asked, insisted=typed("keep") or typed("delta"))


@click.command(
    cls=Examples,
    examples=("oodbench export energy.ood -o energy.pt2", "oodbench export knn.ood -o knn.onnx"),
)
@click.argument("detector", type=click.Path(path_type=Path), metavar="DETECTOR")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="FILE.pt2 for torch.export.load, or FILE.onnx, which needs the extra oodbench[onnx].",
)
@replace_option
@builder_option
@plugin_option
def export(**asked: Any) -> None:
    """Write the score of a fitted detector as one graph, which runs without oodbench.

    It takes images, float32 (N, 3, H, W) in [0, 1] of the size that the detector takes, and gives scores (N,), higher
    for in-distribution images. Before it is written it is held against the detector on made-up images that it was not
    traced with, as near to ID images as the score's gradient leads. Where a score is no such graph (ODIN, say,
    differentiates while it scores), that is said and nothing written.
    """
    with loading():
        from oodbench.cli.work import deploying
    deploying.export(**asked)
