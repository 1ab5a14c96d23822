"""Tasks: how OOD images are altered before a detector scores them. ID images stay as they are."""

from collections.abc import Mapping

from oodbench.tasks.adaptive import LinfAdaptive
from oodbench.tasks.clean import Clean
from oodbench.tasks.linf import Linf
from oodbench.tasks.task import ID_TASK, Altered, Task

KINDS: Mapping[str, type[Task]] = {task.kind: task for task in (Clean, Linf, LinfAdaptive)}
"""What a suite's `kind` may say."""

__all__ = ["ID_TASK", "KINDS", "Altered", "Clean", "Linf", "LinfAdaptive", "Task"]
