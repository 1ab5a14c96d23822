"""`oodbench check`: do figures still hold?"""

from pathlib import Path
from typing import Any

import click

from oodbench.cli import completing
from oodbench.cli.options import Examples, exclusive, plugin_option, results_argument, several


@click.command(
    cls=Examples,
    examples=(
        "oodbench check results/ --reference mine.csv --update --scores kept/",
        "oodbench check results/ --reference mine.csv --junit check.xml",
    ),
)
@results_argument
@click.option(
    "--reference",
    "file",
    metavar="FILE|NAME",
    required=True,
    help="CSV file, or 'measured' or 'published', which come with oodbench.",
)
@click.option("--update", is_flag=True, help="Write what was measured into the reference instead, or begin one.")
@click.option(
    "--scores",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="With --update: keep the scores themselves there, too, in a small file for each suite that `oodbench table` "
    "reads.",
)
@click.option(
    "--lenient", is_flag=True, help="Figures that are missing or not comparable, and files that cannot be read, pass."
)
@click.option("--strict", is_flag=True, hidden=True)  # as it is by default; earlier versions had to be asked
@several("--suite", "suites", "NAME|FILE", completing.suites, "Only figures of this suite; repeatable.")
@several("--detector", "names", "NAME", completing.detectors, "Only of this detector; repeatable.")
@several("--task", "tasks", "NAME", completing.tasks, "Only of this task, or 'id'; repeatable.")
@click.option("--junit", type=click.Path(path_type=Path), metavar="FILE", help="Verdicts for CI systems, too.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "github"]),
    default="text",
    show_default=True,
    help="'github' adds annotations that GitHub Actions shows.",
)
@plugin_option
def check(**asked: Any) -> None:
    """Hold results against reference figures. Exit code 1 if one is further off than its row tolerates, or missing.

    Figures of another suite fingerprint, version, network or set of images are named as not comparable, and fail as
    well. Of two results of one name, the one that today's code would make is compared: give the file of a plugin with
    --plugin, so that its code is known. Say which part of a large reference was run with --suite, --detector and
    --task. Where nothing at all could be compared, the exit code is 2.
    """
    exclusive("lenient", "strict")
    del asked["strict"]  # it is what is done without --lenient
    if asked["scores"] and not asked["update"]:
        raise click.UsageError("--scores keeps what --update writes figures of: say --update as well")
    from oodbench.cli.work import checking

    checking.check(**asked)
