"""The code that a number rests on: a digest of the Python source behind a class or a module.

It covers the module that defines the class and whatever that imports, transitively and also inside functions, out of
its own folder or distribution, or from modules on Python's path that lie in no folder of installed packages, such as a
folder of scripts or a package installed with `pip install -e`; of oodbench itself, the built-in methods. The same goes
for every base class that is a plugin's or a method's. It goes by content and by names inside the folder: where the
folder lies does not matter.

It cannot see data files that a module reads, nor code that reaches it in another way than by an import. Libraries
(torch, timm, ...) are conditions, see `oodbench.results.conditions`. The harness is not in it either: its own version
numbers (`VERSION` of `oodbench.scoring` and of `oodbench.training`) say when it would give other numbers, and where its
modules lie does not count, so that they may move.

`oodbench.basics.sourcetext` says what of a file's text counts.
"""

import importlib
import importlib.util
import re
import sys
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import packages_distributions, requires
from pathlib import Path
from types import ModuleType

from oodbench.basics import plugins
from oodbench.basics.errors import OodbenchError
from oodbench.basics.files import digest
from oodbench.basics.sourcetext import HARNESS, METHODS, in_harness, read

INSTALLED = ("site-packages", "dist-packages")
"""Folders where the packages of many distributions lie side by side."""


def code_digest(*classes: type, root: type) -> str:
    """SHA-256 (hex) over the source behind `classes` and their bases below `root`, see this module.

    Raises:
        OodbenchError: the source of a class cannot be read.
    """
    bases = {base for kind in classes for base in kind.__mro__ if issubclass(base, root) and base is not root}
    files = {
        (label, read(content).normal)
        for base in bases
        for label, content in _closure(base.__module__, base.__qualname__)
    }
    return digest(*(part for file in sorted(files) for part in file))


def modules_digest(modules: Collection[str]) -> str:
    """SHA-256 (hex) over the source behind `modules`, by name, which are loaded and none of the harness's.

    Raises:
        OodbenchError: the source of a module cannot be read.
    """
    files = {(label, read(content).normal) for name in modules for label, content in _closure(name, name)}
    return digest(*(part for file in sorted(files) for part in file))


def source_digest(modules: Collection[str]) -> str | None:
    """SHA-256 (hex) over the source behind a built-in method, as `code_digest` has it of its class.

    Args:
        modules: names of those that define its class and the bases; they need not be loaded.

    Returns:
        None where one of them is of no built-in method.
    """
    if not all(module.startswith(f"{METHODS}.") for module in modules):
        return None
    waiting = [
        place for module in modules for place in _modules_on_way(_methods_room(), module.removeprefix(f"{METHODS}."))
    ]
    files = {(label, read(content).normal) for place in waiting for label, content in _follow_imports([place])}
    return digest(*(part for file in sorted(files) for part in file))


def remember(package: str) -> None:
    """Keep the source of the loaded modules of `package` as it is now: later edits are not what runs here."""
    inside = f"{package}."
    for name in [package, *(name for name in list(sys.modules) if name.startswith(inside))]:
        if name in sys.modules:
            _loaded_content(name, sys.modules[name])


@dataclass(frozen=True)
class _Room:
    """A set of modules that are hashed together.

    Attributes:
        label: in front of their names in a digest.
        prefix: what all their names begin with when they are imported; "" for a folder.
        folders: where they lie.
        tops: first parts of their names; None for whatever lies in the folders.
    """

    label: str
    prefix: str
    folders: tuple[str, ...]
    tops: frozenset[str] | None = None

    def inside(self, absolute: str) -> str | None:
        """The name in this room of what is imported as `absolute`, "" for the room itself; None if it is of another."""
        if self.prefix and (absolute == self.prefix or absolute.startswith(f"{self.prefix}.")):
            return absolute[len(self.prefix) + 1 :]
        top = absolute.partition(".")[0]
        known = plugins.lies_beside(top, self.folders) if self.tops is None else top in self.tops
        return absolute if known else None


@dataclass(frozen=True)
class _ModuleFile:
    """A module: its name in its room, its file, whether it is a package, and where its sub-modules lie."""

    name: str
    file: str | None
    is_package: bool


def _closure(defined_in: str, called: str) -> Iterator[tuple[str, bytes]]:
    """The label and content of each file behind something that a module defines."""
    module = sys.modules.get(defined_in)
    file = getattr(module, "__file__", None)
    if module is None or file is None:
        raise OodbenchError(
            f"the code of {called} cannot be read, and results could not say which code they are of: put it into a file"
        )
    if in_harness(defined_in):
        yield called, _loaded_content(defined_in, module)
        return
    home = _room_of(defined_in, module)
    name = defined_in.removeprefix(f"{home.prefix}.") if home.prefix else defined_in
    # Its own file is known; it need not be where its name would be looked for.
    own = home, _ModuleFile(name, file, hasattr(module, "__path__"))
    yield from _follow_imports([own, *_modules_on_way(home, name.rpartition(".")[0])])


def _follow_imports(waiting: list[tuple[_Room, _ModuleFile]]) -> Iterator[tuple[str, bytes]]:
    """The label and content of some modules, and of what these import."""
    seen = set[str]()
    while waiting:
        room, module = waiting.pop(0)
        if module.file is None or module.file in seen:
            continue
        seen.add(module.file)
        content = _content(room, module)
        yield f"{room.label}:{module.name}", content
        for into in dict.fromkeys([room, _methods_room(), *_rooms_of_loose_modules(room, content)]):
            waiting += [
                place for name in _names_asked_for(room, module, content, into) for place in _modules_on_way(into, name)
            ]


