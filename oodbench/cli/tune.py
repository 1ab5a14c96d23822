"""`oodbench tune`: values of a detector's parameter, tried without test images."""

from typing import Any

import click

from oodbench.basics.memory import loading
from oodbench.cli import completing
from oodbench.cli.options import (
    Examples,
    checkpoint_option,
    compile_option,
    data_option,
    device_option,
    exclusive,
    jobs_option,
    limit_option,
    network_option,
    out_option,
    plugin_option,
    precision_option,
    pretrained_option,
    seed_option,
    set_option,
    suite_option,
    tf32_option,
)
from oodbench.cli.terminal import print_planning
from oodbench.running.choices import ALL


@click.command(
    cls=Examples,
    examples=(
        "oodbench tune --suite digits-adv --detector atom",
        "oodbench tune --suite digits --detector knn --over k=1,10,50 --pretrained",
    ),
)
@suite_option
@click.option(
    "--detector", required=True, metavar="NAME", shell_complete=completing.detectors, help="Detector by name."
)
@click.option(
    "--over",
    metavar="NAME=V1,V2,...",
    help="The parameter and the values to try; the method's own choice if left out, where it has one. A name with a "
    "dot is as in --set: training.epochs=6,12,24.",
)
@seed_option
@device_option
@data_option
@out_option
@network_option
@checkpoint_option
@pretrained_option
@limit_option
@precision_option
@tf32_option
@compile_option
@set_option
@plugin_option
@jobs_option
def tune(**options: Any) -> None:
    """Try values of a detector's parameter without looking at test images.

    Each value is scored, after its training where no trained network is given, on ID images held out of training
    against reserved outliers, under every task of the suite. The suite's file is not changed; what to write into it is
    printed. A value with a figure that a table would mark as not to be believed, or as known to be too good, is never
    the one.
    """
    exclusive("checkpoint", "pretrained")
    if ALL in (options["suite"], options["detector"]):
        raise click.UsageError("tune tries values of one detector on one suite: name them, instead of 'all'")
    print_planning([options["detector"]], [options["suite"]])
    with loading():
        from oodbench.cli.work import tune as work
    work.tune(**options)
