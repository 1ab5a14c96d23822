"""`oodbench features`: a feature pack of a suite and a network."""

from pathlib import Path
from typing import Any

import click

from oodbench.registry import discover
from oodbench.results.store import require_writable
from oodbench.running import feature_export
from oodbench.running.config import RunConfig
from oodbench.running.request import choose_device
from oodbench.suitefiles import settings


def features(
    suite: str,
    path: Path,
    trained_for: str | None,
    train: bool,
    assignments: tuple[str, ...],
    **described: Any,
) -> None:
    """See `oodbench.cli.features.features`."""
    changes = tuple(settings.parse(text) for text in assignments)
    config = RunConfig(suite, trained_for or (), parameters=changes, say=_say, **described)
    registry = discover(config.plugin_files)
    require_writable(path.absolute().parent)  # before the work
    chosen = registry[trained_for] if trained_for else None
    request = config.request(registry, choose_device(config.device))
    pack = feature_export.export(request, chosen, train, path, registry, _say)
    for name, one in pack.sets.items():
        width = one.made.features.shape[1] if one.made.features is not None else 0
        click.echo(f"{name}: {len(one):,} images, {one.made.logits.shape[1]} logits, {width} features")
    head = "with" if pack.head else "without"
    click.echo(
        f"\n{path} ({path.stat().st_size / 2**20:.1f} MiB, SHA-256 {pack.sha256[:16]}...), {head} the weights of the "
        f"last layer: `oodbench run --features {path} --detector all` scores it."
    )


def _say(line: str) -> None:
    click.echo(line, err=True)
