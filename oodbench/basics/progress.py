"""Progress of long work: what is being done, how fast, and how long it will still take."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import NoReturn

from tqdm import tqdm

from oodbench.basics.listeners import Say


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


_listener: ContextVar[Say | None] = ContextVar("hears", default=None)

EVERY = 1.0
"""Seconds between two such calls."""

FIRST, LOGGED = 10.0, 60.0
"""Seconds before the first line about the same work in a log, and between two of them."""


@contextmanager
def report_to(hear: Say) -> Iterator[None]:
    """Inside, `progress` tells `hear` instead of writing a line of its own: several processes share one terminal.

    `hear` is told what is being done and how far it is, for instance "training: 45 %".
    """
    token = _listener.set(hear)
    try:
        yield
    finally:
        _listener.reset(token)


class Total:
    """Progress of a whole run, in passes through the network.

    Attributes:
        count: of all that there are to do, as planned; 0 where nobody shows them.
        done: of them. Work may turn out to cost less or more than was planned.
    """

    def __init__(self, count: int) -> None:
        self.count, self.done, self._since = count, 0.0, time.monotonic()
        self._line: tqdm[NoReturn] | None = None
        if count and _listener.get() is None and sys.stderr.isatty():
            self._line = tqdm(total=1, bar_format="{desc}", leave=False, dynamic_ncols=True)
            self._show()

    def spend(self, passes: float) -> None:
        """Count further passes as done."""
        self.done += passes
        self._show()

    def set(self, done: float) -> None:
        """Set how many passes are done, all together."""
        self.done = done
        self._show()

    def __str__(self) -> str:
        share = min(1.0, self.done / self.count) if self.count else 1.0
        text = f"{share:.0%} of {self.count:,} passes done"
        left = (time.monotonic() - self._since) * (1 - share) / share if share > 0 else None
        return text if left is None else f"{text}, {tqdm.format_interval(left)} left"

    def close(self) -> None:
        """Take the line away."""
        if self._line is not None:
            self._line.close()

    def _show(self) -> None:
        if self._line is not None:
            self._line.set_description_str(f"total: {self}", refresh=False)
            self._line.update(0)  # draws no more often than the eye can follow


_total: ContextVar[Total | None] = ContextVar("total", default=None)


@contextmanager
def counted_in_all(passes: int) -> Iterator[Total]:
    """Inside, what `progress` and `spend` count adds up to `passes`; on a terminal a line says how far they are."""
    total = Total(passes)
    token = _total.set(total)
    try:
        yield total
    finally:
        _total.reset(token)
        total.close()


def spend(passes: float) -> None:
    """Count passes that work without a line of its own has done."""
    if (total := _total.get()) is not None:
        total.spend(passes)


@contextmanager
def beside_progress_lines() -> Iterator[None]:
    """Inside, other lines may be written to standard error: those of work at hand are out of their way."""
    with tqdm.external_write_mode(sys.stderr):
        yield


@contextmanager
def progress(doing: str, count: int | None, unit: str = "images", passes: float = 0.0) -> Iterator[Advance]:
    """Show a line on standard error for work over `count` images or passes, if that is known: rate and time left.

    On a terminal the line moves and goes away; in a log a plain one is written now and then, if the work takes long.

    Args:
        doing: a word or two.
        count: of what there is to do.
        unit: what is counted.
        passes: through the network that each of them costs, where they are among those that a run has counted.
    """
    hear, done = _listener.get(), 0
    with _line(doing, count, unit) if hear is None else _reported_line(hear, doing, count, unit) as advance:

        def advance_both(more: int) -> None:
            nonlocal done
            done += more
            spend(more * passes)
            advance(more)

        yield advance_both
    spend(max(0, (count or 0) - done) * passes)  # work that ended early has nothing left to do


@contextmanager
def _reported_line(hear: Say, doing: str, count: int | None, unit: str) -> Iterator[Advance]:
    done, last = 0, -EVERY

    def advance(more: int) -> None:
        nonlocal done, last
        done += more
        if (now := time.monotonic()) >= last + EVERY:
            last = now
            hear(f"{doing}: {done / count:.0%}" if count else f"{doing}: {done} {unit}")

    yield advance


def _line(doing: str, count: int | None, unit: str) -> AbstractContextManager[Advance]:
    return _terminal_line(doing, count, unit) if sys.stderr.isatty() else _log_lines(doing, count, unit)


@contextmanager
def _terminal_line(doing: str, count: int | None, unit: str) -> Iterator[Advance]:
    line: tqdm[NoReturn] = tqdm(
        total=count, desc=doing, unit=f" {unit}", leave=False, miniters=1, smoothing=0.1, dynamic_ncols=True
    )
    with line:

        def advance(more: int) -> None:
            line.update(more)

        yield advance


@contextmanager
def _log_lines(doing: str, count: int | None, unit: str) -> Iterator[Advance]:
    """Write whole lines, since a log keeps whatever is written to it: none about work that is soon done."""
    done, began = 0, time.monotonic()
    due = began + FIRST

    def advance(more: int) -> None:
        nonlocal done, due
        done += more
        if (now := time.monotonic()) < due:
            return
        due = now + LOGGED
        rate = done / (now - began)
        text = f"{doing}: {done / count:.0%} of {count:,} {unit}" if count else f"{doing}: {done:,} {unit}"
        text += f", {rate:,.0f} a second"
        text += f", {tqdm.format_interval((count - done) / rate)} left" if count and rate else ""
        total = _total.get()
        print(f"{text}; in all {total}" if total and total.count else text, file=sys.stderr, flush=True)

    yield advance


class Board:
    """Shows what several processes are doing: on a terminal one line that moves, in a log a line each now and then.

    Args:
        count: of the things that there are to do.
        say: told what is finished, and in a log what is being done.
        total: how far all of it is.
    """

    def __init__(self, count: int, say: Say, total: Total) -> None:
        self._say, self._total = say, total
        self._doing: dict[str, str] = {}
        self._logged: dict[str, float] = {}
        self._line: tqdm[NoReturn] | None = None
        if sys.stderr.isatty():
            self._line = tqdm(total=count, bar_format="{desc}", leave=False, dynamic_ncols=True)

    def begins(self, name: str) -> None:
        """Note that work called `name` has been given to a process."""
        self._doing[name], self._logged[name] = "begins", time.monotonic()
        self._show()

    def hear(self, name: str, doing: str) -> None:
        """Note that work called `name` is as far as `doing` says."""
        if name not in self._doing:
            return
        self._doing[name] = doing
        if self._line is None and time.monotonic() >= self._logged[name] + LOGGED:
            self._logged[name] = time.monotonic()
            self._say(f"{name}: {doing}; in all {self._total}")
        self._show()

    def ends(self, name: str, text: str) -> None:
        """Note that work called `name` is finished, and say `text` of it."""
        self._doing.pop(name, None)
        self._say(text)
        self._show()

    def close(self) -> None:
        """Take the line away."""
        if self._line is not None:
            self._line.close()

    def _show(self) -> None:
        if self._line is not None:
            self._line.set_description_str(" | ".join(f"{name}: {doing}" for name, doing in self._doing.items()))
