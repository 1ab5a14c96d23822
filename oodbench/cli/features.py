"""`oodbench features`: logits and features of a suite's images, as a file."""

from pathlib import Path
from typing import Any

import click

from oodbench.basics.memory import loading
from oodbench.cli import completing
from oodbench.cli.options import (
    Examples,
    data_option,
    device_option,
    exclusive,
    limit_option,
    out_option,
    plugin_option,
    precision_option,
    seed_option,
    set_option,
    several,
    suite_option,
    tf32_option,
)


@click.command(
    cls=Examples,
    examples=(
        "oodbench features --suite digits --pretrained -o digits.features",
        "oodbench features --suite imagenet --checkpoint resnet50.pth --no-train -o resnet50.features",
    ),
)
@suite_option
@click.option(
    "-o",
    "--output",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    metavar="PACK",
    help="The file to write.",
)
@click.option(
    "--detector",
    "trained_for",
    metavar="NAME",
    shell_complete=completing.detectors,
    help="Take the network that this detector trains. Left out: a plainly trained one.",
)
@click.option(
    "--checkpoint",
    metavar="FILE|NAME",
    shell_complete=completing.networks,
    help="A trained network, as `oodbench run` takes it.",
)
@click.option(
    "--pretrained",
    is_flag=True,
    help="Take the trained network that comes with oodbench, if it is exactly what would be trained.",
)
@click.option(
    "--train/--no-train",
    "train",
    default=True,
    show_default=True,
    help="Whether features of ID training images are written, too: many detectors learn from them.",
)
@several("--only", "only", "SET", completing.image_sets, "Only this OOD set of the suite; repeatable.")
@seed_option
@device_option
@data_option
@out_option
@limit_option
@precision_option
@tf32_option
@set_option
@plugin_option
def features(**options: Any) -> None:
    """Write what a network makes of a suite's images: logits, features, labels and its last layer, in one file.

    `oodbench run --features PACK` scores that file with every detector that needs no more, in seconds and to the same
    bits as the images. It is a safetensors file, so that features of any network can be written by hand as well:
    docs/guides/feature-packs.md has the format, and `oodbench.write_features` writes it from arrays.
    """
    exclusive("checkpoint", "pretrained")
    with loading():
        from oodbench.cli.work import features as work
    work.features(**options)
