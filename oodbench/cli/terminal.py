"""Where output goes: terminals that cannot show every character, pipes that close, disks that are full."""

import codecs
import errno
import os
import select
import shutil
import sys
from collections.abc import Sequence
from contextlib import suppress
from io import TextIOWrapper
from typing import TextIO

import click

_STAND_INS = "↓v ↑^ †! ‡# ×x –- —- −- ±+- …... ≥>= ≤<="

SIGNS = {pair[0]: pair[1:] for pair in _STAND_INS.split()}
"""The stand-in of each character of ours, for an output whose encoding lacks it."""

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""Error numbers of a disk, or of what stands for one, that takes no more."""

LENIENT = "oodbench-signs"
"""Name of the error handler that puts the stand-ins there."""

WIDTH, NARROWEST = 80, 40
"""Letters of a line where output goes to no terminal, so that it depends on none; and the least on any terminal."""


def width() -> int:
    """Return how many letters a line of standard output takes."""
    if sys.stdout is None or not sys.stdout.isatty():
        return WIDTH
    return max(NARROWEST, shutil.get_terminal_size((WIDTH, 24)).columns)


def warn(line: str) -> None:
    """Print a warning on standard error."""
    click.echo(f"WARNING: {line}", err=True)


def print_planning(detectors: Sequence[str], suites: Sequence[str]) -> None:
    """Say at once on standard error what goes on: importing torch takes seconds, and planning does."""
    click.echo(f"planning {', '.join(detectors)} on {', '.join(suites)}", err=True)


def write_anyhow() -> None:
    """Let standard output and error take any text: what their encoding lacks is replaced, and no error ends a command.

    `SIGNS` have a stand-in each; any other character (in the name of a file, say) is written as its escape.
    """
    codecs.register_error(LENIENT, _stand_in)
    for stream in (sys.stdout, sys.stderr):
        # UTF-8 that keeps the bytes of a file's name (surrogateescape) can write all that there is.
        if isinstance(stream, TextIOWrapper) and (stream.errors, stream.encoding.lower()) != (
            "surrogateescape",
            "utf-8",
        ):
            stream.reconfigure(errors=LENIENT)


def _stand_in(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    unencodable = error.object[error.start : error.end]
    stand_ins = (SIGNS.get(sign) or sign.encode("ascii", "backslashreplace").decode() for sign in unencodable)
    return "".join(stand_ins), error.end


def refusal_reason(error: OSError) -> str | None:
    """Return what refused to take the output, where `error` says that; "" where a pipe's reader has gone away.

    Return None of any other error: a pipe may also lead to a process of ours that died.
    """
    if isinstance(error, BrokenPipeError):
        return "" if any(map(_has_no_reader, _streams())) else None
    if error.filename is None and error.errno in FULL:
        return error.strerror
    return None


def drop_unwritten() -> None:
    """Forget what standard output and error hold back and cannot write: Python would try again at its end, and fail."""
    for stream in _streams():
        try:
            stream.flush()
        except OSError:
            with suppress(OSError):
                null_device = os.open(os.devnull, os.O_WRONLY)
                os.dup2(null_device, stream.fileno())
                os.close(null_device)


def _streams() -> list[TextIO]:
    return [stream for stream in (sys.stdout, sys.stderr) if stream is not None]  # closed ones are None


def _has_no_reader(stream: TextIO) -> bool:
    """Return whether nobody reads what is written there, as far as the system can tell."""
    if not hasattr(select, "poll"):
        return True
    with suppress(OSError):
        poll = select.poll()
        poll.register(stream.fileno(), 0)
        return any(event & select.POLLERR for _, event in poll.poll(0))
    return False
