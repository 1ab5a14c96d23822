"""Plugin files: Python files from anywhere, loaded with the files beside them.

A plugin may import what lies in its folder, by `import helper` as a script would and by `from .helper import x` as a
package would, now or later inside a function. Each folder is a package of its own in here, under a name that nobody
else uses: two plugins whose folders both hold a `helper.py` get their own, and none is found by the rest of the
process. A file that changed since it was loaded is loaded again, with all that came from its folder: what is hashed
(`oodbench.basics.sourcecode`) is what runs.
"""

import builtins
import importlib
import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from oodbench.basics.files import digest

PREFIX = "oodbench_plugin_"
"""The prefix of the names of packages that stand for folders of plugins."""


def load(file: Path) -> ModuleType:
    """Load the module in `file`, which must be there; the one of before where nothing that it loaded has changed.

    Whatever the file raises is the caller's to explain.
    """
    place = _Place.of(file)
    if any(_has_changed(module) for module in _members(place.package)):
        for name in [place.package, *(module.__name__ for module in _members(place.package))]:
            sys.modules.pop(name, None)
    _admit(place)
    importlib.invalidate_caches()  # a file may be younger than what the import system remembers of its folder
    before = {member.__name__ for member in _members(place.package)}
    try:
        return _module(place)
    except BaseException:
        # Half a plugin must not be found next time.
        for name in {member.__name__ for member in _members(place.package)} - before:
            sys.modules.pop(name, None)
        raise


def lies_beside(top: str, folders: Sequence[str]) -> bool:
    """Whether `import top` in a plugin of `folders` means what lies there: as in a script, it does if there is any.

    Python's own modules and oodbench are never shadowed, and a folder without an `__init__.py` is taken for a package
    only where nothing installed has its name.
    """
    if top in sys.stdlib_module_names or top == "oodbench":
        return False
    spec = PathFinder.find_spec(top, list(folders))
    if spec is None or spec.origin is not None:
        return spec is not None
    installed = PathFinder.find_spec(top)
    return installed is None or (installed.origin is None and bool(_locations(spec) & _locations(installed)))


def content(module: ModuleType) -> bytes | None:
    """The bytes that a plugin's module was made of; None for other modules."""
    return getattr(getattr(module, "__loader__", None), "content", None)


def file_of(made: type) -> str:
    """The plugin file that a class is defined in, as a path; "" for other classes."""
    module = sys.modules.get(made.__module__)
    return str(getattr(module, "__file__", "")) if made.__module__.startswith(PREFIX) else ""


@dataclass(frozen=True)
class _Place:
    """The place of a plugin among files and modules.

    Attributes:
        file: with links followed, as Python does for scripts.
        folders: in which its neighbours are found. A file in a package belongs to that, so they are around the
            outermost package.
        parents: names of the packages around the file, the outermost first.
    """

    file: Path
    folders: tuple[str, ...]
    parents: tuple[str, ...]

    @classmethod
    def of(cls, file: Path) -> "_Place":
        """The place of `file`."""
        real, link = file.resolve(), file.absolute().parent
        folder, parents = real.parent, list[str]()
        while (folder / "__init__.py").is_file() and folder.name.isidentifier() and folder.parent != folder:
            folder, parents = folder.parent, [folder.name, *parents]
        folders = [folder] if link.resolve() == real.parent else [folder, link]
        return cls(real, tuple(map(str, folders)), tuple(parents))

    @property
    def package(self) -> str:
        """The package that stands for the folders."""
        return f"{PREFIX}{digest(*self.folders)[:12]}"

    @property
    def name(self) -> str:
        """The module's whole name; a dot in the file's is none between modules."""
        stem = self.file.stem
        own = f"{stem.replace('.', '_')}_{digest(stem)[:6]}" if "." in stem else stem
        return ".".join([self.package, *self.parents, *([] if self.parents and own == "__init__" else [own])])


def _module(place: _Place) -> ModuleType:
    around = ".".join([place.package, *place.parents])
    importlib.import_module(around)
    if place.name not in sys.modules:
        # By its file and not by its name, which a folder beside it may have, too.
        loader = _Loader(place.name, str(place.file))
        spec = importlib.util.spec_from_file_location(place.name, place.file, loader=loader)
        assert spec is not None  # a loader was given
        module = importlib.util.module_from_spec(spec)
        sys.modules[place.name] = module  # dataclasses look their module up there while it is being imported
        loader.exec_module(module)
        setattr(sys.modules[around], place.name.rpartition(".")[2], module)
    return sys.modules[place.name]


def _admit(place: _Place) -> None:
    if place.package in sys.modules:
        return
    module = ModuleType(place.package)
    module.__path__ = list(place.folders)
    module.__spec__ = ModuleSpec(place.package, None, is_package=True)
    sys.modules[place.package] = module
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


def _locations(spec: ModuleSpec) -> set[Path]:
    return {Path(location).resolve() for location in spec.submodule_search_locations or ()}


def _members(package: str) -> list[ModuleType]:
    return [module for name, module in list(sys.modules.items()) if name.startswith(f"{package}.")]


def _has_changed(module: ModuleType) -> bool:
    loaded, file = content(module), getattr(module, "__file__", None)
    if loaded is None or file is None:
        return False
    try:
        return Path(file).read_bytes() != loaded
    except OSError:
        return True


class _Finder(MetaPathFinder):
    """Finds the modules of plugins' folders, as Python does, and has them loaded by `_Loader`."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The module's spec; None for modules that are no plugin's."""
        if not fullname.startswith(PREFIX) or path is None:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and type(spec.loader) is SourceFileLoader:
            spec.loader = _Loader(spec.loader.name, str(spec.loader.path))
            spec.cached = None
        return spec


class _Loader(SourceFileLoader):
    """Loads from the source, never from a cache, and lets `import helper` find the file in the plugin's folder."""

    content: bytes | None = None

    def get_code(self, fullname: str) -> CodeType:
        """Compiled from what `content` keeps."""
        self.content = Path(self.path).read_bytes()
        return self.source_to_code(self.content, str(self.path))

    def exec_module(self, module: ModuleType) -> None:
        """Run the module with an `import` statement of its own."""
        package = module.__name__.partition(".")[0]
        folders = list(sys.modules[package].__path__)
        module.__dict__["__builtins__"] = {**vars(builtins), "__import__": _import_in(package, folders)}
        super().exec_module(module)


def _import_in(package: str, folders: Sequence[str]) -> Callable[..., ModuleType]:
    """Return what `import` calls in the modules of `package`."""

    def import_module(
        name: str,
        variables: Mapping[str, Any] | None = None,
        own: Mapping[str, Any] | None = None,
        names: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        top = name.partition(".")[0]
        if level or not lies_beside(top, folders):
            return builtins.__import__(name, variables, own, names or (), level)
        if names:
            return builtins.__import__(f"{package}.{name}", variables, own, names, 0)
        importlib.import_module(f"{package}.{name}")
        return sys.modules[f"{package}.{top}"]

    return import_module
