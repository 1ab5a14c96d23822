"""`oodbench verify`: evidence checked; and the options of every verb that checks some."""

from dataclasses import dataclass
from pathlib import Path

import click

from oodbench.cli.options import (
    Decorated,
    Examples,
    checkpoints_option,
    collect_into,
    data_option,
    device_option,
    plugin_option,
)

suite_files_option = click.option(
    "--suite",
    "suites",
    multiple=True,
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="TOML file of a suite that does not come with oodbench; repeatable.",
)
tolerance_option = click.option(
    "--tolerance",
    type=click.FloatRange(0, 0.1),
    metavar="SHARE",
    help="How far a score that is calculated again may lie from the one in the evidence, as a share of the spread "
    "(interquartile range) of the ID scores; machines round differently. 0 asks for the same bits.  [default: 0.001]",
)


@dataclass(frozen=True)
class ResourceOptions:
    """Where a verb that checks evidence looks for what this names, and how exactly it compares; see `checked_with`."""

    checkpoints: tuple[Path, ...]
    suites: tuple[Path, ...]
    tolerance: float | None
    device: str
    data: Path
    plugins: tuple[Path, ...]


def checked_with(verb: Decorated) -> Decorated:
    """Add the options of every verb that checks evidence, in the order of its help."""
    declared = (checkpoints_option, suite_files_option, tolerance_option, device_option, data_option, plugin_option)
    for option in reversed(declared):
        verb = option(verb)
    return verb


@dataclass(frozen=True)
class VerifyOptions(ResourceOptions):
    """The options of `oodbench verify`, called as in its declaration."""

    file: Path


@click.command(
    cls=Examples,
    examples=("oodbench verify evidence.zip", "oodbench verify evidence.zip --checkpoint theirs.safetensors"),
)
@click.argument("file", type=click.Path(path_type=Path), metavar="EVIDENCE")
@checked_with
@collect_into(VerifyOptions)
def verify(options: VerifyOptions) -> None:
    """Check an archive of evidence, and say line by line what holds and what could not be looked at.

    The suite, the code of the detector, the source image of each attacked one, the ball around it, the digest of the
    network; then ID and attacked images are scored again. What needs images or a network that are not here is named as
    not checked. Exit code 1 if something does not hold.
    """
    from oodbench.cli.work import verify as work

    work.verify(options)
