"""Progress of long work: what is being done, how fast, and how long it will still take."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
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


Hear = Callable[[str], None]
"""Called with what is being done and how far it is, for instance "training: 45 %"."""

_hears: ContextVar[Hear | None] = ContextVar("hears", default=None)

EVERY = 1.0
"""Seconds between two such calls."""


@contextmanager
def told_to(hear: Hear) -> Iterator[None]:
    """Inside, `progress` tells `hear` instead of writing a line of its own: several processes share one terminal."""
    token = _hears.set(hear)
    try:
        yield
    finally:
        _hears.reset(token)


@contextmanager
def progress(doing: str, count: int | None, unit: str = "images") -> Iterator[Advance]:
    """A line on standard error for work over `count` images or passes, if that is known: rate and time left.

    On a terminal the line moves and goes away; in a log it is written every ten seconds at most, and once at the end.
    """
    hear = _hears.get()
    with _line(doing, count, unit) if hear is None else _telling(hear, doing, count, unit) as advance:
        yield advance


@contextmanager
def _telling(hear: Hear, doing: str, count: int | None, unit: str) -> Iterator[Advance]:
    done, last = 0, -EVERY

    def advance(more: int) -> None:
        nonlocal done, last
        done += more
        if (now := time.monotonic()) >= last + EVERY:
            last = now
            hear(f"{doing}: {done / count:.0%}" if count else f"{doing}: {done} {unit}")

    yield advance


@contextmanager
def _line(doing: str, count: int | None, unit: str) -> Iterator[Advance]:
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


class Board:
    """What several processes are doing: on a terminal one line that moves, in a log a line each every so often.

    Args:
        count: of the things that there are to do.
        say: told what is finished, and in a log what is being done.
    """

    LOGGED = 60.0
    """Seconds between two lines about the same process in a log."""

    def __init__(self, count: int, say: Callable[[str], None]) -> None:
        self._say = say
        self._doing: dict[str, str] = {}
        self._logged: dict[str, float] = {}
        self._line: tqdm[NoReturn] | None = None
        if sys.stderr.isatty():
            self._line = tqdm(total=count, bar_format="{desc}", leave=False, dynamic_ncols=True)

    def begins(self, name: str) -> None:
        """Work called `name` has been given to a process."""
        self._doing[name], self._logged[name] = "begins", time.monotonic()
        self._show()

    def hear(self, name: str, doing: str) -> None:
        """Work called `name` is as far as `doing` says."""
        if name not in self._doing:
            return
        self._doing[name] = doing
        if self._line is None and time.monotonic() >= self._logged[name] + self.LOGGED:
            self._logged[name] = time.monotonic()
            self._say(f"{name}: {doing}")
        self._show()

    def ends(self, name: str, said: str) -> None:
        """Work called `name` is finished, and `said` is to be said of it."""
        self._doing.pop(name, None)
        if self._line is not None:
            self._line.clear()
        self._say(said)
        self._show()

    def close(self) -> None:
        """Take the line away."""
        if self._line is not None:
            self._line.close()

    def _show(self) -> None:
        if self._line is not None:
            self._line.set_description_str(" | ".join(f"{name}: {doing}" for name, doing in self._doing.items()))
