"""`oodbench keep`: trained networks for everybody."""

from pathlib import Path
from typing import Any

import click

from oodbench.basics.errors import OodbenchError
from oodbench.cli.options import (
    Examples,
    data_option,
    detectors_option,
    out_option,
    plugin_option,
    precision_option,
    seed_option,
    seeds_option,
    set_option,
    suite_option,
)
from oodbench.registry import discover
from oodbench.running import keep_networks
from oodbench.running.config import RunConfig
from oodbench.running.request import choose_device, parse_seeds
from oodbench.suitefiles import settings


@click.command(
    cls=Examples,
    examples=(
        "oodbench keep --suite digits --detector all --into results/reference/networks/digits",
        "oodbench keep --suite mine.toml --detector atom --into data/networks/mine",
    ),
)
@suite_option
@detectors_option
@click.option(
    "--into",
    "shelf",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    metavar="DIR",
    help="Folder to copy them to, in results/reference/networks of a clone or in DATA/networks: there --pretrained "
    "looks for them. They are called after it.",
)
@click.option("--replace", "overwrite", is_flag=True, help="Put them in place of networks with other weights.")
@click.option(
    "--by-its-word",
    "by_word",
    is_flag=True,
    help="Take a network whose file says that it was trained so, though not by which code; the index notes it.",
)
@seed_option
@seeds_option
@data_option
@out_option
@precision_option
@set_option
@plugin_option
def keep(
    shelf: Path,
    overwrite: bool,
    by_word: bool,
    suite: str,
    seed: int,
    seeds: str | None,
    assignments: tuple[str, ...],
    **described: Any,
) -> None:
    """Keep trained networks, so that `oodbench run --pretrained` scores with them instead of training.

    Networks that `oodbench run` with these options has trained are copied out of the results folder, and the folder's
    index.json says of each what it is: SHA-256, recipe, code, images, accuracy on the ID test set. Those that are not
    there are named.
    """
    changes = tuple(settings.parse(text) for text in assignments)
    config = RunConfig(suite, seed=parse_seeds(seeds) if seeds else seed, parameters=changes, **described)
    registry = discover(config.plugin_files)
    request = config.request(registry, choose_device("cpu"))
    kept: list[str] = []

    def say(line: str) -> None:
        kept.append(line)
        click.echo(line)

    lacking = keep_networks.keep(request, config.seeds, registry, shelf, overwrite, say, by_word)
    for line in lacking:
        click.echo(f"not kept: {line}", err=True)
    if not kept:
        raise OodbenchError(
            f"no network of these is in {request.out}: --out, --set and --precision are those of the training"
        )
