"""Images as they are."""

from dataclasses import dataclass

from oodbench.tasks.task import Task


@dataclass(frozen=True)
class Clean(Task):
    """Nothing is altered."""

    kind = "clean"
