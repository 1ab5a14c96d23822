"""The command line: each verb is declared in the file of its name here, and carried out in the one in `work`."""

import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NoReturn

from oodbench.cli.interruption import INTERRUPTED, MESSAGE, is_interruption

if TYPE_CHECKING:
    from oodbench.cli.verbs import commands

__all__ = ["commands", "main"]


def main() -> NoReturn:
    """Run the `oodbench` command and exit, as `oodbench.cli.ending.main` does; Ctrl-C during its imports ends alike."""
    try:
        from oodbench.cli import ending
    except BaseException as error:
        if not is_interruption(error):
            raise
        with suppress(OSError, AttributeError):  # standard error may be closed, or None
            sys.stderr.write(MESSAGE)
        sys.exit(INTERRUPTED)
    ending.main()


def __getattr__(name: str) -> Any:
    """Import the group of all verbs when somebody asks for it: `main` is there before anything that takes long."""
    if name == "commands":
        from oodbench.cli.verbs import commands

        return commands
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
