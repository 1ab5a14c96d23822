"""`oodbench board`: each of its verbs, carried out."""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Unpack

import click

from oodbench.basics.errors import OodbenchError
from oodbench.basics.files import alone_with, atomic, write_atomic
from oodbench.board import adding, entries, page
from oodbench.board.archive import load
from oodbench.board.at_hand import Resources
from oodbench.board.description import RefusedError
from oodbench.board.findings import Status
from oodbench.board.verifying import TOLERANCE, verify
from oodbench.cli.work.evidencing import AtHand, resources_of, told


def add(file: Path, folder: Path, url: str, tolerance: float | None, **at_hand: Unpack[AtHand]) -> None:
    """See `oodbench.cli.board.add`."""
    resources = resources_of(at_hand)
    if not _begun(folder) and folder.is_dir() and any(not one.name.startswith(".") for one in folder.iterdir()):
        raise OodbenchError(f"{folder} is no board, and there is something in it: name an empty folder, or a new one")
    try:
        found = load(file)
        seen = told(found, resources, tolerance)
        with alone_with(folder / entries.ABOUT):
            about, begun = entries.read_about(folder), _begun(folder)  # somebody may have begun it meanwhile
            present = entries.read(folder) if begun else []
            made = adding.changes(found, seen, present, about, url)
            if not begun:
                entries.write_about(folder, about)
            adding.land(folder, file, found, made, url)
            _render(folder, folder)
    except (RefusedError, adding.NotAcceptedError) as error:
        click.echo(f"not accepted: {error}", err=True)
        raise click.exceptions.Exit(1) from error
    for one in made:
        click.echo(one.said)


def _begun(folder: Path) -> bool:
    return (folder / entries.ABOUT).is_file()


def check(folder: Path, tolerance: float | None, **at_hand: Unpack[AtHand]) -> None:
    """See `oodbench.cli.board.check`."""
    resources = resources_of(at_hand)
    present = entries.read(folder)
    archives = {one.sha256: one for entry in present for one in entry.evidence}
    bad = False
    for sha256, accepted in archives.items():
        file = adding.archive(folder, sha256)
        if not file.is_file() and accepted.url:
            click.echo(f"{Status.UNCHECKED:<13}  {accepted.name}: it lies at {accepted.url}")
            continue
        for status, line in _against(file, sha256, present, resources, tolerance):
            bad |= status == Status.FAILS
            click.echo(f"{status:<13}  {line}")
    if bad:
        raise click.exceptions.Exit(1)


def _against(
    file: Path, sha256: str, present: Sequence[entries.Entry], resources: Resources, tolerance: float | None
) -> Iterator[tuple[Status, str]]:
    """What comes of each entry beside an archive of its evidence."""
    try:
        found = load(file)
    except OodbenchError as error:
        yield Status.FAILS, f"{file.name}: {error}"
        return
    if found.sha256 != sha256:
        yield Status.FAILS, f"{file.name}: it is another archive than its name says"
        return
    seen = list(verify(found, resources, TOLERANCE if tolerance is None else tolerance))
    about = [(each, one) for each in present for one in each.evidence if one.sha256 == sha256]
    for entry, one in about:
        where = f"{entry.name}, {one.name}, row {one.row}"
        row = seen[one.row - 1] if 0 < one.row <= len(seen) else None
        if row is None:
            yield Status.FAILS, f"{where}: there is no such row"
        elif row.amiss:
            yield row.amiss.status, f"{where}: {row.amiss.what}: {row.amiss.said}"
        else:
            why = adding.unlike(entry, one, row)
            yield Status.FAILS if why else Status.HOLDS, where + (f": {why}" if why else "")


def show(folder: Path, history: bool) -> None:
    """See `oodbench.cli.board.show`."""
    found = entries.read(folder)
    click.echo(page.histories(found) if history else page.text(found))


def render(folder: Path, out: Path | None) -> None:
    """See `oodbench.cli.board.render`."""
    count = _render(folder, out or folder)
    click.echo(f"{(out or folder) / 'index.html'}: {count} entries")


def _render(folder: Path, out: Path) -> int:
    found = entries.read(folder)
    write_atomic(out / "entries.csv", page.table(found))
    write_atomic(out / "index.html", page.html(entries.read_about(folder), found))
    if out.absolute() != folder.absolute():
        for one in {one.sha256 for entry in found for one in entry.evidence if not one.url}:
            source, target = adding.archive(folder, one), adding.archive(out, one)
            with atomic(target, source.stat().st_size) as temporary:
                shutil.copyfile(source, temporary)
    return len(found)
