"""The `oodbench` command: the group of all verbs, each declared in a file of its name."""

import click

from oodbench.cli.board import board
from oodbench.cli.check import check
from oodbench.cli.data import data
from oodbench.cli.evidence import evidence
from oodbench.cli.export import export
from oodbench.cli.features import features
from oodbench.cli.fit import fit
from oodbench.cli.keep import keep
from oodbench.cli.list import list_
from oodbench.cli.options import (
    Group,
)
from oodbench.cli.plot import plot
from oodbench.cli.reference import reference
from oodbench.cli.report import report
from oodbench.cli.run import run
from oodbench.cli.score import score
from oodbench.cli.table import table
from oodbench.cli.threshold import threshold
from oodbench.cli.tune import tune
from oodbench.cli.verify import verify
from oodbench.version import __version__


@click.group(
    cls=Group,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
    examples=("oodbench list detectors", "oodbench run --suite digits-adv --detector msp --detector atom"),
)
@click.version_option(__version__, prog_name="oodbench")
def commands() -> None:
    """Does an out-of-distribution detector hold up, also when someone attacks it?"""


commands.add_command(board)
commands.add_command(check)
commands.add_command(data)
commands.add_command(evidence)
commands.add_command(export)
commands.add_command(features)
commands.add_command(fit)
commands.add_command(keep)
commands.add_command(list_)
commands.add_command(plot)
commands.add_command(reference)
commands.add_command(report)
commands.add_command(run)
commands.add_command(score)
commands.add_command(table)
commands.add_command(threshold)
commands.add_command(tune)
commands.add_command(verify)
