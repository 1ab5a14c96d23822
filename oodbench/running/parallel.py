"""A run in several processes of this machine, side by side: to the same bits as one thing after the other.

What a unit of work computes does not depend on how many run beside it: the number of its threads follows from its
network, and everything random from seeds. Processes are those of loky, which joblib brings: they import nothing of the
program that starts them, so a script needs no main guard, and a notebook or standard input will do.
"""

import os
import signal
import traceback
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import parent_process
from pathlib import Path
from typing import Any

import torch
from joblib.externals.loky import ProcessPoolExecutor
from joblib.externals.loky.backend import get_context

from oodbench.basics.errors import OodbenchError, StorageError
from oodbench.basics.listeners import Say
from oodbench.basics.memory import available
from oodbench.basics.progress import Board, Total, counted_in_all
from oodbench.basics.threads import cores
from oodbench.running import worker
from oodbench.running.choices import AUTO
from oodbench.running.jobs import Unit, note, split_where_free, units
from oodbench.running.plan import RunPlan

WORTHWHILE = 1e12
"""Floating-point operations of a run, below which starting processes takes longer than they save: half a minute."""

PROCESS_BYTES = 1_500_000_000
"""Memory of a process beside its images: torch and a network at work."""

LOOKS_EVERY = 0.5
"""Seconds between two looks at what the processes say."""


def parse_jobs(text: str, alone: bool) -> int | None:
    """A number of processes, or None for "auto".

    Args:
        text: what was asked for.
        alone: neither Ray nor `torchrun` starts processes for this run.

    Raises:
        OodbenchError: something else, or a number where others start the processes.
    """
    if text == AUTO:
        return None
    if not alone:
        raise OodbenchError(
            f"--jobs {text} and --engine ray or torchrun exclude each other, since each starts processes itself: leave "
            "--jobs out"
        )
    if not (text.isascii() and text.isdigit() and int(text)):
        raise OodbenchError(f"--jobs {text!r}: give a number of processes from 1, or auto")
    return int(text)


