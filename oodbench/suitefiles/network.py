"""The [network] of a suite: a name, or a file and what in it builds the network; and how images go into it."""

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
    """The network of a table that `meant` has been through.

    Raises:
        DeclarationError: an entry is wrong.
    """
    if table.get("mean") == INSIDE:
        raise DeclarationError([*at, "mean"], f"{INSIDE!r} is all of a normalisation: leave std out")
    return build(NetworkSpec, table, at)


def meant(folder: Path, table: Mapping[str, Any]) -> dict[str, Any]:
    """What a table says: "inside" in numbers, and the whole path of the file that its name may have.

    Args:
        folder: that sees the file.
        table: entries of `NetworkSpec`, as TOML gives them; `mean` may be "inside" instead of numbers.
    """
    name = table.get("name")
    found = {**table, "name": placed(name, folder)} if isinstance(name, str) else dict(table)
    return found | {"mean": list(NONE[0]), "std": list(NONE[1])} if _inside(table) else found


def over(base: Mapping[str, Any], upper: Mapping[str, Any]) -> dict[str, Any]:
    """A suite's whole table without what it says of a network in whose place `upper` puts code of somebody's own."""
    one, other = (table.get("network") for table in (base, upper))
    names = [table.get("name") if isinstance(table, dict) else None for table in (one, other)]
    another = isinstance(names[1], str) and AT in names[1] and names[1] != names[0]
    return {**base, "network": {}} if another else dict(base)


def _inside(table: Mapping[str, Any]) -> bool:
    return table.get("mean") == INSIDE and "std" not in table


def changed(spec: NetworkSpec, changes: Mapping[str, Any], at: Sequence[str] = ("network",)) -> NetworkSpec:
    """The network as a run changes it: another one brings nothing of the first along.

    Raises:
        DeclarationError: an entry is wrong.
    """
    if not changes:
        return spec
    changes = meant(Path.cwd(), changes)
    kept = (
        {}
        if changes.get("name", spec.name) != spec.name
        else {field.name: value for field in fields(spec) if (value := getattr(spec, field.name))}
    )
    return network({**kept, **changes}, at)