def _modules_on_way(room: _Room, name: str) -> list[tuple[_Room, _ModuleFile]]:
    return [(room, module) for module in _find_modules(room, name)] if name else []


def _room_of(name: str, module: ModuleType) -> _Room:
    top = name.partition(".")[0]
    if name == METHODS or name.startswith(f"{METHODS}."):
        return _methods_room()
    if top.startswith(plugins.PREFIX):
        return _Room("", top, tuple(sys.modules[top].__path__))
    outer = sys.modules.get(top, module)
    folders = [str(Path(path).parent) for path in getattr(outer, "__path__", [])] or [
        str(Path(str(outer.__file__)).parent)
    ]
    if Path(folders[0]).name in INSTALLED:
        return _Room("", "", tuple(folders), _tops_of_distribution(top))
    return _Room("", "", tuple(folders))


@cache
def _methods_room() -> _Room:
    return _Room(METHODS, METHODS, tuple(importlib.import_module(METHODS).__path__), frozenset())


@cache
def _tops_of_distribution(top: str) -> frozenset[str]:
    known = packages_distributions()
    owners_of_top = set(known.get(top, []))
    return frozenset([top, *(name for name, owners in known.items() if owners_of_top & set(owners))])


def _rooms_of_loose_modules(room: _Room, content: bytes) -> Iterator[_Room]:
    """A room for each module that some source of `room` imports and that lies in no folder of installed packages.

    Whether a distribution calls the module its own does not matter: one that is installed to be edited does, and it is
    what its owner edits.
    """
    for top in dict.fromkeys(
        imported.name.partition(".")[0] for imported in read(content).imports if not imported.level
    ):
        if room.inside(top) is not None or top == HARNESS or top in sys.stdlib_module_names | _libraries():
            continue
        spec = getattr(sys.modules.get(top), "__spec__", None) or _find_top(top)
        own_file = spec.origin if spec is not None and spec.has_location else None
        files = [*(getattr(spec, "submodule_search_locations", None) or []), own_file]
        folders = tuple(dict.fromkeys(str(Path(file).parent) for file in files[:-1] or files if file))
        if folders and not _is_installed(folders[0]):
            yield _Room("", "", folders, frozenset([top]))


def _is_installed(folder: str) -> bool:
    return any(part in INSTALLED for part in Path(folder).parts)


@cache
def _libraries() -> frozenset[str]:
    """First parts of the names of what oodbench stands on, such as torch: conditions, wherever they are installed."""
    required = {re.split(r"[^\w.-]", line)[0].lower().replace("_", "-") for line in requires(HARNESS) or []}
    return frozenset(
        top
        for top, owners in packages_distributions().items()
        if required & {owner.lower().replace("_", "-") for owner in owners}
    )


def _find_top(top: str) -> ModuleSpec | None:
    """Where a module would be loaded from, also by the finders of packages that are installed to be edited."""
    try:
        return importlib.util.find_spec(top)
    except (ImportError, ValueError):  # a finder of somebody's that fails
        return None


def _names_asked_for(room: _Room, module: _ModuleFile, content: bytes, into: _Room) -> Iterator[str]:
    """Names in the room `into` of what a module of `room` may import; not all of them need be modules."""
    source = read(content)
    parts = module.name.split(".")
    package = parts if module.is_package else parts[:-1]
    for imported in source.imports:
        if imported.level and into is room:
            outer = package[: len(package) - (imported.level - 1)]
            names = [".".join([*outer, imported.name] if imported.name else outer)]
        elif imported.level:
            continue
        else:
            inside = into.inside(imported.name)
            names = [] if inside is None else [inside]
        for name in names:
            yield from [name] * bool(name)
            yield from (f"{name}.{member}" if name else member for member in imported.members)
    if source.computed and into is room and module.file:
        folder = Path(module.file).parent
        yield from (".".join([*package, file.stem]) for file in sorted(folder.glob("*.py")) if file.stem != "__init__")


def _find_modules(room: _Room, name: str) -> Iterator[_ModuleFile]:
    """The modules that are loaded for `name`: each package on the way, and what the last parts are, if modules."""
    folders: Sequence[str] | None = room.folders
    parts = name.split(".")
    for count in range(1, len(parts) + 1):
        if not folders:
            return
        spec = PathFinder.find_spec(parts[count - 1], list(folders))
        if spec is None:
            return
        folders = None if spec.submodule_search_locations is None else list(spec.submodule_search_locations)
        yield _ModuleFile(".".join(parts[:count]), spec.origin, folders is not None)


def _content(room: _Room, file: _ModuleFile) -> bytes:
    """The content of what runs under this name, if it is loaded; else of what would be loaded."""
    name = f"{room.prefix}.{file.name}" if room.prefix else file.name
    module = sys.modules.get(name)
    if module is not None and getattr(module, "__file__", None) == file.file:
        return _loaded_content(name, module)
    return _bytes(str(file.file))


_LOADED: dict[str, tuple[ModuleSpec | None, bytes]] = {}
"""Content of loaded modules by name, as first seen; another spec is that of a module that was loaded anew."""


def _loaded_content(name: str, module: ModuleType) -> bytes:
    if (content := plugins.content(module)) is not None:
        return content
    spec, file = getattr(module, "__spec__", None), getattr(module, "__file__", None)
    if file is None:
        return b""
    known = _LOADED.get(name)
    if known is None or known[0] is not spec:
        known = _LOADED[name] = (spec, _bytes(file))
    return known[1]


def _bytes(file: str) -> bytes:
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise OodbenchError(
            f"cannot read {file} ({error.strerror or error}), and results could not say which code they are of"
        ) from error
