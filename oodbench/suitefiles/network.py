"""The [network] table of a suite: the name of a network, or a file and its builder; and how images go into it."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from oodbench.basics.strict_dataclasses import DeclarationError, build
from oodbench.networks.builder import NONE
from oodbench.networks.named import AT, placed
from oodbench.networks.wrapping import INSIDE
from oodbench.suite import NetworkSpec


def network(table: Mapping[str, Any], at: Sequence[str] = ("network",)) -> NetworkSpec:
    """Build the network of a table that `resolved_table` gave.

    Raises:
        DeclarationError: an entry is wrong.
    """
    if table.get("mean") == INSIDE:
        raise DeclarationError([*at, "mean"], f"{INSIDE!r} is all of a normalisation: leave std out")
    return build(NetworkSpec, table, at)


def resolved_table(folder: Path, table: Mapping[str, Any]) -> dict[str, Any]:
    """Resolve a table: "inside" becomes numbers, and the file in its name gets its whole path.

    Args:
        folder: that sees the file.
        table: entries of `NetworkSpec`, as TOML gives them; `mean` may be "inside" instead of numbers.
    """
    name = table.get("name")
    entries = {**table, "name": placed(name, folder)} if isinstance(name, str) else dict(table)
    return entries | {"mean": list(NONE[0]), "std": list(NONE[1])} if _says_inside(table) else entries


def without_replaced_network(base: Mapping[str, Any], upper: Mapping[str, Any]) -> dict[str, Any]:
    """Return a suite's table without its network settings if `upper` puts a network of somebody's own in its place."""
    tables = (base.get("network"), upper.get("network"))
    before, after = (table.get("name") if isinstance(table, dict) else None for table in tables)
    is_replaced = isinstance(after, str) and AT in after and after != before
    return {**base, "network": {}} if is_replaced else dict(base)


def _says_inside(table: Mapping[str, Any]) -> bool:
    return table.get("mean") == INSIDE and "std" not in table


def changed_network(spec: NetworkSpec, changes: Mapping[str, Any], at: Sequence[str] = ("network",)) -> NetworkSpec:
    """Change a network as a run asks for it: another one takes nothing over from the first.

    Raises:
        DeclarationError: an entry is wrong.
    """
    if not changes:
        return spec
    changes = resolved_table(Path.cwd(), changes)
    taken_over = (
        {}
        if changes.get("name", spec.name) != spec.name
        else {field.name: value for field in fields(spec) if (value := getattr(spec, field.name))}
    )
    return network({**taken_over, **changes}, at)
