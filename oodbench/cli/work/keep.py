"""`oodbench keep`: trained networks, copied to a shelf where --pretrained finds them."""

from pathlib import Path
from typing import Any

import click

from oodbench.basics.errors import OodbenchError
from oodbench.registry import discover
from oodbench.running import keep_networks
from oodbench.running.config import RunConfig
from oodbench.running.request import choose_device, parse_seeds
from oodbench.suitefiles import settings


def keep(
    shelf: Path,
    overwrite: bool,
    by_word: bool,
    suite: str,
    seed: int,
    seeds: str | None,
    assignments: tuple[str, ...],
    **run_options: Any,
) -> None:
    """Copy trained networks to a shelf, and name those that are not there; `run_options` are fields of `RunConfig`."""
    changes = tuple(settings.parse(text) for text in assignments)
    config = RunConfig(suite, seed=parse_seeds(seeds) if seeds else seed, parameters=changes, **run_options)
    registry = discover(config.plugin_files)
    request = config.request(registry, choose_device("cpu"))
    kept: list[str] = []

    def print_kept(line: str) -> None:
        kept.append(line)
        click.echo(line)

    missing = keep_networks.keep(request, config.seeds, registry, shelf, overwrite, print_kept, by_word)
    for line in missing:
        click.echo(f"not kept: {line}", err=True)
    if not kept:
        raise OodbenchError(
            f"no network of these is in {request.out}: --out, --set and --precision are those of the training"
        )
