"""Where output goes: terminals that cannot show every character, pipes that close, disks that are full."""

import codecs
import errno
import os
import select
import shutil
import sys
from contextlib import suppress
from io import TextIOWrapper
from typing import TextIO

_WRITTEN = "↓v ↑^ †! ‡# ×x –- —- −- ±+- …... ≥>= ≤<="

SIGNS = {pair[0]: pair[1:] for pair in _WRITTEN.split()}
"""What stands in for a character of ours where the encoding of the output lacks it."""

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""Errors of a disk, or of what stands for one, that takes no more."""

LENIENT = "oodbench-signs"
"""Name of the error handler that puts them there."""


WIDTH, NARROWEST = 80, 40
"""Letters of a line where output goes to no terminal, so that it depends on none; and of the narrowest terminal."""


def width() -> int:
    """Letters of a line of standard output."""
    if sys.stdout is None or not sys.stdout.isatty():
        return WIDTH
    return max(NARROWEST, shutil.get_terminal_size((WIDTH, 24)).columns)


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
    lacking = error.object[error.start : error.end]
    written = (SIGNS.get(sign) or sign.encode("ascii", "backslashreplace").decode() for sign in lacking)
    return "".join(written), error.end


def about_refusal(error: OSError) -> str | None:
    """What refused to take the output, if that is what `error` says; "" where a pipe's reader has gone away.

    A pipe may also lead to a process of ours that died, which is another matter and gives None.
    """
    if isinstance(error, BrokenPipeError):
        return "" if any(map(_unread, _streams())) else None
    if error.filename is None and error.errno in FULL:
        return error.strerror
    return None


def drop_unwritten() -> None:
    """Forget what standard output and error hold back and cannot write: Python would try it at its end and fail."""
    for stream in _streams():
        try:
            stream.flush()
        except OSError:
            with suppress(OSError):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, stream.fileno())
                os.close(nowhere)


def _streams() -> list[TextIO]:
    return [stream for stream in (sys.stdout, sys.stderr) if stream is not None]  # closed ones are None


def _unread(stream: TextIO) -> bool:
    """Nobody reads what is written there, as far as the system can tell."""
    if not hasattr(select, "poll"):
        return True
    with suppress(OSError):
        poll = select.poll()
        poll.register(stream.fileno(), 0)
        return any(event & select.POLLERR for _, event in poll.poll(0))
    return False
