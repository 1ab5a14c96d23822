"""Two pieces of work side by side: interleaved repetitions, the median of their ratios, and the spread."""

import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

import torch

Work = Callable[[], object]

Seconds = list[float]
"""Of one piece of work, a number for each repetition."""


@dataclass(frozen=True)
class Ratio:
    """Median, lowest and highest of the ratios of several repetitions."""

    median: float
    low: float
    high: float
    repetitions: int

    @classmethod
    def of(cls, above: Sequence[float], below: Sequence[float]) -> "Ratio":
        """`above` over `below`, repetition by repetition: what the machine did meanwhile hit both alike."""
        ratios = [one / other for one, other in zip(above, below, strict=True)]
        return cls(median(ratios), min(ratios), max(ratios), len(ratios))


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        group: the file that measured it.
        what: the harness's side.
        against: the other side.
        kind: "cost" is what over against, "speed-up" against over what, "share" a rate over another.
        ratio: of their times, or of their peaks of memory.
        target: a cost is met at or below it, a speed-up at or above; None where nothing is promised.
        note: sizes, and whatever else the figure rests on.
    """

    group: str
    what: str
    against: str
    kind: str
    ratio: Ratio
    target: float | None = None
    note: str = ""

    @property
    def met(self) -> bool | None:
        """The median keeps to the target; None without one."""
        if self.target is None:
            return None
        return self.ratio.median <= self.target if self.kind == "cost" else self.ratio.median >= self.target


def interleaved(works: Sequence[Work], repetitions: int, device: torch.device) -> list[Seconds]:
    """How long each of `works` takes, time and again in turn, the order reversed every other time.

    Each is done once before anything counts, so that caches, allocators and lazy imports are warm.
    """
    seconds: list[Seconds] = [[] for _ in works]
    for work in works:
        work()
    for repetition in range(repetitions):
        numbers = range(len(works))
        for number in numbers if repetition % 2 == 0 else reversed(numbers):
            seconds[number].append(_time(works[number], device))
    return seconds


def _time(work: Work, device: torch.device) -> float:
    gc.collect()
    _wait(device)
    started = time.perf_counter()
    work()
    _wait(device)
    return time.perf_counter() - started


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
