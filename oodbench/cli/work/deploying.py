"""`oodbench fit` and `oodbench export`: say what it costs, fit, write the detector's file, or its score as a graph."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from oodbench.basics.errors import OodbenchError
from oodbench.basics.progress import written
from oodbench.basics.words import counted, in_full
from oodbench.registry import discover
from oodbench.results.store import require_writable
from oodbench.results.tables import about_tuning
from oodbench.running.config import RunConfig
from oodbench.running.deployment import Deployment, deployment
from oodbench.running.request import choose_device
from oodbench.scoring import detectorfile, exporting
from oodbench.scoring.deployed import DeployedDetector
from oodbench.scoring.graph_check import AGREES, REACHED, ROUNDING, Agreement
from oodbench.statistics.conformal import needed
from oodbench.suitefiles import settings

KEPT = (0.9, 0.95, 0.99)
"""Shares of ID images whose thresholds are shown."""


def fit(
    suite: str,
    detector: str,
    output: Path,
    replace: bool,
    calibrate: str,
    assignments: tuple[str, ...],
    **described: Any,
) -> None:
    """See `oodbench.cli.deploying.fit`."""
    refuse_to_overwrite(output, replace)
    changes = tuple(settings.parse(text) for text in assignments)
    config = RunConfig(suite, detector, parameters=changes, say=_say, **described)
    config.check()
    registry = discover(config.plugin_files)
    planned = deployment(config.request(registry, choose_device(config.device)), registry, calibrate)
    _announce(planned)
    require_writable(output.absolute().parent)  # before the work
    made = planned.carry_out(_say)
    made.save(output)
    click.echo(f"{detector} is in {output}, {output.stat().st_size / 1e6:.1f} MB")
    for line in _about(made, planned):
        click.echo(f"  {line}")
    click.echo(f"`oodbench score IMAGES --with {output}` scores images with it.")


def export(detector: Path, output: Path, replace: bool, network: str | None, plugins: tuple[Path, ...]) -> None:
    """See `oodbench.cli.deploying.export`."""
    refuse_to_overwrite(output, replace)
    made = detectorfile.load(detector, network, discover(plugins), choose_device("cpu"))
    found = exporting.export(made, output)
    height, width = made.input.side
    click.echo(f"{made.detector.name} as a graph is in {output}, {output.stat().st_size / 1e6:.1f} MB")
    click.echo(f"  images float32 (N, 3, {height}, {width}) in [0, 1] to scores (N,), higher = more in-distribution")
    for line in _agreement(found.agreement):
        click.echo(f"  {line}")
    for share in KEPT:
        if made.calibration is not None and len(made.calibration) >= needed(share):
            limit = made.threshold(share).value
            click.echo(f"  to keep {100 * share:g} % of ID images, call OOD what scores below {in_full(limit)}")


def _agreement(found: Agreement) -> Iterator[str]:
    """On what a graph was held against its detector, and how far that goes."""
    moved = f", {found.moved} of them moved to where scores are higher" if found.moved else ""
    yield (
        f"on {found.images} made-up images{moved}, scores differ from the detector's by at most {found.share:.1g} of "
        f"what is allowed: {AGREES:g} of a spread of {found.scale:.3g}, and {ROUNDING:.5f} of the score"
    )
    if found.reached is None:
        yield "a detector's file holds no image, and this one no scores of ID images: try the graph on some of yours"
    else:
        reached = f"{found.reached or 'none'} of them would be kept where {100 * REACHED:g} % of ID images are"
        yield f"{reached}; a detector's file holds no image: try the graph on ID images of yours"


def refuse_to_overwrite(output: Path, replace: bool) -> None:
    """OodbenchError where there is something that nobody said to replace."""
    if output.exists() and not replace:
        raise OodbenchError(f"there is a {output} already: name another file with -o, or say --replace")


def _say(line: str) -> None:
    with written():
        click.echo(line, err=True)


def _announce(planned: Deployment) -> None:
    suite, network = planned.plan.suite, planned.network
    _say(f"suite {suite.name} (version {suite.version}, fingerprint {suite.fingerprint[:8]}): {suite.title}")
    for said in planned.plan.image_sets.unlike:
        _say(f"  NOTE {said}")
    for said in planned.plan.image_sets.shared:
        _say(f"  WARNING {said}")
    if network.why:
        _say(f"  trained, not pretrained: {network.why}")
    source = f"pretrained network {network.pretrained.name}" if network.pretrained else f"network {network.file}"
    if network.to_train and suite.training:
        source = f"network to be trained for {counted(network.objective.epochs_in_all(suite.training), 'epoch')}"
    _say(f"  {source}")
    calibration = planned.calibration
    images = counted(len(calibration.images.images), "image")
    _say(f"  thresholds rest on {images}: {calibration.what}")
    _say(f"device {planned.machinery.device.type}; about {planned.passes()} of the network, in images")


def _about(made: DeployedDetector, planned: Deployment) -> list[str]:
    """What the detector learned from and what it promises, a line each."""
    about, lines = made.about, []
    if "train" in about:
        lines.append(f"learned from {about['train']['images']:,} ID training images, {about['train']['set']}")
    if about.get("tuned"):
        lines.append(about_tuning(dict(about["tuned"]), planned.network.given))
    count, rest = about["calibration"]["images"], about["calibration"]
    lines.append(f"thresholds rest on {count:,} ID images, {rest['set']}: {rest['what']}")
    for share in KEPT:
        kept = f"{100 * share:g} % of ID images"
        if count >= needed(share):
            lines.append(f"to keep {kept}, call OOD what scores below {in_full(made.threshold(share).value)}")
        else:
            lines.append(f"{count} images cannot promise that {kept} are kept: it takes {needed(share)}")
    return lines
