"""`oodbench run`: detectors trained, attacked and scored on suites."""

from pathlib import Path
from typing import Any

import click

from oodbench.basics.memory import loading
from oodbench.basics.team import is_launched
from oodbench.cli import completing
from oodbench.cli.options import (
    Examples,
    checkpoint_option,
    compile_option,
    data_option,
    detectors_option,
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
    seeds_option,
    set_option,
    several,
    shard_option,
    tf32_option,
    typed,
)
from oodbench.cli.terminal import print_planning
from oodbench.running.choices import ENGINES, LOCAL
from oodbench.tasks.task import SIDES
from oodbench.tracking import TRACKERS


@click.command(
    cls=Examples,
    examples=(
        "oodbench run --suite digits --detector msp",
        "oodbench run --suite digits-adv --detector msp --detector atom --limit 100",
    ),
)
@several(
    "--suite",
    "suites",
    "NAME|FILE",
    completing.suites,
    "Suite by name or TOML file, or 'all'; repeatable.",
)
@detectors_option
@seed_option
@seeds_option
@device_option
@data_option
@out_option
@network_option
@checkpoint_option
@pretrained_option
@click.option(
    "--features",
    type=click.Path(path_type=Path),
    metavar="PACK",
    help="In place of --suite: a feature pack, a file with logits and features of a suite's images; see "
    "`oodbench features`.",
)
@limit_option
@click.option(
    "--images",
    type=click.IntRange(min=1),
    metavar="N",
    help="Use only N images of each OOD set, evenly over the classes. Tables say so.",
)
@several(
    "--task",
    "tasks",
    "NAME",
    completing.tasks,
    "Only this task of the suite, or a kind of task that it lacks (linf-adaptive); repeatable.",
)
@several("--only", "only", "SET", completing.image_sets, "Only this OOD set of the suite; repeatable.")
@click.option("--eps", "radii", metavar="E1,E2,...", help="Attack at each of these radii, in 1/255.")
@click.option(
    "--threat",
    type=click.Choice(SIDES),
    default="out",
    show_default=True,
    help="Whose images are attacked: OOD, ID or both.",
)
@precision_option
@tf32_option
@compile_option
@click.option("--keep-images", is_flag=True, help="Store the attacked images with the scores.")
@click.option(
    "--checks",
    type=click.Choice(["standard", "full"]),
    default="standard",
    show_default=True,
    help="'full' tries each attack against others too: unbounded, longer, random search, and what other detectors "
    "were attacked with, for which it stores the attacked images. Costs much.",
)
@set_option
@plugin_option
@click.option(
    "--rerun",
    type=click.Choice(["missing", "all"]),
    default="missing",
    show_default=True,
    help="Whether what is already there is left or done again.",
)
@click.option(
    "--engine",
    type=click.Choice(ENGINES),
    default="sequential",
    show_default=True,
    help="Where the work is done: on this machine, or as tasks of a Ray cluster.",
)
@jobs_option
@shard_option
@click.option(
    "--log",
    type=click.Choice([*TRACKERS]),
    multiple=True,
    help="Give results, report page and provenance to an experiment tracker, as one run; repeatable.",
)
@click.option("--dry-run", is_flag=True, help="Print what would be done and what it costs; write nothing.")
@click.option(
    "--address",
    default=LOCAL,
    show_default=True,
    metavar="local|auto|HOST:PORT",
    help="The Ray cluster: one for this run, the one that this machine belongs to, or another.",
)
@click.option("--cpus", type=click.IntRange(min=1), default=1, show_default=True, help="CPUs of each Ray task.")
def run(**options: Any) -> None:
    """Train, attack and score detectors on suites; scores land in the results folder.

    What is there already is not done again. Interrupt it at any time: the same command goes on where it stopped.
    """
    if options["seeds"] and typed("seed"):
        raise click.UsageError("--seed and --seeds exclude each other: give one of them")
    exclusive("checkpoint", "pretrained")
    if bool(options["features"]) == bool(options["suites"]):
        raise click.UsageError("give --suite NAME, or --features PACK, which says its suite itself")
    if options["engine"] != "ray" and (typed("address") or typed("cpus")):
        raise click.UsageError("--address and --cpus are for --engine ray")
    if options["engine"] == "ray" and is_launched():
        raise click.UsageError("--engine ray starts processes itself: leave torchrun out, or --engine ray")
    print_planning(options["detectors"], options["suites"] or [str(options["features"])])
    with loading():
        from oodbench.cli.work import run as work
    work.run(**options)
