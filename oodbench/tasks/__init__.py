"""Tasks: how images are altered before a detector scores them."""

from collections.abc import Mapping

from oodbench.tasks.adaptive import L2Adaptive, LinfAdaptive
from oodbench.tasks.certified import Certified
from oodbench.tasks.clean import Clean
from oodbench.tasks.compositional import Compositional
from oodbench.tasks.corruption import Corruption
from oodbench.tasks.l2 import L2
from oodbench.tasks.linf import Linf
from oodbench.tasks.task import ID_TASK, Altered, Task, constants

KINDS: Mapping[str, type[Task]] = {
    task.kind: task for task in (Clean, Corruption, Linf, Compositional, LinfAdaptive, L2, L2Adaptive, Certified)
}
"""What a suite's `kind` may say."""

__all__ = [
    "ID_TASK",
    "KINDS",
    "L2",
    "Altered",
    "Certified",
    "Clean",
    "Compositional",
    "Corruption",
    "L2Adaptive",
    "Linf",
    "LinfAdaptive",
    "Task",
    "constants",
]
