"""`oodbench keep`: trained networks for everybody."""

from pathlib import Path
from typing import Any

import click

from oodbench.basics.memory import loading
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
    "looks for them. Its last part becomes part of each network's name: data/networks/mine gives mine/atom.",
)
@click.option("--replace", "overwrite", is_flag=True, help="Put them in place of networks with other weights.")
@click.option(
    "--by-its-word",
    "by_word",
    is_flag=True,
    help="Take a network whose file says how it was trained, but not by which code; the index notes this.",
)
@seed_option
@seeds_option
@data_option
@out_option
@precision_option
@set_option
@plugin_option
def keep(**options: Any) -> None:
    """Keep trained networks, so that `oodbench run --pretrained` scores with them instead of training.

    Networks that `oodbench run` with these options has trained are copied out of the results folder, and the folder's
    index.json says of each what it is: SHA-256, recipe, code, images, accuracy on the ID test set. Those that are not
    there are named.
    """
    with loading():
        from oodbench.cli.work import keep as work
    work.keep(**options)
