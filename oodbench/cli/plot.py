"""`oodbench plot`: results as a figure for a paper."""

from dataclasses import dataclass
from pathlib import Path

import click

from oodbench.cli import completing
from oodbench.cli.options import Examples, collect_into, data_option, plugin_option, results_argument, several

KINDS = ("bars", "roc", "hist", "eps")
"""Names of `oodbench.results.report.plots.KINDS`."""

FORMS = ("svg", "pdf", "png")


@dataclass(frozen=True)
class PlotOptions:
    """The options of `oodbench plot`, called as in its declaration."""

    results: Path
    kind: str
    task: str
    metric: str
    detectors: tuple[str, ...]
    suite: str | None
    images: int | None
    output: Path
    data: Path
    plugins: tuple[Path, ...]


@click.command(
    cls=Examples,
    examples=(
        "oodbench plot results/ --kind bars -o bars.pdf",
        "oodbench plot results/ --kind roc -o roc.svg",
    ),
)
@results_argument
@click.option(
    "--kind",
    type=click.Choice(KINDS),
    default="bars",
    show_default=True,
    help="bars: a metric by task. roc: ROC curves. hist: scores of ID and OOD images. eps: a metric over the radius.",
)
@click.option(
    "--task",
    default="clean",
    show_default=True,
    help="The task that roc and hist draw; for eps the attack, such as linf.",
)
@click.option(
    "--metric",
    type=click.Choice(["auroc", "fpr95"]),
    default="auroc",
    show_default=True,
    help="The metric that bars and eps draw; roc writes it beside names.",
)
@several("--detector", "detectors", "NAME", completing.detectors, "Only this detector, in this order; repeatable.")
@click.option("--suite", metavar="NAME", help="Which suite, where the folder holds several.")
@click.option(
    "--images",
    type=click.IntRange(min=0),
    metavar="N",
    help="Results on N images of each OOD set, 0 for all of them, where the folder holds several.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("figure.svg"),
    show_default=True,
    help="The figure: .svg, .pdf or .png.",
)
@data_option
@plugin_option
@collect_into(PlotOptions)
def plot(options: PlotOptions) -> None:
    """Draw a results folder as a figure: vector graphics with text as text.

    Figures that a table would flag carry its signs, † and ‡; what is not drawn is named on stderr.

    Needs Matplotlib: pip install 'oodbench[plot]'. The table to it is `oodbench table RESULTS --format latex`.
    """
    from oodbench.cli.work import plot as work

    work.plot(options)
