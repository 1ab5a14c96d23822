"""Networks by name: those that are registered, those in a file or package of one's own, and those of libraries.

- A name of the entry-point group `oodbench.networks`, under which the networks of oodbench stand, too. An entry point
  names a builder (`oodbench.networks.builder.Builder`, a function or a class) and is called as the network is, or a
  module whose `NETWORKS` has several by name.
- `FILE.py:BUILDER` or `package.module:BUILDER`.
- `LIBRARY:NAME` for what `LIBRARIES` has, and any name of timm's.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial, reduce
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Any

from oodbench.basics import plugins
from oodbench.basics.errors import OodbenchError, unknown
from oodbench.basics.installed import installed_entry_points
from oodbench.basics.sourcecode import modules_digest, remember
from oodbench.basics.sourcetext import in_harness
from oodbench.networks.builder import Builder, error_line

GROUP = "oodbench.networks"

BUILTIN = EntryPoint("builtin", "oodbench.networks.builtin", GROUP)
"""As setup.cfg has it: an editable install from before it did would know no network."""

LIBRARIES: Mapping[str, str] = {
    "headless": "oodbench.networks.headless",
    "torchvision": "oodbench.networks.of_torchvision",
    "transformers": "oodbench.networks.of_transformers",
}
"""The words before the colon in names of a library's networks, and the modules here whose `find` gives a `Builder` for
the name behind it. Where such a name is a place, the module has `identity`, `called` and `placed`, too: what its files
say as a digest, the name without the folder, and the name with the whole path as a folder sees it."""

IN_MEMORY = "memory"
"""The word before the colon where somebody gave a module instead of a name."""

AT = ":"
"""Stands between the place of a builder and its name there."""


@dataclass(frozen=True)
class NamedNetwork:
    """A network that has a name.

    Attributes:
        builder: of it.
        module: that defines the builder; "" where that is a library's.
        files: digest of the files that say what a library's network is; "" where its name does.
    """

    builder: Builder
    module: str = ""
    files: str = ""

    @property
    def code(self) -> str:
        """Digest of the code behind the builder.

        "" for the networks of oodbench, whose version numbers of training and scoring say when they would give other
        numbers, and for those of libraries, whose versions are conditions.
        """
        return self.files if not self.module or in_harness(self.module) else modules_digest([self.module])


def names() -> list[str]:
    """Every network that is registered, those of oodbench first. Those of timm are known too, and are many."""
    return list(_entry_points_by_name())


def find(name: str) -> NamedNetwork:
    """Find the network `name`.

    Raises:
        OodbenchError: there is none, with the nearest name; or its code cannot be imported.
    """
    if AT in name:
        return _find_elsewhere(name)
    registered = _entry_points_by_name()
    if name in registered:
        point = registered[name]
        return _builder_in(
            _load_module(point), name, point.attr or f"NETWORKS.{name}", f"the installed network plugin {point.name}"
        )
    of_timm = timm()
    if of_timm.has_network(name):
        mean, std = of_timm.normalisation(name)
        made, prepared = partial(of_timm.TimmNetwork, name), of_timm.preprocessing(name)
        return NamedNetwork(Builder(made, "", mean, std, preprocessing=prepared))
    near = get_close_matches(name, of_timm.names(), n=3)
    more = "and every network of timm, by its name there, and FILE.py:BUILDER for your own"
    raise unknown("network", name, {*registered, *near}, more)


def require_registered(name: str) -> None:
    """Raise OodbenchError, with the nearest name, unless `names` has it."""
    if name not in _entry_points_by_name():
        raise unknown("network", name, _entry_points_by_name())


def place(name: str) -> Path | None:
    """The file that a name has before its colon; None where there is none."""
    before, colon, _ = name.rpartition(AT)
    return Path(before) if colon and before.endswith(".py") else None


def is_place(name: str) -> bool:
    """Whether a name says a file or folder, or code to import: from somebody else it must not be followed."""
    library, colon, _ = name.partition(AT)
    return bool(colon) and (library not in LIBRARIES or _library_of_places(name) is not None)


def called(name: str) -> str:
    """A name without the folder of its file: what a network is called wherever it lies."""
    file = place(name)
    if (library := _library_of_places(name)) is not None:
        before, _, behind = name.partition(AT)
        return f"{before}{AT}{library.called(behind)}"
    return f"{file.name}{AT}{name.rpartition(AT)[2]}" if file else name


def placed(name: str, folder: Path) -> str:
    """A name with the whole path of the file or folder that it may have, which stands there as `folder` sees it."""
    file = place(name)
    if (library := _library_of_places(name)) is not None:
        before, _, behind = name.partition(AT)
        return f"{before}{AT}{library.placed(behind, folder)}"
    return f"{(folder / file).resolve()}{AT}{name.rpartition(AT)[2]}" if file else name


def _library_of_places(name: str) -> Any:
    """The module of a library whose names are places; None for other names."""
    library = name.partition(AT)[0] if AT in name else ""
    module = importlib.import_module(LIBRARIES[library]) if library in LIBRARIES else None
    return module if hasattr(module, "placed") else None


def timm() -> ModuleType:
    """Import what knows timm's networks: it takes seconds, and suites of small images do without it."""
    return importlib.import_module("oodbench.networks.of_timm")


