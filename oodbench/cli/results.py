"""`oodbench table`: what stored scores say."""

from pathlib import Path

import click
import pandas as pd

from oodbench.basics.errors import OodbenchError
from oodbench.cli import completing
from oodbench.cli.options import Examples, plugin_option, results_argument
from oodbench.cli.terminal import width
from oodbench.metrics import CONVENTIONS
from oodbench.registry import discover
from oodbench.results import reference, tables
from oodbench.results.folder import find
from oodbench.results.tables.layout import STYLES

TIDY = ("csv", "json")


@click.command(
    cls=Examples, examples=("oodbench table results/", "oodbench table results/ --by ood --convention published")
)
@results_argument
@click.option(
    "--format",
    "form",
    type=click.Choice([*STYLES, *TIDY]),
    help="The long table for a page, or csv and json: one metric a row, fractions, all provenance unless --by asks for "
    "means.",
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
@click.option(
    "--sets",
    multiple=True,
    metavar="NAME",
    shell_complete=completing.image_sets,
    help="Only this OOD set, or a mean's: near, far, paper; repeatable.",
)
@click.option("--metric", "metrics", multiple=True, metavar="NAME", help="Only this metric, such as fpr95; repeatable.")
@click.option(
    "--sort",
    metavar="METRIC",
    default="",
    help="Best first by this metric, within each task; where tasks stand side by side, by the first of them.",
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
    type=click.Choice(sorted(CONVENTIONS)),
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
    help="What every other detector has more or less than this one, on the same images, with intervals.",
)
@plugin_option
def table(
    results: Path,
    form: str | None,
    long: bool,
    by: str | None,
    sets: tuple[str, ...],
    metrics: tuple[str, ...],
    sort: str,
    seeds: str,
    intervals: bool,
    convention: str,
    compare: str | None,
    base: str | None,
    plugins: tuple[Path, ...],
) -> None:
    """Compute metrics from the scores in a results folder and print them.

    Detectors stand below each other and tasks side by side, with FPR@95 and AUROC or what --metric names, as wide as
    the terminal is, and 80 columns wide where there is none. --intervals, --compare and --against put columns beside
    each figure: these make the long table.
    """
    registry = discover(plugins)
    detectors = {name: registry[name] for name in registry.names()}
    view = tables.View(by or "task", sets, metrics, seeds, sort)
    view.require_known(convention)  # a misspelt metric is named before anything is computed
    there = find(results)
    if base and compare:
        raise OodbenchError("--against shows differences and --compare figures: leave out one of them")
    if base:
        paired = tables.against(there.cells, detectors, base, convention)
        frame, left_out = paired.frame, [*there.left_out, *paired.left_out]
    else:
        frame, left_out = tables.tidy(there.cells, detectors, convention, intervals), list(there.left_out)
    view.require_measured(frame)
    for line in left_out:
        click.echo(f"WARNING: {line}", err=True)
    if form in TIDY:
        if compare:
            raise OodbenchError("--compare is for tables that people read: leave it out, or --format github")
        found = tables.flat(frame, view) if by else tables.chosen(frame, view)
        for line in tables.lacking(frame) if by and not sets else ():
            click.echo(f"WARNING: {line}", err=True)
        click.echo(_tidy_text(found, form), nl=form != "csv")
        return
    if not (form or long or base or compare or intervals):
        click.echo(tables.compact(frame, view, width(), left_out))
        return
    figures = tables.Published(reference.read(Path(compare))) if compare else None
    click.echo(tables.render(frame, view, form or "github", figures, left_out))


def _tidy_text(frame: pd.DataFrame, form: str) -> str:
    return frame.to_csv(index=False) if form == "csv" else str(frame.to_json(orient="records", indent=1))
