"""`oodbench list`: what can be named."""

from pathlib import Path

import click

from oodbench.cli.options import Examples, data_option, plugin_option


@click.command("list", cls=Examples, examples=("oodbench list detectors", "oodbench list images"))
@click.argument("what", type=click.Choice(["detectors", "suites", "tasks", "corruptions", "images", "networks"]))
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "github"]),
    default="text",
    help="github lists suites as a table in Markdown.",
)
@data_option
@plugin_option
def list_(what: str, form: str, data: Path, plugins: tuple[Path, ...]) -> None:
    """What can be named: detectors, suites, tasks, corruptions, images or networks."""
    from oodbench.cli.work import list as work

    work.list_(what, form, data, plugins)
