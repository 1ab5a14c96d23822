"""`oodbench export`: a fitted detector's score as one graph."""

from pathlib import Path

import click

from oodbench.basics.memory import loading
from oodbench.cli.options import (
    Examples,
    builder_option,
    plugin_option,
    replace_option,
)


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
def export(detector: Path, output: Path, replace: bool, network: str | None, plugins: tuple[Path, ...]) -> None:
    """Write the score of a fitted detector as one graph, which runs without oodbench.

    It takes images, float32 (N, 3, H, W) in [0, 1] of the size that the detector takes, and gives scores (N,), higher
    for in-distribution images. Before it is written it is held against the detector on made-up images that it was not
    traced with, as near to ID images as the score's gradient leads. Where a score is no such graph (ODIN, say,
    differentiates while it scores), that is said and nothing written.
    """
    with loading():
        from oodbench.cli.work import export as work
    work.export(detector, output, replace, network, plugins)
