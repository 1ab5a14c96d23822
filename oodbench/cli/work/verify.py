"""`oodbench verify`: an archive of evidence checked, and each finding printed."""

from collections import Counter

import click

from oodbench.board.archive import Evidence, load
from oodbench.board.at_hand import Resources
from oodbench.board.description import RefusedError
from oodbench.board.findings import Status, VerifiedRow
from oodbench.board.verifying import TOLERANCE
from oodbench.board.verifying import verify as verify_rows
from oodbench.cli.verify import ResourceOptions, VerifyOptions
from oodbench.registry import discover
from oodbench.sources.trained import checkpoint


def verify(options: VerifyOptions) -> None:
    """Verify an archive; exit code 1 if something does not hold."""
    resources = resources_of(options)
    try:
        evidence = load(options.file)
    except RefusedError as error:
        click.echo(f"{Status.FAILS}  archive: {error}")
        raise click.exceptions.Exit(1) from error
    rows = print_verification(evidence, resources, options.tolerance)
    counts = Counter(finding.status for row in rows for finding in row.findings)
    click.echo(", ".join(f"{counts[status]} {status}" for status in Status if counts[status]))
    if counts[Status.FAILS]:
        raise click.exceptions.Exit(1)


def resources_of(options: ResourceOptions) -> Resources:
    """Return what evidence is checked with, as the options of a verb have it."""
    networks = tuple(checkpoint(str(file), options.data) for file in options.checkpoints)
    return Resources(discover(options.plugins), options.data, networks, options.suites, options.device)


def print_verification(evidence: Evidence, resources: Resources, tolerance: float | None) -> list[VerifiedRow]:
    """Verify evidence and return its rows; each finding is printed as soon as its row is verified."""
    description = evidence.description
    if description.by or description.note:
        note = f": {description.note}" if description.note else ""
        click.echo(f"handed in by {description.by or 'somebody'}{note}")
    rows = []
    for row in verify_rows(evidence, resources, TOLERANCE if tolerance is None else tolerance):
        rows.append(row)
        click.echo(f"row {len(rows)}: {row.row.said.title}")
        for finding in row.findings:
            click.echo(f"  {finding.line}")
    click.echo("No archive shows on which images a network was trained, or that nobody could attack better.")
    return rows
