"""`oodbench check`: results compared with a reference, and the verdicts printed; or the reference updated."""

from collections import Counter
from collections.abc import Collection, Container, Mapping, Sequence
from dataclasses import replace
from math import isnan, nan
from pathlib import Path
from xml.etree import ElementTree

import click
import pandas as pd

from oodbench.basics.errors import OodbenchError, unknown
from oodbench.basics.files import update_alone, write_atomic
from oodbench.basics.words import in_one_line
from oodbench.cli.check import CheckOptions
from oodbench.cli.terminal import warn
from oodbench.registry import discover
from oodbench.results import reference, tables
from oodbench.results.bundling import write_bundles
from oodbench.results.check import Status, Verdict, worst_first
from oodbench.results.check import check as compare
from oodbench.results.folder import find_results
from oodbench.results.store import Cell
from oodbench.results.updating import cells_behind, replaced_networks, update_reference
from oodbench.suitefiles import suitefile


def check(options: CheckOptions) -> None:
    """Compare results with a reference and print verdicts, or write what was measured into it (--update)."""
    results = find_results(options.results)
    for line in results.left_out:
        warn(line)
    registry = discover(options.plugins)
    suites = {
        name: suitefile.read(name) for name in options.suites if name.endswith(".toml") or name in suitefile.names()
    }
    # Any other name may be that of a suite whose file is elsewhere: the reference and the results speak of it.
    suite_names = [suites[name].name if name in suites else name for name in options.suites]
    wanted = {"suite": suite_names, "detector": options.names, "task": options.tasks}
    cells = [cell for cell in results.cells if _is_wanted(cell, wanted)]
    if options.update:
        measured = _current_figures(tables.tidy(cells, registry), options.tasks)
        _update(Path(options.file), measured)
        if options.scores:
            _bundle(_cells_behind(measured, cells), options.scores)
        return
    shipped = {name: suitefile.read(name) for name in suitefile.names()}
    suites_today = shipped | {suite.name: suite for suite in suites.values()}
    rows = _wanted_rows(reference.read(Path(options.file)), wanted, options.file)
    verdicts = compare(cells, rows, registry, suites_today)
    unread = [Verdict(str(path), Status.NOT_COMPARABLE, nan, nan, 0.0, why) for path, why in results.broken.items()]
    verdicts = worst_first([*verdicts, *unread, *_verdicts_on_unknown_code(cells, rows, registry)])
    verdicts = [_printable(verdict) for verdict in verdicts]
    bad = {Status.FAIL} | (set() if options.lenient else {Status.MISSING, Status.NOT_COMPARABLE})
    if options.junit:
        write_atomic(options.junit, _junit(verdicts, bad))
    _print_verdicts(verdicts, bad, options.form)
    _end(verdicts, bad, options.file)


def _printable(verdict: Verdict) -> Verdict:
    """Return the verdict in one line: a line of its own, out of a name or a failure, could command what runs a CI."""
    return replace(verdict, name=in_one_line(verdict.name), why=in_one_line(verdict.why))


def _update(file: Path, measured: pd.DataFrame) -> None:
    """Write what was measured into a reference, which is begun where there is none."""
    if str(file) in reference.SHIPPED:
        raise OodbenchError(f"--update needs a file of yours to write to, and '{file}' comes with oodbench")
    with update_alone(file):
        known = reference.read(file) if file.is_file() else None
        rows = update_reference(known, measured)
        for name in replaced_networks(known, rows) if known is not None else ():
            warn(f"{file} had figures of another network that is called {name}, by its digest: these take their place")
        reference.write(rows, file)
    click.echo(f"{file}: {len(rows)} figures, {len(rows) - (0 if known is None else len(known))} of them new")


def _bundle(cells: Sequence[Cell], folder: Path) -> None:
    """Write the scores themselves into the folder, one file for each suite."""
    for bundle in write_bundles(cells, folder):
        click.echo(f"{bundle}: {bundle.stat().st_size / 1e6:.1f} MB of scores")


def _print_verdicts(verdicts: Sequence[Verdict], bad: Collection[Status], form: str) -> None:
    """Print the verdicts; in the form "github" with an annotation for each bad one."""
    for line in _lines(verdicts, bad):
        click.echo(line)
    for verdict in verdicts if form == "github" else ():
        if verdict.status in bad:
            click.echo(f"::error title=oodbench check::{_escape_annotation(f'{verdict.status}: {verdict.text}')}")


def _end(verdicts: Sequence[Verdict], bad: Collection[Status], file: str) -> None:
    """Raise an error where nothing was compared, and leave with exit code 1 where something is bad."""
    if all(isnan(verdict.measured) for verdict in verdicts):
        raise OodbenchError(
            f"nothing was compared with {file}: what was measured is not what its figures are of, see above; run what "
            "they name, or write new ones with --update"
        )
    bad_found = {verdict.status for verdict in verdicts} & {*bad}
    if bad_found == {Status.MISSING}:
        click.echo("All that was measured holds: --suite, --detector and --task say which part was run.", err=True)
    if bad_found:
        raise click.exceptions.Exit(1)


