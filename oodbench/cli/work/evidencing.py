"""`oodbench evidence` and `oodbench verify`, carried out."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict, Unpack

import click

from oodbench.basics.errors import OodbenchError
from oodbench.board import handed_in, making
from oodbench.board.archive import Evidence, Row, load, write
from oodbench.board.at_hand import Asked, Resources
from oodbench.board.description import RefusedError
from oodbench.board.findings import RowSeen, Status
from oodbench.board.verifying import TOLERANCE
from oodbench.board.verifying import verify as look
from oodbench.networks.network import Network
from oodbench.registry import discover
from oodbench.results.folder import find
from oodbench.sources.trained import checkpoint
from oodbench.suitefiles import settings, suitefile
from oodbench.training import pretrained as shelves


def evidence(
    results: Path | None,
    output: Path,
    suites: tuple[str, ...],
    names: tuple[str, ...],
    tasks: tuple[str, ...],
    file: Path | None,
    epsilon: int | None,
    norm: str,
    words: str,
    by: str,
    note: str,
    pretrained: bool,
    changes: bool,
    checkpoints: tuple[Path, ...],
    seed: int,
    limit: int | None,
    assignments: tuple[str, ...],
    device: str,
    data: Path,
    plugins: tuple[Path, ...],
) -> None:
    """See `oodbench.cli.evidence.evidence`."""
    files = tuple(Path(name) for name in suites if Path(name).suffix == ".toml")
    given = tuple(checkpoint(str(one), data) for one in checkpoints)
    resources = Resources(discover(plugins), data, given, files, device)
    keep = making.as_changes if changes else making.as_images
    if file is not None:
        assert epsilon is not None
        suite = suitefile.load(suites[0])
        changed = tuple(settings.parse(text) for text in assignments)
        asked = Asked(suite, resources.registry[names[0]], changed, "", limit or 0, seed)
        own = making.Own(norm, epsilon, words, handed_in.read(file))
        rows = [making.of_images(own, asked, resources, given[0] if given else _kept(asked, data), keep)]
    else:
        assert results is not None
        rows = _rows(results, [_named(name) for name in suites], names, tasks, resources, keep)
    made = making.joined(rows, by, note)
    write(output, made)
    _tell(output, made)


def _named(suite: str) -> str:
    """The name of a suite that is said by name or by its file; a name may have a dot in it."""
    return Path(suite).stem if Path(suite).suffix == ".toml" else suite


def _kept(asked: Asked, data: Path) -> Path:
    suite, detector = asked.applied()
    choice = shelves.choose(suite, detector.objective(), asked.seed, data)
    if choice.file is None:
        raise OodbenchError(f"there is no kept network of {detector.name} on {suite.name}: {choice.why}")
    return choice.file


def _rows(
    results: Path,
    suites: Sequence[str],
    names: Sequence[str],
    tasks: Sequence[str],
    resources: Resources,
    keep: making.Keep,
) -> list[tuple[Row, Network]]:
    there = find(results)
    for line in there.left_out:
        click.echo(f"WARNING: {line}", err=True)
    rows: list[tuple[Row, Network]] = []
    for cell in there.cells:
        about = cell.attributes()
        if (suites and about["suite"] not in suites) or (names and about["detector"] not in names):
            continue
        if attacks := making.attacks_in(cell, tasks):
            rows += making.of_result(cell, attacks, resources, _warn, keep)
    if not rows:
        raise OodbenchError(
            f"{results} holds no attack of what was asked for: evidence is of attacks on OOD images in a ball, such as "
            "`oodbench run --suite digits-adv --detector msp --pretrained --task linf-adaptive --keep-images` makes"
        )
    return rows


def _warn(line: str) -> None:
    click.echo(f"WARNING: {line}", err=True)


def _tell(output: Path, made: Evidence) -> None:
    for said in made.description.rows:
        each = ", ".join(f"{one.name} {100 * one.auroc:.2f}" for one in said.sets)
        click.echo(f"{said.title}: {said.sets[0].count} images of each set, AUROC {each}")
    carried = f", {len(made.networks)} networks" if made.networks else ""
    rows = len(made.rows)
    click.echo(f"{output}: {rows} row{'s' * (rows != 1)}{carried}, {output.stat().st_size / 1e6:.1f} MB")


class AtHand(TypedDict):
    """Options of every verb that checks evidence: what may be there to check it with."""

    checkpoints: tuple[Path, ...]
    suites: tuple[Path, ...]
    device: str
    data: Path
    plugins: tuple[Path, ...]


def resources_of(options: AtHand) -> Resources:
    """What evidence is checked with, as a verb was told."""
    data = options["data"]
    given = tuple(checkpoint(str(one), data) for one in options["checkpoints"])
    return Resources(discover(options["plugins"]), data, given, options["suites"], options["device"])


def verify(file: Path, tolerance: float | None, **at_hand: Unpack[AtHand]) -> None:
    """See `oodbench.cli.evidence.verify`."""
    resources = resources_of(at_hand)
    try:
        found = load(file)
    except RefusedError as error:
        click.echo(f"{Status.FAILS}  archive: {error}")
        raise click.exceptions.Exit(1) from error
    seen = told(found, resources, tolerance)
    counts = Counter(finding.status for one in seen for finding in one.findings)
    click.echo(", ".join(f"{counts[status]} {status}" for status in Status if counts[status]))
    if counts[Status.FAILS]:
        raise click.exceptions.Exit(1)


def told(found: Evidence, resources: Resources, tolerance: float | None) -> list[RowSeen]:
    """What comes of verifying evidence, printed line by line as it is known."""
    said = found.description
    if said.by or said.note:
        click.echo(f"handed in by {said.by or 'somebody'}{f': {said.note}' if said.note else ''}")
    seen = []
    for one in look(found, resources, TOLERANCE if tolerance is None else tolerance):
        seen.append(one)
        click.echo(f"row {len(seen)}: {one.row.said.title}")
        for finding in one.findings:
            click.echo(f"  {finding.line}")
    click.echo("No archive shows on which images a network was trained, or that nobody could attack better.")
    return seen
