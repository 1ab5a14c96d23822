"""`oodbench board`: each of its verbs, carried out."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import click

from oodbench.basics.errors import OodbenchError
from oodbench.basics.files import alone_with, atomic, write_atomic
from oodbench.board import adding, entries, page
from oodbench.board.archive import load
from oodbench.board.at_hand import Resources
from oodbench.board.description import RefusedError
from oodbench.board.verifying import TOLERANCE, Status, verify
from oodbench.cli.work.evidencing import told
from oodbench.registry import discover
from oodbench.sources.trained import checkpoint


def add(
    file: Path,
    folder: Path,
    url: str,
    checkpoints: tuple[Path, ...],
    suites: tuple[Path, ...],
    tolerance: float | None,
    device: str,
    data: Path,
    plugins: tuple[Path, ...],
) -> None:
    """See `oodbench.cli.board.add`."""
    given = tuple(checkpoint(str(one), data) for one in checkpoints)
    resources = Resources(discover(plugins), data, given, suites, device)
    begun = folder.is_dir() and any(folder.iterdir())
    if begun and not (folder / entries.ABOUT).is_file():
        raise OodbenchError(f"{folder} is no board, and there is something in it: name an empty folder, or a new one")
    try:
        found = load(file)
        seen = told(found, resources, tolerance)
        with alone_with(folder / entries.ABOUT):
            about = entries.read_about(folder)
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


def check(
    folder: Path,
    checkpoints: tuple[Path, ...],
    suites: tuple[Path, ...],
    tolerance: float | None,
    device: str,
    data: Path,
    plugins: tuple[Path, ...],
) -> None:
    """See `oodbench.cli.board.check`."""
    given = tuple(checkpoint(str(one), data) for one in checkpoints)
    resources = Resources(discover(plugins), data, given, suites, device)
    present = entries.read(folder)
    archives = {one.sha256: one for entry in present for one in entry.evidence}
    bad = 0
    for sha256, accepted in archives.items():
        file = adding.archive(folder, sha256)
        if not file.is_file() and accepted.url:
            click.echo(f"{Status.UNCHECKED}  {accepted.name}: it lies at {accepted.url}")
            continue
        wrong = _against(file, sha256, present, resources, tolerance)
        bad += len(wrong)
        for line in wrong or [f"{Status.HOLDS}  {accepted.name}"]:
            click.echo(line)
    if bad:
        raise click.exceptions.Exit(1)


def _against(
    file: Path, sha256: str, present: Sequence[entries.Entry], resources: Resources, tolerance: float | None
) -> list[str]:
    """What entries say otherwise than an archive of their evidence, a line each."""
    try:
        found = load(file)
    except OodbenchError as error:
        return [f"{Status.FAILS}  {file.name}: {error}"]
    if found.sha256 != sha256:
        return [f"{Status.FAILS}  {file.name}: it is another archive than its name says"]
    seen = list(verify(found, resources, TOLERANCE if tolerance is None else tolerance))
    about = [(entry, one) for entry in present for one in entry.evidence if one.sha256 == sha256]
    said = [
        (entry, adding.unlike(entry, one, seen[one.row - 1]) if 0 < one.row <= len(seen) else "it has no such row")
        for entry, one in about
    ]
    return [f"{Status.FAILS}  {entry.name}, {file.name[:8]}: {why}" for entry, why in said if why]


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
