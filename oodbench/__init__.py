"""oodbench: does an out-of-distribution detector hold up, also when someone attacks it?"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from oodbench.version import __version__

if TYPE_CHECKING:
    from oodbench import tasks
    from oodbench.api import benchmark, evaluate, fit, load_detector, run
    from oodbench.basics.errors import OodbenchError
    from oodbench.results.tables import load_results
    from oodbench.running.feature_arrays import write_features

# OpenMP's threads spin at the end of each loop until all are there, which steals the cores from whatever else runs. It
# reads this when torch is loaded; a program that imports torch before oodbench, or says otherwise itself, has its way.
if not os.environ.keys() & {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"}:
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

__all__ = [
    "OodbenchError",
    "__version__",
    "benchmark",
    "evaluate",
    "fit",
    "load_detector",
    "load_results",
    "run",
    "tasks",
    "write_features",
]

_HOMES = {
    "OodbenchError": "oodbench.basics.errors",
    "benchmark": "oodbench.api",
    "evaluate": "oodbench.api",
    "fit": "oodbench.api",
    "load_detector": "oodbench.api",
    "load_results": "oodbench.results.tables",
    "run": "oodbench.api",
    "tasks": "oodbench",
    "write_features": "oodbench.running.feature_arrays",
}
"""Where each name for notebooks lives: imported when it is first asked for, so that `import oodbench` costs nothing."""


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if _HOMES[name] == __name__:
        return import_module(f"{__name__}.{name}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *_HOMES]
