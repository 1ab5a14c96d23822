"""`oodbench threshold`: where to set a detector's threshold, and what it delivers there."""

from dataclasses import dataclass
from pathlib import Path

import click

from oodbench.cli import completing
from oodbench.cli.options import Examples, collect_into, plugin_option, results_argument, several


@dataclass(frozen=True)
class ThresholdOptions:
    """The options of `oodbench threshold`, called as in its declaration."""

    results: Path
    keeps: tuple[float, ...]
    delta: float
    prevalences: tuple[float, ...]
    suites: tuple[str, ...]
    detectors: tuple[str, ...]
    tasks: tuple[str, ...]
    form: str
    plugins: tuple[Path, ...]


@click.command(
    cls=Examples,
    examples=(
        "oodbench threshold results/ --keep 0.95",
        "oodbench threshold results/ --suite digits-adv --detector msp --task clean",
        "oodbench threshold results/ --keep 0.95 --keep 0.99 --delta 0.1 --prevalence 0.001 --format csv",
    ),
)
@results_argument
@click.option(
    "--keep",
    "keeps",
    type=float,
    multiple=True,
    default=(0.95,),
    show_default=True,
    metavar="SHARE",
    help="Share of ID images that is to be kept, such as 0.95; repeatable.",
)
@click.option(
    "--delta",
    type=float,
    default=0.0,
    show_default=True,
    metavar="P",
    help="The promise may be broken with this probability, by unlucky ID images; 0 promises the share in expectation "
    "over them.",
)
@click.option(
    "--prevalence",
    "prevalences",
    type=float,
    multiple=True,
    default=(0.01,),
    show_default=True,
    metavar="SHARE",
    help="Share of OOD images where the detector is to work: how many alarms 1,000 images then give; repeatable.",
)
@several("--suite", "suites", "NAME", completing.suites, "Only this suite; repeatable.")
@several("--detector", "detectors", "NAME", completing.detectors, "Only this detector; repeatable.")
@several("--task", "tasks", "NAME", completing.tasks, "Only what comes of this task, such as linf; repeatable.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["plain", "csv", "json"]),
    default="plain",
    show_default=True,
    help="A table to read, or rows of fractions, with what is flagged, stale, failed or left out in columns.",
)
@plugin_option
@collect_into(ThresholdOptions)
def threshold(options: ThresholdOptions) -> None:
    """Set thresholds that keep a share of ID images, and say what they deliver on images of all kinds.

    Each threshold is chosen on a random half of the ID test images by split conformal prediction and held against the
    other half, and against each OOD set as it is, corrupted and attacked, as far as the results have that.
    """
    from oodbench.cli.work import threshold as work

    work.threshold(options)
