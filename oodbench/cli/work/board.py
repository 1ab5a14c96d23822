"""`oodbench board`: each of its verbs, carried out."""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from oodbench.basics.errors import OodbenchError
from oodbench.basics.files import atomic, update_alone, write_atomic
from oodbench.board import adding, entries, page
from oodbench.board.archive import load
from oodbench.board.at_hand import Resources
from oodbench.board.description import RefusedError
from oodbench.board.findings import Status
from oodbench.board.verifying import TOLERANCE, verify
from oodbench.cli.board import AddOptions, CheckBoardOptions
from oodbench.cli.work.verify import print_verification, resources_of


def add(options: AddOptions) -> None:
    """Verify evidence, and write what it changes on the board; exit code 1 where the board does not take it."""
    resources, folder, url = resources_of(options), options.folder, options.url
    if not _has_begun(folder) and folder.is_dir() and any(not file.name.startswith(".") for file in folder.iterdir()):
        raise OodbenchError(f"{folder} is no board, and there is something in it: name an empty folder, or a new one")
    try:
        evidence = load(options.file)
        verified = print_verification(evidence, resources, options.tolerance)
        with update_alone(folder / entries.ABOUT):
            # Somebody may have begun the board meanwhile.
            about, begun = entries.read_about(folder), _has_begun(folder)
            present = entries.read(folder) if begun else []
            changes = adding.changes(evidence, verified, present, about, url)
            if not begun:
                entries.write_about(folder, about)
            adding.land(folder, options.file, evidence, changes, url)
            _render(folder, folder)
    except (RefusedError, adding.NotAcceptedError) as error:
        click.echo(f"not accepted: {error}", err=True)
        raise click.exceptions.Exit(1) from error
    for change in changes:
        click.echo(change.said)


def _has_begun(folder: Path) -> bool:
    """Return whether there is a board in the folder."""
    return (folder / entries.ABOUT).is_file()


def check(options: CheckBoardOptions) -> None:
    """Verify every archive of the board, and compare its entries with it; exit code 1 if something does not hold."""
    resources, folder = resources_of(options), options.folder
    present = entries.read(folder)
    archives = {accepted.sha256: accepted for entry in present for accepted in entry.evidence}
    bad = False
    for sha256, accepted in archives.items():
        file = adding.archive_file(folder, sha256)
        if not file.is_file() and accepted.url:
            click.echo(f"{Status.UNCHECKED:<13}  {accepted.name}: it lies at {accepted.url}")
            continue
        for status, line in _check_archive(file, sha256, present, resources, options.tolerance):
            bad |= status == Status.FAILS
            click.echo(f"{status:<13}  {line}")
    if bad:
        raise click.exceptions.Exit(1)


def _check_archive(
    file: Path, sha256: str, present: Sequence[entries.Entry], resources: Resources, tolerance: float | None
) -> Iterator[tuple[Status, str]]:
    """Verify an archive, and yield a line for each entry that rests on it: do its figures follow from it?"""
    try:
        evidence = load(file)
    except OodbenchError as error:
        yield Status.FAILS, f"{file.name}: {error}"
        return
    if evidence.sha256 != sha256:
        yield Status.FAILS, f"{file.name}: it is another archive than its name says"
        return
    rows = list(verify(evidence, resources, TOLERANCE if tolerance is None else tolerance))
    resting = [(entry, accepted) for entry in present for accepted in entry.evidence if accepted.sha256 == sha256]
    for entry, accepted in resting:
        where = f"{entry.name}, {accepted.name}, row {accepted.row}"
        row = rows[accepted.row - 1] if 0 < accepted.row <= len(rows) else None
        if row is None:
            yield Status.FAILS, f"{where}: there is no such row"
        elif row.amiss:
            yield row.amiss.status, f"{where}: {row.amiss.what}: {row.amiss.said}"
        else:
            why = adding.difference(entry, accepted, row)
            yield Status.FAILS if why else Status.HOLDS, where + (f": {why}" if why else "")


def show(folder: Path, history: bool) -> None:
    """Print the board's tables, or the history of its entries."""
    present = entries.read(folder)
    click.echo(page.histories(present) if history else page.text(present))


def render(folder: Path, out: Path | None) -> None:
    """Write the board's page and its table."""
    count = _render(folder, out or folder)
    click.echo(f"{(out or folder) / 'index.html'}: {count} entries")


def _render(folder: Path, out: Path) -> int:
    """Write a board's page and table to `out`, and copy its archives there; return how many entries there are."""
    present = entries.read(folder)
    write_atomic(out / "entries.csv", page.table(present))
    write_atomic(out / "index.html", page.html(entries.read_about(folder), present))
    if out.absolute() != folder.absolute():
        for sha256 in {accepted.sha256 for entry in present for accepted in entry.evidence if not accepted.url}:
            source, target = adding.archive_file(folder, sha256), adding.archive_file(out, sha256)
            with atomic(target, source.stat().st_size) as temporary:
                shutil.copyfile(source, temporary)
    return len(present)
