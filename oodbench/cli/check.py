"""`oodbench check`: do figures still hold?"""

from dataclasses import dataclass
from pathlib import Path

import click

from oodbench.cli import completing
from oodbench.cli.options import Examples, collect_into, exclusive, plugin_option, results_argument, several


@dataclass(frozen=True)
class CheckOptions:
    """The options of `oodbench check`, called as in its declaration."""

    results: Path
    file: str
    update: bool
    scores: Path | None
    lenient: bool
    strict: bool
    suites: tuple[str, ...]
    names: tuple[str, ...]
    tasks: tuple[str, ...]
    junit: Path | None
    form: str
    plugins: tuple[Path, ...]


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
@click.option("--strict", is_flag=True, hidden=True)  # what is done without --lenient; earlier versions had to be told
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
@collect_into(CheckOptions)
def check(options: CheckOptions) -> None:
    """Hold results against reference figures. Exit code 1 if one is further off than its row tolerates, or missing.

    Figures of another suite fingerprint, version, network or set of images are named as not comparable, and fail as
    well. Of two results of one name, the one that today's code would make is compared: give the file of a plugin with
    --plugin, so that its code is known. Say which part of a large reference was run with --suite, --detector and
    --task. Where nothing at all could be compared, the exit code is 2.
    """
    exclusive("lenient", "strict")
    if options.scores and not options.update:
        raise click.UsageError("--scores keeps what --update writes figures of: say --update as well")
    from oodbench.cli.work import check as work

    work.check(options)
