"""The command line."""

from oodbench.cli.commands import commands, main

__all__ = ["commands", "main"]
