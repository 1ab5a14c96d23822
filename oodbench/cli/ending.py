"""The end of the command: its exit code, and the last message."""

import sys
from contextlib import suppress
from io import StringIO
from traceback import format_exc
from typing import NoReturn

import click

from oodbench.basics.errors import OodbenchError
from oodbench.basics.memory import keep_freed_memory
from oodbench.basics.team import give_first_the_word, quiet_followers
from oodbench.cli.interruption import INTERRUPTED, MESSAGE, is_interruption
from oodbench.cli.options import PipedError
from oodbench.cli.terminal import drop_unwritten, refusal_reason, write_anyhow
from oodbench.cli.verbs import commands

OURS = 3
"""Exit code of a mistake in oodbench itself: 1 is a failed check, 2 what a user can mend."""

NO_READER = 141
"""Exit code where the reader of a pipe went away (`oodbench table | head -1`), as shells have it."""


def main() -> NoReturn:
    """Run the `oodbench` command and exit.

    Exit code 0, 1 for a failed check, 2 for a user's mistake, 3 for one of oodbench, 130 when interrupted, 141 where
    nobody reads on.
    """
    write_anyhow()
    keep_freed_memory()
    with quiet_followers():
        code, message = _outcome()
    if code not in (0, INTERRUPTED, NO_READER):
        give_first_the_word()
    with suppress(OSError):  # where nobody listens, the exit code has to do
        click.echo(message, err=True, nl=False)
    drop_unwritten()
    sys.exit(code)


def _outcome() -> tuple[int, str]:
    """Carry out the command, and return its exit code and the last message."""
    try:
        code = commands(standalone_mode=False)
    except click.ClickException as error:
        error.show(message := StringIO())
        return error.exit_code, message.getvalue()
    except OodbenchError as error:
        return 2, f"oodbench: {error}\n"
    except (KeyboardInterrupt, click.Abort) as error:
        # click takes the end of a file for Ctrl-D, of any file.
        if isinstance(error.__cause__, EOFError):
            return OURS, _unforeseen_message()
        return INTERRUPTED, MESSAGE
    except OSError as error:
        return _file_outcome(error)
    except PipedError as error:
        return _file_outcome(error.error)
    except Exception as error:
        if is_interruption(error):
            return INTERRUPTED, MESSAGE
        return OURS, _unforeseen_message()
    # A command that found something wrong leaves with click's Exit, which comes back as a number here.
    return (code if isinstance(code, int) else 0), ""


def _file_outcome(error: OSError) -> tuple[int, str]:
    """Return the exit code and the message where the system refused something."""
    refusal = refusal_reason(error)
    if refusal == "":
        return NO_READER, ""
    if refusal:
        return 2, f"oodbench: cannot write the output ({refusal}): send it elsewhere; stored results are as they were\n"
    if error.filename is None:
        return OURS, _unforeseen_message()
    return 2, f"oodbench: cannot use {error.filename}: {error.strerror}; mend its permissions, or name another\n"


def _unforeseen_message() -> str:
    """Return the message on the exception that is being handled and that nobody foresaw."""
    return (
        f"{format_exc()}oodbench: this is a mistake in oodbench or in a plugin, not in what you typed; what was "
        "finished is stored. Please report the lines above\n"
    )