def processes(asked: int | None, run_plan: RunPlan) -> int:
    """The number of processes of a run: as many as were asked for, or as cores, memory and work allow.

    Beside a GPU that is one, which keeps it busy; so it is where somebody has started several already.
    """
    networks = [network for suite_plan in run_plan.suites for network in suite_plan.networks if network.needed]
    todo = units(run_plan, (), "cpu", split_where_free)
    if asked is not None or not networks:
        return min(asked or 1, max(1, len(todo)))
    machinery = run_plan.machinery
    if machinery.device.type != "cpu" or machinery.team.size > 1 or parent_process() is not None:
        return 1
    operations = max(network.operations for network in networks)
    if operations * sum(unit.cost for unit in todo) < WORTHWHILE:
        return 1
    images = sum(suite_plan.image_sets.nbytes for suite_plan in run_plan.seeds[0].suites)  # which all seeds share
    memory = available()
    fitting = len(todo) if memory is None else memory // (PROCESS_BYTES + 2 * images)
    return max(1, min(len(todo), cores() // max(network.threads for network in networks), fitting))


def side_by_side(run_plan: RunPlan, count: int, plugins: Sequence[Path], say: Say) -> list[str]:
    """Do what is missing in `count` processes. What is finished is on disk at once.

    A process that dies takes no results with it: what had been begun is begun again, in one process at a time, and what
    then ends its process again has failed.

    Args:
        run_plan: what is to be done.
        count: of processes.
        plugins: files that define detectors.
        say: told what is finished, a line at a time.

    Returns:
        What failed, as `oodbench.running.sweep.in_turn`.

    Raises:
        StorageError: results cannot be written.
    """
    todo = units(run_plan, plugins, str(run_plan.machinery.device), split_where_free)
    with counted_in_all(sum(unit.passes.both for unit in todo)) as total:
        work = _Work(todo, say, total)
        while work.unfinished():
            interrupted = work.do_units(count)
            if interrupted and count == 1:
                (number,) = interrupted
                work.give_up(number)
            elif interrupted:
                say("a process was ended from outside, perhaps for want of memory: going on with one at a time")
                count = 1
    return [
        failure
        for number, unit in enumerate(work.units)
        for failure in unit.label_failures(work.failures[number] or (), run_plan)
    ]


class _Work:
    """The units of a run, and how far they are.

    Attributes:
        units: all of them; other attributes refer to them by their numbers in it.
        say: told what is finished, a line at a time.
        total: the progress of the run.
        spent: passes of units that are begun, by number.
        failures: what failed in units that are finished, by number; None for a unit that was left out.
    """

    def __init__(self, todo: Sequence[Unit], say: Say, total: Total) -> None:
        self.units, self.say, self.total = todo, say, total
        self.spent: dict[int, float] = {}
        self.failures: dict[int, list[str] | None] = {}

    def unfinished(self) -> bool:
        """True if units are left to do."""
        return len(self.failures) < len(self.units)

    def do_units(self, count: int) -> list[int]:
        """Do the units that are left in `count` processes, until all are done or a process has died.

        Returns:
            Numbers of the units that were being done when a process died; none where all are done.
        """
        running: dict[int, Future[list[str] | None]] = {}
        with _board(len(self.units), self.say, self.total) as board, _pool(count) as (pool, heard):
            try:
                while True:
                    self._leave_out(board)
                    for number in self._ready(running)[: count - len(running)]:
                        board.begins(self.units[number].name)
                        running[number] = Future()  # it counts as begun also if there is no process left to take it
                        with _interrupts_kept():
                            running[number] = pool.submit(worker.carry_out, number, self.units[number])
                    if not running:
                        return []
                    wait(running.values(), LOOKS_EVERY, FIRST_COMPLETED)
                    while not heard.empty():
                        number, doing, self.spent[number] = heard.get()
                        self._count()
                        board.hear(self.units[number].name, doing)
                    for number in [number for number, future in running.items() if future.done()]:
                        self._note(number, self._outcome(number, running[number]), board)
                        del running[number]
            except BrokenProcessPool:
                return list(running)

    def give_up(self, number: int) -> None:
        """Count a unit as failed that ends its process whenever it is tried."""
        unit = self.units[number]
        why = (
            "its process was ended from outside, twice: if memory is short, end what else runs; what was finished is "
            "kept"
        )
        note(unit.job, why)
        self.failures[number] = [f"{unit.suite}: {unit.detectors}: {why}"]
        self.say(f"[{len(self.failures)}/{len(self.units)}] {unit.name}: failed")

    def _ready(self, running: Collection[int]) -> list[int]:
        """Numbers of the units that can be begun, the longest first, so that no process ends long after the others."""
        ready = [
            number
            for number, unit in enumerate(self.units)
            if number not in self.failures
            and number not in running
            and (unit.after is None or unit.after in self.failures)
        ]
        return sorted(ready, key=lambda number: -self.units[number].cost)

    def _leave_out(self, board: Board) -> None:
        """Leave out the units whose training failed."""
        for number, unit in enumerate(self.units):
            if number not in self.failures and unit.after is not None and self.failures.get(unit.after):
                self._note(number, None, board)

    def _outcome(self, number: int, future: "Future[list[str] | None]") -> list[str] | None:
        """The failures of a unit that is finished; None if it was left out."""
        try:
            return future.result()
        except (StorageError, BrokenProcessPool):
            raise
        except Exception as error:
            if not isinstance(error, OodbenchError):  # not a user's mistake: with where it happened
                self.say("".join(traceback.format_exception(error)).rstrip())
            failure = self.units[number].failure_text(error)
            note(self.units[number].job, failure)
            return [failure]

    def _count(self) -> None:
        """Tell the progress: finished units count as planned, units that are begun by what they have reported."""
        done = {number: self.units[number].passes.both for number in self.failures}
        begun = {number: min(spent, self.units[number].passes.both) for number, spent in self.spent.items()}
        self.total.set(sum((begun | done).values()))

    def _note(self, number: int, failures: list[str] | None, board: Board) -> None:
        self.failures[number] = failures
        self._count()
        unit = self.units[number]
        board.ends(unit.name, f"[{len(self.failures)}/{len(self.units)}] {unit.name}: {unit.outcome_text(failures)}")


@contextmanager
def _board(count: int, say: Say, total: Total) -> Iterator[Board]:
    board = Board(count, say, total)
    try:
        yield board
    finally:
        board.close()


@contextmanager
def _pool(count: int) -> Iterator[tuple[ProcessPoolExecutor, Any]]:
    """Processes and the queue through which they report; all of them are ended at the end, whatever happens inside."""
    context = get_context("loky")
    heard = context.SimpleQueue()
    pool = ProcessPoolExecutor(
        count, context=context, initializer=worker.begin, initargs=(heard, os.getpid(), torch.get_num_threads())
    )
    try:
        yield pool, heard
    finally:
        pool.shutdown(wait=True, kill_workers=True)


@contextmanager
def _interrupts_kept() -> Iterator[None]:
    """Keep Ctrl-C, which a terminal sends to all processes, from those that begin inside; this one sees it afterwards.

    The parent ends them. Without this, a process that is still importing torch would die with a traceback.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
