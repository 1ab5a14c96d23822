"""`oodbench export`: a detector's score as a graph, written and compared with the detector."""

from collections.abc import Iterator
from pathlib import Path

import click

from oodbench.basics.words import in_full
from oodbench.cli.work.output import SHOWN_SHARES, refuse_to_overwrite
from oodbench.registry import discover
from oodbench.running.request import choose_device
from oodbench.scoring import detectorfile, exporting
from oodbench.scoring.graph_check import AGREES, REACHED, ROUNDING, Agreement
from oodbench.statistics.conformal import images_needed


def export(detector: Path, output: Path, replace: bool, network: str | None, plugins: tuple[Path, ...]) -> None:
    """Write the score of a fitted detector as a graph, and print how far the two agree."""
    refuse_to_overwrite(output, replace)
    deployed = detectorfile.load(detector, network, discover(plugins), choose_device("cpu"))
    graph = exporting.export(deployed, output)
    height, width = deployed.input.side
    click.echo(f"{deployed.detector.name} as a graph is in {output}, {output.stat().st_size / 1e6:.1f} MB")
    click.echo(f"  images float32 (N, 3, {height}, {width}) in [0, 1] to scores (N,), higher = more in-distribution")
    for line in _agreement_lines(graph.agreement):
        click.echo(f"  {line}")
    for share in SHOWN_SHARES:
        if deployed.calibration is not None and len(deployed.calibration) >= images_needed(share):
            limit = deployed.threshold(share).value
            click.echo(f"  to keep {100 * share:g} % of ID images, call OOD what scores below {in_full(limit)}")


def _agreement_lines(agreement: Agreement) -> Iterator[str]:
    """Yield how a graph was compared with its detector, and what that cannot show."""
    moved = f", {agreement.moved} of them moved to where scores are higher" if agreement.moved else ""
    yield (
        f"on {agreement.images} made-up images{moved}, scores differ from the detector's by at most "
        f"{agreement.share:.1g} of what is allowed: {AGREES:g} of a spread of {agreement.scale:.3g}, "
        f"and {ROUNDING:.5f} of the score"
    )
    if agreement.reached is None:
        yield "a detector's file holds no image, and this one no scores of ID images: try the graph on some of yours"
    else:
        reached = f"{agreement.reached or 'none'} of them would be kept where {100 * REACHED:g} % of ID images are"
        yield f"{reached}; a detector's file holds no image: try the graph on ID images of yours"
