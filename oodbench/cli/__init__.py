"""The command line."""

from oodbench.cli.ending import main
from oodbench.cli.verbs import commands

__all__ = ["commands", "main"]
