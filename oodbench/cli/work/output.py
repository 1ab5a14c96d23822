"""Lines and files that several verbs write."""

from pathlib import Path

import click

from oodbench.basics.errors import OodbenchError
from oodbench.basics.progress import beside_progress_lines

SHOWN_SHARES = (0.9, 0.95, 0.99)
"""Shares of ID images whose thresholds `fit` and `export` print."""


def print_status(line: str) -> None:
    """Print a line on standard error, where no progress bar is in its way."""
    with beside_progress_lines():
        click.echo(line, err=True)


def refuse_to_overwrite(output: Path, replace: bool) -> None:
    """Raise OodbenchError where the file is there and nobody said to replace it."""
    if output.exists() and not replace:
        raise OodbenchError(f"there is a {output} already: name another file with -o, or say --replace")
