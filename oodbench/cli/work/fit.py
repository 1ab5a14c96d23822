"""`oodbench fit`: the plan and its cost printed, the detector fitted, its file written."""

from pathlib import Path
from shlex import quote
from typing import Any

import click

from oodbench.basics.files import require_writable
from oodbench.basics.words import counted, in_full
from oodbench.cli.work.output import SHOWN_SHARES, print_status, refuse_to_overwrite
from oodbench.networks.logits_alone import LOGITS_ALONE
from oodbench.registry import discover
from oodbench.results.tables import tuning_text
from oodbench.running.config import RunConfig
from oodbench.running.deployment import Deployment, deployment
from oodbench.running.request import choose_device
from oodbench.scoring.deployed import DeployedDetector
from oodbench.statistics.conformal import images_needed
from oodbench.suitefiles import settings


def fit(
    suite: str,
    detector: str,
    output: Path,
    replace: bool,
    calibrate: str,
    assignments: tuple[str, ...],
    **run_options: Any,
) -> None:
    """Fit a detector and write its file; `run_options` are fields of `RunConfig`."""
    refuse_to_overwrite(output, replace)
    changes = tuple(settings.parse(text) for text in assignments)
    config = RunConfig(suite, detector, parameters=changes, say=print_status, **run_options)
    config.check()
    registry = discover(config.plugin_files)
    planned = deployment(config.request(registry, choose_device(config.device)), registry, calibrate)
    _print_plan(planned)
    require_writable(output.absolute().parent, "-o")  # before the work
    deployed = planned.carry_out(print_status)
    deployed.save(output)
    click.echo(f"{detector} is in {output}, {output.stat().st_size / 1e6:.1f} MB")
    for line in _promise_lines(deployed, planned):
        click.echo(f"  {line}")
    click.echo(f"`oodbench score IMAGES --with {quote(str(output))}` scores images with it.")


def _print_plan(planned: Deployment) -> None:
    suite, network = planned.plan.suite, planned.network
    print_status(f"suite {suite.name} (version {suite.version}, fingerprint {suite.fingerprint[:8]}): {suite.title}")
    for difference in planned.plan.image_sets.unlike:
        print_status(f"  NOTE {difference}")
    for found in planned.plan.image_sets.shared:
        print_status(f"  WARNING {found}")
    if network.why_not_pretrained:
        print_status(f"  trained, not pretrained: {network.why_not_pretrained}")
    source = f"pretrained network {network.pretrained.name}" if network.pretrained else f"network {network.file}"
    if network.to_train and suite.training:
        source = f"network to be trained for {counted(network.objective.epochs_in_all(suite.training), 'epoch')}"
    print_status(f"  {source}")
    if network.parts.startswith(LOGITS_ALONE):
        print_status(f"  {network.parts}")
    calibration = planned.calibration
    images = counted(len(calibration.images.images), "image")
    print_status(f"  thresholds rest on {images}: {calibration.what}")
    print_status(f"device {planned.machinery.device.type}; about {planned.passes()} of the network, in images")


def _promise_lines(deployed: DeployedDetector, planned: Deployment) -> list[str]:
    """Return what the detector learned from and what it promises, a line each."""
    about, lines = deployed.about, []
    if "train" in about:
        lines.append(f"learned from {about['train']['images']:,} ID training images, {about['train']['set']}")
    if about.get("tuned"):
        lines.append(tuning_text(dict(about["tuned"]), planned.network.given))
    calibration, count = about["calibration"], about["calibration"]["images"]
    lines.append(f"thresholds rest on {count:,} ID images, {calibration['set']}: {calibration['what']}")
    for share in SHOWN_SHARES:
        kept = f"{100 * share:g} % of ID images"
        if count >= images_needed(share):
            lines.append(f"to keep {kept}, call OOD what scores below {in_full(deployed.threshold(share).value)}")
        else:
            lines.append(f"{count} images cannot promise that {kept} are kept: it takes {images_needed(share)}")
    return lines
