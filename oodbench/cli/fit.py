"""`oodbench fit`: a fitted detector in one file."""

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
    replace_option,
    seed_option,
    set_option,
    suite_option,
)
from oodbench.cli.terminal import print_planning
from oodbench.running.choices import ALL


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
def fit(**options: Any) -> None:
    """Fit a detector on a suite's network and write it to one file, with all that it needs to score images.

    The file holds what the detector learned, the network's weights and the scores of ID images that neither has seen,
    as numbers and text: nothing in it is ever run. `oodbench score IMAGES --with FILE` works with it, and in Python
    oodbench.load_detector(FILE). The suite's OOD test sets are not needed.
    """
    if ALL in (options["suite"], options["detector"]):
        raise click.UsageError("fit makes one detector of one suite: name them, instead of 'all'")
    exclusive("checkpoint", "pretrained")
    print_planning([options["detector"]], [options["suite"]])
    with loading():
        from oodbench.cli.work import fit as work
    work.fit(**options)
