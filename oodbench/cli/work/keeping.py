"""`oodbench keep`: trained networks, copied to where everybody finds them."""

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
    **described: Any,
) -> None:
    """See `oodbench.cli.keeping.keep`."""
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
