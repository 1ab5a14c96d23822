"""The command line: each verb is declared in the file of its name here, and carried out in the one in `work`."""

from oodbench.cli.ending import main
from oodbench.cli.verbs import commands

__all__ = ["commands", "main"]
