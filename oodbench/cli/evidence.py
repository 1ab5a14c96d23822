"""`oodbench evidence` and `oodbench verify`: figures that others can check."""

from pathlib import Path
from typing import Any

import click

from oodbench.cli import completing
from oodbench.cli.options import (
    Decorated,
    Examples,
    data_option,
    device_option,
    limit_option,
    plugin_option,
    seed_option,
    set_option,
    several,
    typed,
)

NORMS = ("linf", "l2")
"""Keys of `oodbench.attacks.balls.BALLS`."""

OF_RESULTS = ("tasks",)
OF_IMAGES = ("epsilon", "norm", "words", "pretrained", "seed", "limit", "assignments")
"""What may be said of evidence of a results folder alone, and of images alone."""

checkpoints_option = click.option(
    "--checkpoint",
    "checkpoints",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A trained network that is not kept for everybody; repeatable.",
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


def checked_with(verb: Decorated) -> Decorated:
    """The options of every verb that checks evidence, in the order of its help."""
    options = (checkpoints_option, suite_files_option, tolerance_option, device_option, data_option, plugin_option)
    for option in reversed(options):
        verb = option(verb)
    return verb


@click.command(
    cls=Examples,
    examples=(
        "oodbench evidence results/ --detector atom -o evidence.zip",
        "oodbench evidence --images mine.npz --suite digits-adv --detector atom --pretrained --eps 32 -o evidence.zip",
    ),
)
@click.argument("results", type=click.Path(path_type=Path), required=False)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    metavar="FILE",
    help="The archive to write, evidence.zip.",
)
@several("--suite", "suites", "NAME|FILE", completing.suites, "Only rows of this suite; repeatable.")
@several("--detector", "names", "NAME", completing.detectors, "Only rows of this detector; repeatable.")
@several("--task", "tasks", "NAME", completing.tasks, "Only rows of this attack; repeatable.")
@click.option(
    "--images",
    "file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="In place of RESULTS: attacked images of your own, .npz, .h5 or .safetensors, an array for each OOD set, "
    "called as the set is. They are scored here.",
)
@click.option("--eps", "epsilon", type=click.IntRange(min=1), metavar="E", help="With --images: the radius, in 1/255.")
@click.option(
    "--norm",
    type=click.Choice(NORMS),
    default="linf",
    show_default=True,
    help="With --images: the norm in which the radius is measured.",
)
@click.option("--attack", "words", metavar="TEXT", default="", help="With --images: what the attack did, in words.")
@click.option("--by", metavar="TEXT", default="", help="Who hands it in: a name, a handle, a paper.")
@click.option("--note", metavar="TEXT", default="", help="What else there is to say of it.")
@click.option(
    "--pretrained", is_flag=True, help="With --images: the network that is kept for everybody, instead of --checkpoint."
)
@click.option(
    "--changes",
    is_flag=True,
    help="Put what the attack changed of each image into the archive, and not the image: for photographs that you may "
    "not pass on. Whoever verifies it needs the image set.",
)
@checkpoints_option
@seed_option
@limit_option
@set_option
@device_option
@data_option
@plugin_option
def evidence(**asked: Any) -> None:
    """Put attacked images and scores into one file that others can check: `oodbench verify`, `oodbench board add`.

    Rows are chosen from a results folder, or made of images from an attack of your own. Each says of which suite,
    detector, network and ball it is, with digests of all of them. Images are in it where the run kept them
    (--keep-images); where it did not, there is the seed, and the attack has to be carried out again to check it. With
    --changes there is in place of each image what the attack changed in it.
    """
    if (asked["results"] is None) == (asked["file"] is None):
        raise click.UsageError("give a results folder, or attacked images of your own with --images FILE")
    odd = OF_IMAGES if asked["file"] is None else OF_RESULTS
    if given := [name for name in odd if typed(name)]:
        raise click.UsageError(f"{_option(given[0])} is for evidence of {_kind(asked['file'] is not None)}")
    if asked["file"] is not None:
        if len(asked["suites"]) != 1 or len(asked["names"]) != 1 or asked["epsilon"] is None:
            raise click.UsageError("--images takes one --suite, one --detector, and the radius with --eps")
        if asked["pretrained"] == (len(asked["checkpoints"]) == 1) or len(asked["checkpoints"]) > 1:
            raise click.UsageError("--images takes --pretrained, or the one network as --checkpoint FILE")
    from oodbench.cli.work import evidencing

    evidencing.evidence(**asked)


def _option(name: str) -> str:
    return {"tasks": "--task", "epsilon": "--eps", "words": "--attack", "assignments": "--set"}.get(name, f"--{name}")


def _kind(of_images: bool) -> str:
    return "a results folder, and --images is given" if of_images else "images of your own: give them with --images"


@click.command(
    cls=Examples,
    examples=("oodbench verify evidence.zip", "oodbench verify evidence.zip --checkpoint theirs.safetensors"),
)
@click.argument("file", type=click.Path(path_type=Path), metavar="EVIDENCE")
@checked_with
def verify(**asked: Any) -> None:
    """Check an archive of evidence, and say line by line what holds and what could not be looked at.

    The suite, the code of the detector, the source image of each attacked one, the ball around it, the digest of the
    network; then ID and attacked images are scored again. What needs images or a network that are not here is named as
    not checked. Exit code 1 if something does not hold.
    """
    from oodbench.cli.work import evidencing

    evidencing.verify(**asked)
