"""The verbs: what may be typed, and which function is called for it, imported then."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from oodbench.basics.memory import loading
from oodbench.basics.team import launched
from oodbench.cli import completing
from oodbench.cli.board import board
from oodbench.cli.checking import check
from oodbench.cli.data import data
from oodbench.cli.deploying import export, fit, score
from oodbench.cli.evidence import evidence, verify
from oodbench.cli.features import features
from oodbench.cli.keeping import keep
from oodbench.cli.listing import list_
from oodbench.cli.options import (
    Examples,
    Group,
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
    seed_option,
    seeds_option,
    set_option,
    several,
    shard_option,
    suite_option,
    tf32_option,
    typed,
)
from oodbench.cli.plotting import plot
from oodbench.cli.reference import reference
from oodbench.cli.report import report
from oodbench.cli.results import table
from oodbench.cli.thresholds import threshold
from oodbench.running.choices import ALL, ENGINES, LOCAL
from oodbench.tasks.task import SIDES
from oodbench.tracking import TRACKERS
from oodbench.version import __version__


@click.group(
    cls=Group,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
    examples=("oodbench list detectors", "oodbench run --suite digits-adv --detector msp --detector atom"),
)
@click.version_option(__version__, prog_name="oodbench")
def commands() -> None:
    """Does an out-of-distribution detector hold up, also when someone attacks it?"""


@commands.command(
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
@click.option(
    "--checkpoint",
    metavar="FILE|NAME",
    shell_complete=completing.networks,
    help="A trained network for every detector, instead of training: a file (FILE#NAME for one of several sets of "
    "weights in it), or a name of `oodbench data list`.",
)
@click.option(
    "--pretrained",
    is_flag=True,
    help="Score with the trained networks that come with oodbench, each if it is exactly what the run would train; "
    "train only the others.",
)
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
def run(**asked: Any) -> None:
    """Train, attack and score detectors on suites; scores land in the results folder.

    What is there already is not done again. Interrupt it at any time: the same command goes on where it stopped.
    """
    if asked["seeds"] and typed("seed"):
        raise click.UsageError("--seed and --seeds exclude each other: give one of them")
    exclusive("checkpoint", "pretrained")
    if bool(asked["features"]) == bool(asked["suites"]):
        raise click.UsageError("give --suite NAME, or --features PACK, which says its suite itself")
    if asked["engine"] != "ray" and (typed("address") or typed("cpus")):
        raise click.UsageError("--address and --cpus are for --engine ray")
    if asked["engine"] == "ray" and launched():
        raise click.UsageError("--engine ray starts processes itself: leave torchrun out, or --engine ray")
    _begin(asked["detectors"], asked["suites"] or [str(asked["features"])])
    with loading():
        from oodbench.cli.work import running
    running.run(**asked)


@commands.command(
    cls=Examples,
    examples=(
        "oodbench tune --suite digits-adv --detector atom",
        "oodbench tune --suite digits --detector knn --over k=1,10,50",
    ),
)
@suite_option
@click.option(
    "--detector", required=True, metavar="NAME", shell_complete=completing.detectors, help="Detector by name."
)
@click.option(
    "--over",
    metavar="NAME=V1,V2,...",
    help="The parameter and the values to try; the method's own choice if left out, where it has one.",
)
@seed_option
@device_option
@data_option
@out_option
@limit_option
@precision_option
@tf32_option
@compile_option
@set_option
@plugin_option
@jobs_option
def tune(**asked: Any) -> None:
    """Try values of a detector's parameter without looking at test images.

    Each value is trained and scored on ID images held out of training against reserved outliers, under every task of
    the suite. The suite's file is not changed; what to write into it is printed. A value with a figure that a table
    would mark as not to be believed, or as known to be too good, is never the one.
    """
    if ALL in (asked["suite"], asked["detector"]):
        raise click.UsageError("tune tries values of one detector on one suite: name them, instead of 'all'")
    _begin([asked["detector"]], [asked["suite"]])
    with loading():
        from oodbench.cli.work import running
    running.tune(**asked)


commands.add_command(board)
commands.add_command(check)
commands.add_command(data)
commands.add_command(evidence)
commands.add_command(export)
commands.add_command(features)
commands.add_command(fit)
commands.add_command(keep)
commands.add_command(list_)
commands.add_command(plot)
commands.add_command(reference)
commands.add_command(report)
commands.add_command(score)
commands.add_command(table)
commands.add_command(threshold)
commands.add_command(verify)


def _begin(detectors: Sequence[str], suites: Sequence[str]) -> None:
    """Say at once what is going on: importing torch takes seconds, and planning does."""
    click.echo(f"planning {', '.join(detectors)} on {', '.join(suites)}", err=True)
