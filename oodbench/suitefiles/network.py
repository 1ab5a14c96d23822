"""The [network] of a suite: a name, or a file and what in it builds the network; and how images go into it."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from oodbench.basics.strict_dataclasses import build
from oodbench.networks.builder import NONE
from oodbench.networks.named import place
from oodbench.suite import NetworkSpec

INSIDE = "inside"
"""Instead of a mean: the network takes images in [0, 1] and normalises them itself, or needs no normalisation."""


def network(table: Mapping[str, Any], at: Sequence[str] = ("network",)) -> NetworkSpec:
    """The network of a table as TOML gives it.

    Args:
        table: entries of `NetworkSpec`; `mean` may be "inside" instead of numbers.
        at: the keys that lead to `table`, for messages.

    Raises:
        DeclarationError: an entry is wrong.
    """
    if table.get("mean") == INSIDE and not table.get("std"):
        table = {**table, "mean": NONE[0], "std": NONE[1]}
    return build(NetworkSpec, table, at)


def lying_in(folder: Path, table: Mapping[str, Any]) -> dict[str, Any]:
    """The table with the whole path of the file that its name may have, which stands there as `folder` sees it."""
    name = table.get("name")
    file = place(name) if isinstance(name, str) else None
    return {**table, "name": named_from(folder, str(name))} if file else dict(table)


def named_from(folder: Path, name: str) -> str:
    """The name of a network with the whole path of its file, if it has one, as `folder` sees it."""
    file = place(name)
    return f"{(folder / file).resolve()}:{name.rpartition(':')[2]}" if file else name


def changed(spec: NetworkSpec, changes: Mapping[str, Any], at: Sequence[str] = ("network",)) -> NetworkSpec:
    """The network as a run changes it: another one brings nothing of the first along.

    Raises:
        DeclarationError: an entry is wrong.
    """
    if not changes:
        return spec
    changes = lying_in(Path.cwd(), changes)
    kept = (
        {}
        if changes.get("name", spec.name) != spec.name
        else {field.name: value for field in fields(spec) if (value := getattr(spec, field.name))}
    )
    return network({**kept, **changes}, at)
