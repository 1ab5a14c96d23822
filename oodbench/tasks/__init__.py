"""Tasks: how images are altered before a detector scores them."""

from collections.abc import Mapping

from oodbench.tasks.adaptive import L2Adaptive, LinfAdaptive
from oodbench.tasks.certified import Certified
from oodbench.tasks.clean import Clean
from oodbench.tasks.compositional import Compositional
from oodbench.tasks.corruption import Corruption
from oodbench.tasks.l2 import L2
from oodbench.tasks.linf import Linf
from oodbench.tasks.smoothed import Guaranteed, Smoothed, SmoothedAttacked
from oodbench.tasks.task import ID_TASK, Altered, Task, constants

KINDS: Mapping[str, type[Task]] = {
    task.kind: task
    for task in (Clean, Corruption, Linf, Compositional, LinfAdaptive, L2, L2Adaptive, Certified, Smoothed)
}
"""The tasks by the `kind` that a suite gives."""

STORED: Mapping[str, type[Task]] = {**KINDS, **{task.kind: task for task in (Guaranteed, SmoothedAttacked)}}
"""The tasks by every kind that scores may be stored under: those of suites, and those that `smoothed` consists of."""

__all__ = [
    "ID_TASK",
    "KINDS",
    "L2",
    "STORED",
    "Altered",
    "Certified",
    "Clean",
    "Compositional",
    "Corruption",
    "Guaranteed",
    "L2Adaptive",
    "Linf",
    "LinfAdaptive",
    "Smoothed",
    "SmoothedAttacked",
    "Task",
    "constants",
]
