"""Calling the command in this process, and what every call must keep to, whatever it was given."""

import hashlib
import io
import os
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from oodbench import cli

SECONDS = 120
"""A call that takes longer hangs: everything here is tiny."""

CHECKS = ("check", "verify", "score")
"""Commands for which exit code 1 means that something was checked and found wanting."""


@dataclass(frozen=True)
class Outcome:
    """What a call came to: its exit code, what it printed, and the traceback of what it failed to catch, if any."""

    arguments: tuple[str, ...]
    code: object
    out: str
    err: str
    escaped: str


class Hangs(BaseException):
    """Raised inside a call that takes too long; no handler of ordinary errors catches it."""


def call(*arguments: str) -> Outcome:
    """`oodbench ARGUMENTS` in the current folder."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    before, sys.argv = sys.argv, ["oodbench", *arguments]
    code: object = 0
    escaped = ""
    try:
        with redirect_stdout(out), redirect_stderr(err), _limited():
            cli.main()
    except SystemExit as ended:
        code = ended.code
    except BaseException:
        escaped = traceback.format_exc()
    finally:
        sys.argv = before
    return Outcome(
        arguments, code, *(stream.buffer.getvalue().decode(errors="replace") for stream in (out, err)), escaped
    )


@contextmanager
def _limited() -> Iterator[None]:
    def give_up(*_: object) -> None:
        raise Hangs(f"still running after {SECONDS} seconds")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def require_decent(outcome: Outcome, folder: Path, inputs: dict[Path, str]) -> None:
    """AssertionError unless a call ended in a result, or in one message with code 2, and left `inputs` as they were.

    Args:
        outcome: of the call.
        folder: where it worked.
        inputs: digests of the files that it may not change, see `digests`.
    """
    said = f"oodbench {' '.join(map(repr, outcome.arguments))}\ncode {outcome.code}\n{outcome.out}\n{outcome.err}"
    assert not outcome.escaped, f"{said}\n{outcome.escaped}"
    assert "Traceback (most recent call last)" not in outcome.out + outcome.err, said
    allowed = (0, 1, 2) if set(outcome.arguments) & set(CHECKS) else (0, 2)
    assert outcome.code in allowed, said
    if outcome.code == 2:
        last = outcome.err.strip().splitlines()[-1:] or [""]
        assert last[0].strip(), f"{said}\nsays nothing"
    changed = [str(path) for path, digest in inputs.items() if not path.exists() or _digest(path) != digest]
    assert not changed, f"{said}\nchanged its input: {changed}"
    left = [str(path) for path in folder.rglob("*.tmp")]
    assert not left, f"{said}\nleft half-written files: {left}"


def digests(paths: Sequence[Path]) -> dict[Path, str]:
    """Digests of files, and of those below folders."""
    files = [file for path in paths for file in ([path] if path.is_file() else sorted(path.rglob("*")))]
    return {file: _digest(file) for file in files if file.is_file() and os.access(file, os.R_OK)}


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@contextmanager
def inside(folder: Path) -> Iterator[Path]:
    """The current folder for a while."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield folder
    finally:
        os.chdir(before)
