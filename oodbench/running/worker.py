"""One of several processes of a run; it begins with only what this file imports."""

import os
import threading
import time
from typing import TYPE_CHECKING, Any

from oodbench.basics.memory import loading
from oodbench.basics.progress import counted_in_all, report_to

if TYPE_CHECKING:
    from oodbench.running.jobs import Unit

_heard: Any = None
"""The queue through which this process reports to its parent."""


def begin(heard: Any, parent: int, threads: int) -> None:
    """Set up this process; it is the first thing that each process does.

    Args:
        heard: queue to the parent.
        parent: number of the parent's process, with which this one ends.
        threads: number of threads that torch computes on.
    """
    global _heard
    _heard = heard
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    with loading():
        import torch

    torch.set_num_threads(threads)


def _end_with(parent: int) -> None:
    """End this process when its parent is gone, also if the parent was killed and could not say so."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def carry_out(number: int, unit: "Unit") -> list[str] | None:
    """Carry out a unit, which has this number, and return what failed; see `oodbench.running.jobs.score`."""
    from oodbench.running.jobs import score, train

    def hear(doing: str) -> None:
        _heard.put((number, doing, total.done))

    with report_to(hear), counted_in_all(0) as total:
        return train(unit.job, hear) if unit.doing == "trained" else score(unit.job, say=hear)
