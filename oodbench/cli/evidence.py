"""`oodbench evidence`: figures in a file that others can check."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from oodbench.cli import completing
from oodbench.cli.options import (
    Examples,
    checkpoints_option,
    collect_into,
    data_option,
    device_option,
    limit_option,
    plugin_option,
    replace_option,
    seed_option,
    set_option,
    several,
    typed,
)

NORMS = ("linf", "l2")
"""Keys of `oodbench.attacks.balls.BALLS`."""

OF_RESULTS = ("tasks",)
OF_IMAGES = ("epsilon", "norm", "words", "pretrained", "seed", "limit", "assignments")
"""Parameters for evidence of a results folder alone, and for evidence of images alone."""


@dataclass(frozen=True)
class EvidenceOptions:
    """The options of `oodbench evidence`, called as in its declaration; those of the other kind stay at defaults."""

    results: Path | None
    output: Path
    replace: bool
    suites: tuple[str, ...]
    names: tuple[str, ...]
    tasks: tuple[str, ...]
    file: Path | None
    epsilon: int | None
    norm: str
    words: str
    by: str
    note: str
    pretrained: bool
    changes: bool
    checkpoints: tuple[Path, ...]
    seed: int
    limit: int | None
    assignments: tuple[str, ...]
    device: str
    data: Path
    plugins: tuple[Path, ...]


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
@replace_option
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
@collect_into(EvidenceOptions)
def evidence(options: EvidenceOptions) -> None:
    """Put attacked images and scores into one file that others can check: `oodbench verify`, `oodbench board add`.

    Rows are chosen from a results folder, or made of images from an attack of your own. Each says of which suite,
    detector, network and ball it is, with digests of all of them. Images are in it where the run kept them
    (--keep-images); where it did not, there is the seed, and the attack has to be carried out again to check it. With
    --changes there is in place of each image what the attack changed in it.
    """
    results, file = options.results, options.file
    if results is not None and file is None:
        _refuse(OF_IMAGES, "images of your own: give them with --images")
        from oodbench.cli.work import evidence as work

        work.evidence_of_results(results, options)
    elif file is not None and results is None:
        _refuse(OF_RESULTS, "a results folder, and --images is given")
        radius = _radius_of_images(options)
        from oodbench.cli.work import evidence as work

        work.evidence_of_images(file, radius, options)
    else:
        raise click.UsageError("give a results folder, or attacked images of your own with --images FILE")


def _refuse(names: Sequence[str], kind: str) -> None:
    """Raise a usage error where one of these options was typed, which are for evidence of another kind."""
    if typed_names := [name for name in names if typed(name)]:
        raise click.UsageError(f"{_spelling(typed_names[0])} is for evidence of {kind}")


def _spelling(name: str) -> str:
    """Return an option as it is typed, by the name of its parameter."""
    return {"tasks": "--task", "epsilon": "--eps", "words": "--attack", "assignments": "--set"}.get(name, f"--{name}")


def _radius_of_images(options: EvidenceOptions) -> int:
    """Return the radius of --eps, once there is all that evidence of images needs."""
    if len(options.suites) != 1 or len(options.names) != 1 or options.epsilon is None:
        raise click.UsageError("--images takes one --suite, one --detector, and the radius with --eps")
    if options.pretrained == (len(options.checkpoints) == 1) or len(options.checkpoints) > 1:
        raise click.UsageError("--images takes --pretrained, or the one network as --checkpoint FILE")
    return options.epsilon
