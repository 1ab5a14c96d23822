"""A slice of the work: command after command until the time is up, then the one at work is interrupted."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO

from benchmarks.gpu.steps import Place, Step
from oodbench.basics.errors import OodbenchError
from oodbench.basics.files import read_text, write_atomic
from oodbench.basics.strict_dataclasses import DeclarationError, build

ROOT = Path(__file__).parents[2]
"""Of the repository: where `tests` and `benchmarks` are."""

STATE = "state.json"
DONE, UNFINISHED, FAILED = "done", "unfinished", "failed"

PATIENCE = 20.0
"""Seconds in which an interrupted command ends by itself; oodbench takes as long as one batch does."""

LOOKS_EVERY = 0.1
"""Seconds between two looks at the command at work."""

Say = Callable[[str], None]
Stop = Callable[[], bool]
"""Whether the time is up."""


@dataclass(frozen=True)
class Record:
    """What is known of a step.

    Attributes:
        outcome: `DONE`, `UNFINISHED` or `FAILED`.
        seconds: that it took, all slices together.
        slices: that it took part in.
        assumed: seconds that it was assumed to take when it was first begun; 0 if nobody counted.
    """

    outcome: str = UNFINISHED
    seconds: float = 0.0
    slices: int = 0
    assumed: float = 0.0


Records = Mapping[str, Record]


def read(out: Path) -> dict[str, Record]:
    """The records of earlier slices, by the name of the step.

    Raises:
        OodbenchError: they cannot be read.
    """
    file = out / STATE
    if not file.is_file():
        return {}
    try:
        return {name: build(Record, fields) for name, fields in dict(json.loads(read_text(file))).items()}
    except (TypeError, ValueError, RecursionError, DeclarationError) as error:
        raise OodbenchError(
            f"{file} is not as a slice leaves it ({error}): move it elsewhere; results do not depend on it, "
            "only the tests and the table of ratios are done again"
        ) from error


def carry_out(step: Step, only: Sequence[str], place: Place, assumed: float, stop: Stop, say: Say) -> Record:
    """Do a step, or go on with it, until it has ended or the time is up; what it printed is kept and said.

    Args:
        step: which.
        only: OOD sets to keep to.
        place: where.
        assumed: seconds that it is assumed to take; 0 if nobody counted.
        stop: the time is up.
        say: told what it printed.

    Returns:
        What is known of it now, which is on disk as well.
    """
    known = read(place.out)
    before = known.get(step.name, Record(assumed=assumed))
    printed = place.out / f"{step.name}.txt"
    started = time.monotonic()
    with printed.open("wb") as output:
        code = _ended(step.command(only, place), output, stop)
    say(printed.read_text(errors="replace"))
    outcome = UNFINISHED if code is None else FAILED if code else DONE
    seconds = before.seconds + time.monotonic() - started
    record = replace(before, outcome=outcome, seconds=round(seconds, 1), slices=before.slices + 1)
    records = {name: asdict(each) for name, each in {**known, step.name: record}.items()}
    write_atomic(place.out / STATE, json.dumps(records, indent=1).encode())
    return record


def _ended(command: Sequence[str], output: IO[bytes], stop: Stop) -> int | None:
    """The exit code of `command`, or None if it was interrupted because the time is up."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with _heard(), subprocess.Popen(command, cwd=ROOT, stdout=output, env=environment) as process:
        try:
            while process.poll() is None:
                if stop():
                    _interrupt(process)
                    return 0 if process.returncode == 0 else None
                time.sleep(LOOKS_EVERY)
        except BaseException:
            _interrupt(process)
            raise
        return process.returncode


@contextmanager
def _heard() -> Iterator[None]:
    """Inside, signals that ask this process to end interrupt it, and what it starts is not deaf to SIGINT.

    A shell without a terminal has what it puts into the background ignore SIGINT, and programs inherit that.
    """
    before = {number: signal.signal(number, signal.default_int_handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(process: "subprocess.Popen[bytes]") -> None:
    """End it as Ctrl-C would; where that takes too long, as a power cut would, which costs no result either."""
    process.send_signal(signal.SIGINT)
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def traces(folder: Path) -> dict[str, int]:
    """What is in a results folder, and when each file was last written: two of these differ if something was done."""
    kept = (".h5", ".safetensors", ".unfinished")
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if path.suffix in kept}
