"""Tasks: how OOD images are altered before a detector scores them. ID images stay as they are."""

from collections.abc import Mapping

from oodbench.tasks.clean import Clean
from oodbench.tasks.linf import Linf
from oodbench.tasks.task import ID_TASK, Altered, Task

KINDS: Mapping[str, type[Task]] = {"clean": Clean, "linf": Linf}
"""What a suite's `kind` may say."""

__all__ = ["ID_TASK", "KINDS", "Altered", "Clean", "Linf", "Task"]
