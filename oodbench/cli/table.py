"""`oodbench table`: what stored scores say."""

from dataclasses import dataclass
from pathlib import Path

import click

from oodbench.cli import completing
from oodbench.cli.options import Examples, collect_into, plugin_option, results_argument, several

STYLES = ("github", "plain", "latex", "html")
"""Formats for people, by the names of `oodbench.results.tables.layout.STYLES`."""

CONVENTIONS = ("default", "openood", "published")
"""Names of `oodbench.metrics.CONVENTIONS`."""

TIDY = ("csv", "json")
"""Formats for programs."""


@dataclass(frozen=True)
class TableOptions:
    """The options of `oodbench table`, called as in its declaration."""

    results: Path
    form: str | None
    long: bool
    by: str | None
    suites: tuple[str, ...]
    detectors: tuple[str, ...]
    tasks: tuple[str, ...]
    sets: tuple[str, ...]
    metrics: tuple[str, ...]
    sort: str
    seeds: str
    intervals: bool
    convention: str
    compare: str | None
    base: str | None
    plugins: tuple[Path, ...]


@click.command(
    cls=Examples,
    examples=(
        "oodbench table results/",
        "oodbench table results/ --by ood --convention published",
        "oodbench table results/ --detector msp --task clean",
    ),
)
@results_argument
@click.option(
    "--format",
    "form",
    type=click.Choice([*STYLES, *TIDY]),
    help="The long table for a page, or csv and json: one metric a row, fractions, all provenance unless --by asks for "
    "means, whose rows say what is flagged and by how much it may be off.",
)
@click.option(
    "--long",
    is_flag=True,
    help="Every metric and all that the figures rest on, a row each detector and task; the same as --format github.",
)
@click.option(
    "--by",
    type=click.Choice(["task", "ood", "mean"]),
    help="One mean over OOD sets (task, the default), a row each set (ood), or each mean of the suite: near, far, ...",
)
@several("--suite", "suites", "NAME", completing.suites, "Only this suite; repeatable.")
@several("--detector", "detectors", "NAME", completing.detectors, "Only this detector; repeatable.")
@several("--task", "tasks", "NAME", completing.tasks, "Only this task, such as linf; repeatable.")
@several(
    "--sets", "sets", "NAME", completing.image_sets, "Only this OOD set, or a mean's: near, far, paper; repeatable."
)
@click.option("--metric", "metrics", multiple=True, metavar="NAME", help="Only this metric, such as fpr95; repeatable.")
@click.option(
    "--sort",
    metavar="METRIC",
    default="",
    help="Best first by this metric, within each task; where tasks stand side by side, by the first of them. Figures "
    "that are not to be believed (‡) or known to be too good come after the others.",
)
@click.option(
    "--seeds",
    type=click.Choice(["mean", "each"]),
    default="mean",
    show_default=True,
    help="Mean and deviation over training seeds, or a line each.",
)
@click.option("--intervals", is_flag=True, help="95 % intervals over images for all rows.")
@click.option(
    "--convention",
    type=click.Choice(CONVENTIONS),
    default="default",
    show_default=True,
    help="How metrics are computed: 'published' as Chen et al. 2021, 'openood' as OpenOOD v1.5.",
)
@click.option("--compare", metavar="FILE|published", help="Figures of this reference beside the measured ones.")
@click.option(
    "--against",
    "base",
    metavar="DETECTOR",
    shell_complete=completing.detectors,
    help="What every other detector has more or less than this one, on the same images and, where both read any "
    "classifier, over the same network, with intervals.",
)
@plugin_option
@collect_into(TableOptions)
def table(options: TableOptions) -> None:
    """Compute metrics from the scores in a results folder and print them.

    Detectors stand below each other and tasks side by side, with FPR@95 and AUROC or what --metric names, as wide as
    the terminal is, and 80 columns wide where there is none. --intervals, --compare and --against put columns beside
    each figure: these make the long table.
    """
    from oodbench.cli.work import table as work

    work.table(options)