def _entry_points_by_name() -> dict[str, EntryPoint]:
    """The entry point behind each name."""
    points_by_name: dict[str, EntryPoint] = {}
    points = [BUILTIN, *(point for point in installed_entry_points(GROUP) if point.value != BUILTIN.value)]
    for point in points:
        for name in [point.name] if point.attr else _names_behind(point):
            other = points_by_name.setdefault(name, point)
            if other.value != point.value:
                raise OodbenchError(
                    f"two networks are called {name!r}: those of {other.value} and {point.value}; uninstall one"
                )
    return points_by_name


def _names_behind(point: EntryPoint) -> list[str]:
    networks = getattr(_load_module(point), "NETWORKS", None)
    if not isinstance(networks, Mapping) or not all(isinstance(name, str) for name in networks):
        raise OodbenchError(
            f"the installed network plugin {point.name!r} ({point.value}) has no NETWORKS, a dict of builders by name: "
            "mend or uninstall it"
        )
    return list(networks)


def _load_module(point: EntryPoint) -> ModuleType:
    module = _import(point.module, f"the installed network plugin {point.name!r} ({point.value}) does not load", "")
    remember(point.module)
    return module


def _import(module: str, what: str, advice: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except Exception as error:
        raise OodbenchError(f"{what}: {error_line(error)}{advice or '; mend or uninstall it'}") from error


def _find_elsewhere(name: str) -> NamedNetwork:
    """Find a network in a file, a package or a library."""
    before, _, attribute = name.rpartition(AT)
    if before == IN_MEMORY:
        raise OodbenchError(
            f"network {name!r} was a module in the memory of a program: give that, or name what builds it as "
            "FILE.py:BUILDER"
        )
    if name.partition(AT)[0] in LIBRARIES:
        library, _, rest = name.partition(AT)
        module = importlib.import_module(LIBRARIES[library])
        builder = module.find(rest)
        return NamedNetwork(builder, files=module.identity(rest) if hasattr(module, "identity") else "")
    file = place(name)
    module = _load_file(file) if file else _import_package(before, name)
    return _builder_in(module, name, attribute, str(file or before))


def _load_file(file: Path) -> ModuleType:
    if not file.is_file():
        raise OodbenchError(f"there is no file {file}: name a network of your own as FILE.py:BUILDER")
    try:
        return plugins.load(file)
    except Exception as error:
        raise OodbenchError(f"{file} does not load: {error_line(error)}") from error


def _import_package(module: str, name: str) -> ModuleType:
    if not all(part.isidentifier() for part in module.split(".")):
        raise OodbenchError(
            f"network {name!r} is neither in a file nor in a package: write FILE.py:BUILDER or package.module:BUILDER"
        )
    if module.partition(".")[0] in sys.stdlib_module_names:
        raise OodbenchError(f"network {name!r} cannot be built: nothing in Python's own {module} builds one")
    imported = _import(module, f"network {name!r} does not load", ": install its package, or name its file")
    remember(module.partition(".")[0])
    return imported


def _builder_in(module: ModuleType, name: str, attribute: str, where: str) -> NamedNetwork:
    """Take what a module has under a name as a builder."""
    try:
        made = reduce(_member, attribute.split("."), module)
    except (AttributeError, KeyError) as error:
        raise unknown(f"builder in {where}", attribute, _possible_builders(module)) from error
    return NamedNetwork(Builder.of(made, name), module.__name__)


def _member(owner: Any, name: str) -> Any:
    return owner[name] if isinstance(owner, Mapping) else getattr(owner, name)


def _possible_builders(module: ModuleType) -> list[str]:
    """Names of what a module defines that may be a builder."""
    return [name for name, value in vars(module).items() if not name.startswith("_") and _may_be_builder(value, module)]


def _may_be_builder(value: object, module: ModuleType) -> bool:
    own = callable(value) and getattr(value, "__module__", "") == module.__name__
    return own or isinstance(value, Builder)
