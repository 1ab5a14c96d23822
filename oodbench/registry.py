"""Detectors by name: the entry-point group `oodbench.detectors`, built-ins included, and plugin files."""

import importlib
import inspect
import pkgutil
from collections.abc import Iterator, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType

from oodbench.basics import plugins
from oodbench.basics.errors import OodbenchError, unknown
from oodbench.basics.sourcecode import remember
from oodbench.detector import Detector

ENTRY_POINT_GROUP = "oodbench.detectors"


class Registry:
    """Names and the detector classes behind them.

    Args:
        detectors: classes with different names.

    Raises:
        OodbenchError: two different classes claim one name.
    """

    def __init__(self, detectors: Sequence[type[Detector]]) -> None:
        self._by_name: dict[str, type[Detector]] = {}
        for detector in detectors:
            other = self._by_name.setdefault(detector.name, detector)
            if other is not detector:
                raise OodbenchError(
                    f"two detectors are called {detector.name!r}: {_origin(other)} and {_origin(detector)}; rename one"
                )

    def names(self) -> list[str]:
        """Every registered name, sorted."""
        return sorted(self._by_name)

    def __getitem__(self, name: str) -> type[Detector]:
        """The detector called `name`; OodbenchError with the nearest name when there is none."""
        if name not in self._by_name:
            raise unknown("detector", name, self.names())
        return self._by_name[name]


def discover(files: Sequence[Path] = ()) -> Registry:
    """Everything installed under the entry-point group, and the detectors in the plugin `files`.

    An entry point names a detector class, a module that defines some, or a package of such modules.

    Raises:
        OodbenchError: something cannot be imported, defines no detector, or claims a name that is taken.
    """
    found: list[type[Detector]] = []
    for point in entry_points(group=ENTRY_POINT_GROUP):
        try:
            target = point.load()
        except Exception as error:
            raise OodbenchError(
                f"the installed detector plugin {point.name!r} ({point.value}) does not load: {_told(error)}; "
                "mend or uninstall it"
            ) from error
        found += _in_package(target) if inspect.ismodule(target) else [_as_detector(target, point.value)]
        remember(point.module)
    for file in files:
        found += _in_file(file)
    return Registry(list(dict.fromkeys(found)))


def _as_detector(target: object, value: str) -> type[Detector]:
    if inspect.isclass(target) and issubclass(target, Detector):
        return target
    raise OodbenchError(f"the installed detector plugin {value} is neither a Detector class nor a module; uninstall it")


def _in_package(module: ModuleType) -> list[type[Detector]]:
    found = list(_in_module(module))
    for info in pkgutil.iter_modules(getattr(module, "__path__", [])):
        found += _in_module(importlib.import_module(f"{module.__name__}.{info.name}"))
    return found


def _in_module(module: ModuleType) -> Iterator[type[Detector]]:
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


def _origin(detector: type[Detector]) -> str:
    return f"{detector.__qualname__} in {inspect.getfile(detector)}"