def _verdicts_on_unknown_code(cells: Sequence[Cell], rows: pd.DataFrame, known: Container[str]) -> list[Verdict]:
    """Return a verdict for each detector of a reference whose results are of code that nobody can look at here."""
    measured = {str(about["detector"]) for about in (cell.attributes() for cell in cells) if about.get("code")}
    why = "no detector is called so here, so whether its code is still the same is not known: give its file by --plugin"
    return [
        Verdict(name, Status.NOT_COMPARABLE, nan, nan, 0.0, why)
        for name in sorted(measured & set(rows["detector"]))
        if name not in known
    ]


def _current_figures(frame: pd.DataFrame, tasks: Sequence[str]) -> pd.DataFrame:
    """Return the figures that a reference may hold: of `tasks`, if some are named, and of code that is still the same.

    What is left out is printed as warnings.

    Raises:
        OodbenchError: there is no such figure.
    """
    outdated = frame["current"] == "no"
    for cell in frame.loc[outdated, "cell"].unique():
        warn(f"left out: {cell} was made by other code than today's: run it again")
    for row in frame[~outdated & (frame["failed"] != "")].drop_duplicates("cell").itertuples():
        warn(f"left out: what {row.cell} has not got to, for it failed: {row.failed}")
    for name in frame[(frame["current"] == "") & (frame["code"] != "")]["detector"].unique():
        warn(
            f"no detector is called {name} here, so no check will know whether its code is still the same: give its "
            "file by --plugin"
        )
    figures = frame[~outdated & (frame["task"].isin(tasks) if tasks else True)]
    scores = figures[(figures["ood"] != "") & (figures["metric"] != tables.FAILURE)]
    if doubted := tables.disqualified_figures(tables.find_flags(scores)):
        subject = "1 task of a detector is" if len(doubted) == 1 else f"{len(doubted)} tasks of detectors are"
        warn(
            f"{subject} flagged as not to be believed, or as too good by more than a point; the "
            "reference takes them as they are, and `oodbench table --long` says which and why"
        )
    if figures.empty:
        raise OodbenchError("there is nothing to write a reference from: these results hold nothing of what was asked")
    return figures


def _cells_behind(frame: pd.DataFrame, cells: Sequence[Cell]) -> list[Cell]:
    """Return those of `cells` whose figures a reference takes from a frame."""
    names = cells_behind(frame)
    return [cell for cell, name in zip(cells, tables.cell_names(cells), strict=True) if name in names]


def _wanted_rows(rows: pd.DataFrame, wanted: Mapping[str, Sequence[str]], file: str) -> pd.DataFrame:
    """Return the rows of a reference on the wanted suites, detectors and tasks; all rows where none is named.

    Raises:
        OodbenchError: the reference has no such row.
    """
    for column, names in wanted.items():
        for name in names:
            if name not in set(rows[column]):
                raise unknown(f"{column} of {file}", name, {text for text in rows[column] if text})
        rows = rows[rows[column].isin(names)] if names else rows
        if rows.empty:
            raise OodbenchError(f"{file} has no figure that is all of this: {wanted}")
    return rows


def _is_wanted(cell: Cell, wanted: Mapping[str, Sequence[str]]) -> bool:
    """Return whether a cell is of a suite and a detector that are wanted."""
    about = cell.attributes()
    return all(not wanted[name] or about[name] in wanted[name] for name in ("suite", "detector"))


def _lines(verdicts: Sequence[Verdict], bad: Collection[Status]) -> list[str]:
    """Return a line for each verdict that is bad, better or not comparable, in their order, and one with counts."""
    counts = Counter(verdict.status for verdict in verdicts)
    named = [verdict for verdict in verdicts if verdict.status in {*bad, Status.NOT_COMPARABLE, Status.BETTER}]
    lines = [f"{_mark(verdict.status, bad)}  {verdict.text}" for verdict in named]
    parts = [f"{counts[status]} {status}" for status in reversed(Status) if counts[status]]
    return [*lines, f"{len(verdicts)} figures: {', '.join(parts)}"]


def _mark(status: Status, bad: Collection[Status]) -> str:
    return str(status).upper() if status in bad else str(status)


def _escape_annotation(text: str) -> str:
    """Escape the message of an annotation as GitHub wants it."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _junit(verdicts: Sequence[Verdict], bad: Collection[Status]) -> bytes:
    """Return the verdicts as JUnit XML, a test case for each."""
    failures = sum(verdict.status in bad for verdict in verdicts)
    uncompared = {Status.MISSING, Status.NOT_COMPARABLE} - {*bad}
    skipped = sum(verdict.status in uncompared for verdict in verdicts)
    counts = {"tests": len(verdicts), "failures": failures, "errors": 0, "skipped": skipped}
    suite = ElementTree.Element("testsuite", {"name": "oodbench check", **{key: str(n) for key, n in counts.items()}})
    for verdict in verdicts:
        case = ElementTree.SubElement(suite, "testcase", {"classname": "oodbench", "name": verdict.name})
        if verdict.status in bad:
            ElementTree.SubElement(case, "failure", {"message": f"{verdict.status}: {verdict.text}"})
        elif verdict.status in uncompared:
            ElementTree.SubElement(case, "skipped", {"message": f"{verdict.status}: {verdict.why}"})
    root = ElementTree.Element("testsuites")
    root.append(suite)
    text: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return text
