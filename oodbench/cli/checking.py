"""`oodbench check`: do figures still hold?"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import click

from oodbench import reference, tables
from oodbench.check import Status, Verdict, updated
from oodbench.check import check as compare
from oodbench.cli.options import Examples, plugin_option
from oodbench.cli.results import results_argument
from oodbench.errors import OodbenchError
from oodbench.files import write_atomic
from oodbench.found import find
from oodbench.registry import discover


@click.command(
    cls=Examples,
    examples=(
        "oodbench check results/ --reference mine.csv --update",
        "oodbench check results/ --reference mine.csv --junit check.xml",
    ),
)
@results_argument
@click.option(
    "--reference",
    "file",
    metavar="FILE|NAME",
    required=True,
    help="CSV file, or 'measured' or 'published', which come with oodbench.",
)
@click.option("--update", is_flag=True, help="Write what was measured into the reference instead, or begin one.")
@click.option("--strict", is_flag=True, help="Figures that are missing or not comparable fail as well.")
@click.option("--junit", type=click.Path(path_type=Path), metavar="FILE", help="Verdicts for CI systems, too.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "github"]),
    default="text",
    show_default=True,
    help="'github' adds annotations that GitHub Actions shows.",
)
@plugin_option
def check(
    results: Path, file: str, update: bool, strict: bool, junit: Path | None, form: str, plugins: tuple[Path, ...]
) -> None:
    """Hold results against reference figures. Exit code 1 if one is worse than the reference tolerates.

    Figures of another suite fingerprint, version, network or set of images are named as not comparable.
    """
    there = find(results)
    cells = there.cells
    for line in there.left_out:
        click.echo(f"WARNING: {line}", err=True)
    registry = discover(plugins)
    detectors = {name: registry[name] for name in registry.names()}
    if update:
        if file in reference.SHIPPED:
            raise OodbenchError(f"--update needs a file of yours to write to, and {file!r} comes with oodbench")
        known = reference.read(Path(file)) if Path(file).is_file() else None
        rows = updated(known, tables.tidy(cells, detectors))
        reference.write(rows, Path(file))
        click.echo(f"{file}: {len(rows)} figures, {len(rows) - (0 if known is None else len(known))} of them new")
        return
    verdicts = compare(cells, reference.read(Path(file)), detectors)
    bad = {Status.FAIL} | ({Status.MISSING, Status.NOT_COMPARABLE} if strict else set())
    if junit:
        write_atomic(junit, _junit(verdicts, bad))
    for line in _lines(verdicts, bad):
        click.echo(line)
    for verdict in verdicts if form == "github" else ():
        if verdict.status in bad:
            click.echo(f"::error title=oodbench check::{_escaped(f'{verdict.status}: {verdict.said}')}")
    if any(verdict.status in bad for verdict in verdicts):
        raise click.exceptions.Exit(1)


def _lines(verdicts: Sequence[Verdict], bad: set[Status]) -> list[str]:
    """What failed, worst first; then what is better or could not be compared; then counts."""
    counts = Counter(verdict.status for verdict in verdicts)
    named = [verdict for verdict in verdicts if verdict.status in {*bad, Status.NOT_COMPARABLE, Status.BETTER}]
    said = [f"{_mark(verdict.status, bad)}  {verdict.said}" for verdict in named]
    parts = [f"{counts[status]} {status}" for status in reversed(Status) if counts[status]]
    return [*said, f"{len(verdicts)} figures: {', '.join(parts)}"]


def _mark(status: Status, bad: set[Status]) -> str:
    return str(status).upper() if status in bad else str(status)


def _escaped(text: str) -> str:
    """As GitHub wants the message of an annotation."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _junit(verdicts: Sequence[Verdict], bad: set[Status]) -> bytes:
    """JUnit XML: a test case a figure."""
    failures = sum(verdict.status in bad for verdict in verdicts)
    uncompared = {Status.MISSING, Status.NOT_COMPARABLE} - bad
    skipped = sum(verdict.status in uncompared for verdict in verdicts)
    about = {"tests": len(verdicts), "failures": failures, "errors": 0, "skipped": skipped}
    suite = ElementTree.Element("testsuite", {"name": "oodbench check", **{key: str(n) for key, n in about.items()}})
    for verdict in verdicts:
        case = ElementTree.SubElement(suite, "testcase", {"classname": "oodbench", "name": verdict.name})
        if verdict.status in bad:
            ElementTree.SubElement(case, "failure", {"message": f"{verdict.status}: {verdict.said}"})
        elif verdict.status in uncompared:
            ElementTree.SubElement(case, "skipped", {"message": f"{verdict.status}: {verdict.why}"})
    whole = ElementTree.Element("testsuites")
    whole.append(suite)
    text: bytes = ElementTree.tostring(whole, encoding="utf-8", xml_declaration=True)
    return text
