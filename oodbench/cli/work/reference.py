"""`oodbench reference`: a leaderboard's file made into a reference."""

from pathlib import Path
from shlex import quote

import click

from oodbench.basics.files import read_text
from oodbench.basics.words import counted
from oodbench.results import leaderboard, reference
from oodbench.results.leaderboard import Board


def openood(file: Path, commit: str, version: str, board: str | None, path: Path) -> None:
    """Write the reference that is made of a CSV file of OpenOOD's leaderboard, and print what it holds."""
    rows = leaderboard.rows(read_text(file), Board(board or file.stem, version, commit), str(file))
    reference.write(rows, path)
    methods = rows.drop_duplicates(["detector", "network", "note"])
    amount = f"{counted(len(rows), 'figure')} of {counted(len(methods), 'method')}"
    click.echo(f"{amount}, {rows['reference'].iloc[0]}, are in {path}.")
    suite = rows["suite"].iloc[0]
    of_suite = f" of suite {suite}" if suite else ""
    command = f"oodbench table RESULTS --compare {quote(str(path))} --convention openood"
    click.echo(f"`{command}` puts them beside results{of_suite}.")
