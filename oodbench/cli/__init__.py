"""The command line."""

from oodbench.cli.verbs import commands, main

__all__ = ["commands", "main"]
