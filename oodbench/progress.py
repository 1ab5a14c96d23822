"""Progress of long work: what is being done, how fast, and how long it will still take."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

from tqdm import tqdm


class Stopwatch:
    """Adds up the time spent inside its `with` blocks, in `seconds`."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._started = 0.0

    def __enter__(self) -> None:
        self._started = time.monotonic()

    def __exit__(self, *_: object) -> None:
        self.seconds += time.monotonic() - self._started


Advance = Callable[[int], None]
"""Called with the number of images, or of passes, just finished."""


@contextmanager
def progress(doing: str, count: int | None, unit: str = "images") -> Iterator[Advance]:
    """A line on standard error for work over `count` images or passes, if that is known: rate and time left.

    On a terminal the line moves and goes away; in a log it is written every ten seconds at most, and once at the end.
    """
    terminal = sys.stderr.isatty()
    line: tqdm[NoReturn] = tqdm(
        total=count,
        desc=doing,
        unit=f" {unit}",
        leave=not terminal,
        mininterval=0.1 if terminal else 10.0,
        delay=0.0 if terminal else 10.0,
        miniters=1,
        smoothing=0.1,
        dynamic_ncols=terminal,
        ascii=None if terminal else True,  # None: bars of blocks where the terminal's encoding has them
    )
    with line:

        def advance(more: int) -> None:
            line.update(more)

        yield advance
