"""Detectors by name: the entry-point group `oodbench.detectors`, built-ins included, and plugin files."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from oodbench.basics import plugins
from oodbench.basics.declarations import Declared, declared
from oodbench.basics.errors import OodbenchError, unknown
from oodbench.basics.installed import offered
from oodbench.basics.sourcecode import code_digest, remember, source_digest
from oodbench.basics.sourcetext import METHODS

if TYPE_CHECKING:
    from oodbench.detector import Detector

ENTRY_POINT_GROUP = "oodbench.detectors"


class Registry(Mapping[str, "type[Detector]"]):
    """Names and the detector classes behind them, each of which is imported when it is first asked for.

    Args:
        detectors: classes with different names, and what source declares of some.

    Raises:
        OodbenchError: two different classes claim one name.
    """

    def __init__(self, detectors: Sequence[type[Detector] | Installed]) -> None:
        self._by_name: dict[str, type[Detector] | Installed] = {}
        for detector in detectors:
            other = self._by_name.setdefault(detector.name, detector)
            if _identity(other) != _identity(detector):
                raise OodbenchError(
                    f"two detectors are called {detector.name!r}: {_origin(other)} and {_origin(detector)}; rename one"
                )

    def names(self) -> list[str]:
        """Every registered name, sorted."""
        return sorted(self._by_name)

    def __getitem__(self, name: str) -> type[Detector]:
        """The detector called `name`.

        Raises:
            OodbenchError: there is none, with the nearest name; or its module cannot be imported.
        """
        if name not in self._by_name:
            raise unknown("detector", name, self.names())
        found = self._by_name[name]
        return found.load() if isinstance(found, Installed) else found

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __len__(self) -> int:
        return len(self._by_name)

    def built_in(self) -> list[str]:
        """Names of the detectors that come with oodbench, as far as source tells them; sorted."""
        installed = (found for found in self._by_name.values() if isinstance(found, Installed))
        return sorted(found.name for found in installed if found.declared.module.startswith(f"{METHODS}."))

    def code(self, name: str) -> str:
        """Digest of the code behind the detector `name`, see `code_of`."""
        found = self._by_name[name]
        read = source_digest(found.declared.modules) if isinstance(found, Installed) else None
        return read or _code(self[name])


class Installed:
    """A detector of an installed package, as its source declares it.

    Args:
        declared: what that is.
        point: the entry point by which it is found.
    """

    def __init__(self, declared: Declared, point: EntryPoint) -> None:
        self.declared, self.name, self._point = declared, declared.name, point

    def load(self) -> type[Detector]:
        """The class.

        Raises:
            OodbenchError: its module cannot be imported, or it does not define what every detector must.
        """
        with _loading(self._point):
            module = importlib.import_module(self.declared.module)
        remember(self._point.module)
        detector: type[Detector] = getattr(module, self.declared.made)
        _require_whole(detector)
        return detector


def in_process(name: str) -> type[Detector]:
    """The detector called `name` that is installed or, with the plugin files that were loaded by now, defined here.

    Raises:
        OodbenchError: there is none.
    """
    from oodbench.detector import Detector

    registry = discover()
    if name in registry:
        return registry[name]
    waiting, defined = [Detector], dict[str, type[Detector]]()
    while waiting:
        waiting += (below := waiting.pop().__subclasses__())
        defined |= {one.name: one for one in below if isinstance(vars(one).get("name"), str)}
    if name not in defined:
        raise unknown("detector", name, registry.names())
    return defined[name]


def code_of(detectors: Mapping[str, type[Detector]], name: str) -> str:
    """Digest of the code behind the detector called `name`; that of a built-in one is taken without importing it."""
    return detectors.code(name) if isinstance(detectors, Registry) else _code(detectors[name])


def _code(detector: type[Detector]) -> str:
    from oodbench.detector import Detector

    return code_digest(detector, root=Detector)


def discover(files: Sequence[Path] = ()) -> Registry:
    """Everything installed under the entry-point group, and the detectors in the plugin `files`.

    An entry point names a detector class, a module that defines some, or a package of such modules. Installed ones are
    read from their source as far as that tells, and imported when they are asked for; plugin files are imported here.

    Raises:
        OodbenchError: something cannot be imported, defines no detector, or claims a name that is taken.
    """
    found: list[type[Detector] | Installed] = []
    for point in offered(ENTRY_POINT_GROUP):
        found += _declared(point) or _imported(point)
    for file in files:
        found += _in_file(file)
    return Registry(found)


def _declared(point: EntryPoint) -> list[Installed]:
    """What the source behind an entry point declares; none where it does not tell."""
    told = declared(point.module, "oodbench.detector.Detector", "name") or []
    return [Installed(one, point) for one in told if point.attr in (None, "", one.made)]


def _imported(point: EntryPoint) -> list[type[Detector]]:
    with _loading(point):
        target = point.load()
    found = _in_package(target) if inspect.ismodule(target) else [_as_detector(target, point.value)]
    remember(point.module)
    return found


@contextmanager
def _loading(point: EntryPoint) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise OodbenchError(
            f"the installed detector plugin {point.name!r} ({point.value}) does not load: {_told(error)}; "
            "mend or uninstall it"
        ) from error


def _identity(detector: type[Detector] | Installed) -> tuple[str, str]:
    """Which class it is: its module and its name there."""
    if isinstance(detector, Installed):
        return detector.declared.module, detector.declared.made
    return detector.__module__, detector.__qualname__


def _as_detector(target: object, value: str) -> type[Detector]:
    from oodbench.detector import Detector

    if inspect.isclass(target) and issubclass(target, Detector):
        return target
    raise OodbenchError(f"the installed detector plugin {value} is neither a Detector class nor a module; uninstall it")


def _in_package(module: ModuleType) -> list[type[Detector]]:
    found = list(_in_module(module))
    for info in pkgutil.iter_modules(getattr(module, "__path__", [])):
        found += _in_module(importlib.import_module(f"{module.__name__}.{info.name}"))
    return found


def _in_module(module: ModuleType) -> Iterator[type[Detector]]:
    from oodbench.detector import Detector

    for value in vars(module).values():
        if (
            inspect.isclass(value)
            and issubclass(value, Detector)
            and value.__module__ == module.__name__
            and "name" in vars(value)
        ):
            _require_whole(value)
            yield value


def _require_whole(detector: type[Detector]) -> None:
    if lacking := sorted(getattr(detector, "__abstractmethods__", ())):
        raise OodbenchError(
            f"detector {detector.name!r} ({_origin(detector)}) does not define {', '.join(lacking)}: every detector "
            "says there what its score is, or raises TypeError there if it overrides score() as well"
        )


def _in_file(file: Path) -> list[type[Detector]]:
    if not file.is_file():
        raise OodbenchError(f"there is no plugin file {file}: give --plugin the path of a Python file")
    if file.suffix != ".py":
        raise OodbenchError(f"{file} is not a Python file: a plugin ends in .py")
    try:
        module = plugins.load(file)
    except Exception as error:
        raise OodbenchError(f"the plugin {file} does not load: {_told(error)}") from error
    found = list(_in_module(module))
    if not found:
        raise OodbenchError(
            f"the plugin {file} defines no detector: subclass oodbench.detector.Detector and give it a name"
        )
    return found


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]


def _origin(detector: type[Detector] | Installed) -> str:
    if isinstance(detector, Installed):
        return f"{detector.declared.made} in {detector.declared.file}"
    return f"{detector.__qualname__} in {inspect.getfile(detector)}"
