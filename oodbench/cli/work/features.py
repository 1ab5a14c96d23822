"""`oodbench features`: the feature pack of a suite and a network, written."""

from pathlib import Path
from shlex import quote
from typing import Any

import click

from oodbench.basics.files import require_writable
from oodbench.registry import discover
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
    **run_options: Any,
) -> None:
    """Write the feature pack; `run_options` are fields of `RunConfig`."""
    changes = tuple(settings.parse(text) for text in assignments)
    config = RunConfig(suite, trained_for or (), parameters=changes, say=_print_status, **run_options)
    registry = discover(config.plugin_files)
    require_writable(path.absolute().parent, "-o")  # before the work
    detector = registry[trained_for] if trained_for else None
    request = config.request(registry, choose_device(config.device))
    pack = feature_export.export(request, detector, train, path, registry, _print_status)
    for name, image_set in pack.sets.items():
        features_of_set = image_set.made.features
        width = features_of_set.shape[1] if features_of_set is not None else 0
        click.echo(f"{name}: {len(image_set):,} images, {image_set.made.logits.shape[1]} logits, {width} features")
    head = "with" if pack.head else "without"
    click.echo(
        f"\n{path} ({path.stat().st_size / 2**20:.1f} MiB, SHA-256 {pack.sha256[:16]}...), {head} the weights of the "
        f"last layer: `oodbench run --features {quote(str(path))} --detector all` scores it."
    )


def _print_status(line: str) -> None:
    click.echo(line, err=True)
