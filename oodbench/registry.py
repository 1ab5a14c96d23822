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
from oodbench.basics.declarations import ClassDeclaration, declared_classes
from oodbench.basics.errors import OodbenchError, unknown
from oodbench.basics.installed import installed_entry_points
from oodbench.basics.sourcecode import code_digest, remember, source_digest
from oodbench.basics.sourcetext import METHODS

if TYPE_CHECKING:
    from oodbench.detector import Detector

ENTRY_POINT_GROUP = "oodbench.detectors"


class Registry(Mapping[str, "type[Detector]"]):
    """Detector classes by name, each of which is imported when it is first asked for.

    Args:
        detectors: classes with different names, or declarations in source of some.

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
        registered = self._by_name[name]
        return registered.load() if isinstance(registered, Installed) else registered

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __len__(self) -> int:
        return len(self._by_name)

    def built_in(self) -> list[str]:
        """Names of the detectors that come with oodbench, as far as source tells them; sorted."""
        installed = (detector for detector in self._by_name.values() if isinstance(detector, Installed))
        return sorted(detector.name for detector in installed if detector.declared.module.startswith(f"{METHODS}."))

    def code(self, name: str) -> str:
        """Digest of the code behind the detector `name`, see `code_of`."""
        registered = self._by_name[name]
        digest = source_digest(registered.declared.modules) if isinstance(registered, Installed) else None
        return digest or _code(self[name])


class Installed:
    """A detector of an installed package, as its source declares it.

    Args:
        declared: its declaration.
        point: the entry point by which it is found.
    """

    def __init__(self, declared: ClassDeclaration, point: EntryPoint) -> None:
        self.declared, self.name, self._point = declared, declared.name, point

    def load(self) -> type[Detector]:
        """Import the class.

        Raises:
            OodbenchError: its module cannot be imported, or it does not define what every detector must.
        """
        with _loading(self._point):
            module = importlib.import_module(self.declared.module)
        remember(self._point.module)
        detector: type[Detector] = getattr(module, self.declared.class_name)
        _require_complete(detector)
        return detector


def in_process(name: str) -> type[Detector]:
    """Find the detector called `name`: installed, or defined in this process, as by plugin files that were loaded.

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
        defined |= {kind.name: kind for kind in below if isinstance(vars(kind).get("name"), str)}
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
    """Find all detectors installed under the entry-point group, and those in the plugin `files`.

    An entry point names a detector class, a module that defines some, or a package of such modules. Installed ones are
    read from their source as far as that tells, and imported when they are asked for; plugin files are imported here.

    Raises:
        OodbenchError: something cannot be imported, defines no detector, or claims a name that is taken.
    """
    detectors: list[type[Detector] | Installed] = []
    for point in installed_entry_points(ENTRY_POINT_GROUP):
        detectors += _declared_detectors(point) or _import_detectors(point)
    for file in files:
        detectors += _detectors_in_file(file)
    return Registry(detectors)


def _declared_detectors(point: EntryPoint) -> list[Installed]:
    """The detectors that the source behind an entry point declares; none where it does not tell."""
    declarations = declared_classes(point.module, "oodbench.detector.Detector", "name") or []
    return [
        Installed(declaration, point)
        for declaration in declarations
        if point.attr in (None, "", declaration.class_name)
    ]


def _import_detectors(point: EntryPoint) -> list[type[Detector]]:
    with _loading(point):
        target = point.load()
    detectors = _detectors_in_package(target) if inspect.ismodule(target) else [_as_detector(target, point.value)]
    remember(point.module)
    return detectors


@contextmanager
def _loading(point: EntryPoint) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise OodbenchError(
            f"the installed detector plugin {point.name!r} ({point.value}) does not load: {_error_text(error)}; "
            "mend or uninstall it"
        ) from error


def _identity(detector: type[Detector] | Installed) -> tuple[str, str]:
    """The identity of a class: its module and its name there."""
    if isinstance(detector, Installed):
        return detector.declared.module, detector.declared.class_name
    return detector.__module__, detector.__qualname__


def _as_detector(target: object, value: str) -> type[Detector]:
    from oodbench.detector import Detector

    if inspect.isclass(target) and issubclass(target, Detector):
        return target
    raise OodbenchError(f"the installed detector plugin {value} is neither a Detector class nor a module; uninstall it")


def _detectors_in_package(module: ModuleType) -> list[type[Detector]]:
    detectors = list(_detectors_in_module(module))
    for info in pkgutil.iter_modules(getattr(module, "__path__", [])):
        detectors += _detectors_in_module(importlib.import_module(f"{module.__name__}.{info.name}"))
    return detectors


def _detectors_in_module(module: ModuleType) -> Iterator[type[Detector]]:
    from oodbench.detector import Detector

    for value in vars(module).values():
        if (
            inspect.isclass(value)
            and issubclass(value, Detector)
            and value.__module__ == module.__name__
            and "name" in vars(value)
        ):
            _require_complete(value)
            yield value


def _require_complete(detector: type[Detector]) -> None:
    if lacking := sorted(getattr(detector, "__abstractmethods__", ())):
        raise OodbenchError(
            f"detector {detector.name!r} ({_origin(detector)}) does not define {', '.join(lacking)}: every detector "
            "says there what its score is, or raises TypeError there if it overrides score() as well"
        )


def _detectors_in_file(file: Path) -> list[type[Detector]]:
    if not file.is_file():
        raise OodbenchError(f"there is no plugin file {file}: give --plugin the path of a Python file")
    if file.suffix != ".py":
        raise OodbenchError(f"{file} is not a Python file: a plugin ends in .py")
    try:
        module = plugins.load(file)
    except Exception as error:
        raise OodbenchError(f"the plugin {file} does not load: {_error_text(error)}") from error
    detectors = list(_detectors_in_module(module))
    if not detectors:
        raise OodbenchError(
            f"the plugin {file} defines no detector: subclass oodbench.detector.Detector and give it a name"
        )
    return detectors


def _error_text(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]


def _origin(detector: type[Detector] | Installed) -> str:
    if isinstance(detector, Installed):
        return f"{detector.declared.class_name} in {detector.declared.file}"
    return f"{detector.__qualname__} in {inspect.getfile(detector)}"
