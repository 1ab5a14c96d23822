"""`oodbench check`: verdicts, and what becomes of them."""

from collections import Counter
from collections.abc import Collection, Container, Mapping, Sequence
from math import isnan, nan
from pathlib import Path
from xml.etree import ElementTree

import click
import pandas as pd

from oodbench.basics.errors import OodbenchError, unknown
from oodbench.basics.files import write_atomic
from oodbench.basics.words import printable
from oodbench.registry import discover
from oodbench.results import reference, tables
from oodbench.results.bundling import bundled
from oodbench.results.check import Status, Verdict, ordered
from oodbench.results.check import check as compare
from oodbench.results.folder import find
from oodbench.results.store import Cell
from oodbench.results.updating import cells_behind, updated
from oodbench.suitefiles import suitefile


def check(
    results: Path,
    file: str,
    update: bool,
    scores: Path | None,
    lenient: bool,
    suites: tuple[str, ...],
    names: tuple[str, ...],
    tasks: tuple[str, ...],
    junit: Path | None,
    form: str,
    plugins: tuple[Path, ...],
) -> None:
    """See `oodbench.cli.checking.check`."""
    there = find(results)
    for line in there.left_out:
        _warn(line)
    detectors = discover(plugins)
    known = {name: suitefile.read(name) for name in suites if name.endswith(".toml") or name in suitefile.names()}
    # Any other name may be that of a suite whose file is elsewhere: the reference and the results speak of it.
    meant = [known[name].name if name in known else name for name in suites]
    wanted = {"suite": meant, "detector": names, "task": tasks}
    cells = [cell for cell in there.cells if _asked(cell, wanted)]
    if update:
        measured = _of_today(tables.tidy(cells, detectors), tasks)
        _update(Path(file), measured)
        if scores:
            _keep(_behind(measured, cells), scores)
        return
    today = {name: suitefile.read(name) for name in suitefile.names()} | {suite.name: suite for suite in known.values()}
    rows = _only(reference.read(Path(file)), wanted, file)
    verdicts = compare(cells, rows, detectors, today)
    unread = [Verdict(str(path), Status.NOT_COMPARABLE, nan, nan, 0.0, why) for path, why in there.broken.items()]
    verdicts = ordered([*verdicts, *unread, *_of_unknown_code(cells, rows, detectors)])
    bad = {Status.FAIL} | (set() if lenient else {Status.MISSING, Status.NOT_COMPARABLE})
    if junit:
        write_atomic(junit, _junit(verdicts, bad))
    _say(verdicts, bad, form)
    _end(verdicts, bad, file)


def _update(file: Path, measured: pd.DataFrame) -> None:
    """Write what was measured into a reference, or begin one."""
    if str(file) in reference.SHIPPED:
        raise OodbenchError(f"--update needs a file of yours to write to, and '{file}' comes with oodbench")
    known = reference.read(file) if file.is_file() else None
    rows = updated(known, measured)
    reference.write(rows, file)
    click.echo(f"{file}: {len(rows)} figures, {len(rows) - (0 if known is None else len(known))} of them new")


def _keep(cells: Sequence[Cell], folder: Path) -> None:
    """Put the scores themselves into one file for each suite."""
    for bundle in bundled(cells, folder):
        click.echo(f"{bundle}: {bundle.stat().st_size / 1e6:.1f} MB of scores")


def _say(verdicts: Sequence[Verdict], bad: Collection[Status], form: str) -> None:
    for line in _lines(verdicts, bad):
        click.echo(line)
    for verdict in verdicts if form == "github" else ():
        if verdict.status in bad:
            click.echo(f"::error title=oodbench check::{_escaped(f'{verdict.status}: {verdict.said}')}")


def _end(verdicts: Sequence[Verdict], bad: Collection[Status], file: str) -> None:
    """Leave with an error where nothing was compared, and with exit code 1 where something is bad."""
    if all(isnan(verdict.measured) for verdict in verdicts):
        raise OodbenchError(
            f"nothing was compared with {file}: what was measured is not what its figures are of, see above; run what "
            "they name, or write new ones with --update"
        )
    found = {verdict.status for verdict in verdicts} & {*bad}
    if found == {Status.MISSING}:
        click.echo("All that was measured holds: --suite, --detector and --task say which part was run.", err=True)
    if found:
        raise click.exceptions.Exit(1)


def _of_unknown_code(cells: Sequence[Cell], rows: pd.DataFrame, known: Container[str]) -> list[Verdict]:
    """A verdict for each detector of a reference whose results are of code that nobody can look at here."""
    made = {str(about["detector"]) for about in (cell.attributes() for cell in cells) if about.get("code")}
    why = "no detector is called so here, so whether its code is still the same is not known: give its file by --plugin"
    return [
        Verdict(name, Status.NOT_COMPARABLE, nan, nan, 0.0, why)
        for name in sorted(made & set(rows["detector"]))
        if name not in known
    ]


def _of_today(frame: pd.DataFrame, tasks: Sequence[str]) -> pd.DataFrame:
    """What a reference may hold: figures of `tasks`, if some are named, made by code that is still the same."""
    other = frame["current"] == "no"
    for cell in frame.loc[other, "cell"].unique():
        _warn(f"left out: {cell} was made by other code than today's: run it again")
    for row in frame[~other & (frame["failed"] != "")].drop_duplicates("cell").itertuples():
        _warn(f"left out: what {row.cell} has not got to, for it failed: {printable(str(row.failed))}")
    for name in frame[(frame["current"] == "") & (frame["code"] != "")]["detector"].unique():
        _warn(
            f"no detector is called {name} here, so no check will know whether its code is still the same: give its "
            "file by --plugin"
        )
    found = frame[~other & (frame["task"].isin(tasks) if tasks else True)]
    scores = found[(found["ood"] != "") & (found["metric"] != tables.FAILURE)]
    if doubted := tables.disqualified(tables.flagged(scores)):
        said = "1 task of a detector is" if len(doubted) == 1 else f"{len(doubted)} tasks of detectors are"
        _warn(
            f"{said} flagged as not to be believed, or as too good by more than a point; the "
            "reference takes them as they are, and `oodbench table --long` says which and why"
        )
    if found.empty:
        raise OodbenchError("there is nothing to write a reference from: these results hold nothing of what was asked")
    return found


def _warn(said: str) -> None:
    click.echo(f"WARNING: {said}", err=True)


def _behind(frame: pd.DataFrame, cells: Sequence[Cell]) -> list[Cell]:
    """Those of `cells` whose figures a reference takes from a frame."""
    names = cells_behind(frame)
    return [cell for cell, name in zip(cells, tables.cell_names(cells), strict=True) if name in names]


def _only(rows: pd.DataFrame, wanted: Mapping[str, Sequence[str]], file: str) -> pd.DataFrame:
    """The rows of a reference of the suites, detectors and tasks that are wanted; all where none is named."""
    for column, names in wanted.items():
        for name in names:
            if name not in set(rows[column]):
                raise unknown(f"{column} of {file}", name, {text for text in rows[column] if text})
        rows = rows[rows[column].isin(names)] if names else rows
        if rows.empty:
            raise OodbenchError(f"{file} has no figure that is all of this: {wanted}")
    return rows


def _asked(cell: Cell, wanted: Mapping[str, Sequence[str]]) -> bool:
    """A cell of a suite and detector that are wanted."""
    about = cell.attributes()
    return all(not wanted[name] or about[name] in wanted[name] for name in ("suite", "detector"))


def _lines(verdicts: Sequence[Verdict], bad: Collection[Status]) -> list[str]:
    """What failed, worst first; then what is better or could not be compared; then counts."""
    counts = Counter(verdict.status for verdict in verdicts)
    named = [verdict for verdict in verdicts if verdict.status in {*bad, Status.NOT_COMPARABLE, Status.BETTER}]
    said = [f"{_mark(verdict.status, bad)}  {verdict.said}" for verdict in named]
    parts = [f"{counts[status]} {status}" for status in reversed(Status) if counts[status]]
    return [*said, f"{len(verdicts)} figures: {', '.join(parts)}"]


def _mark(status: Status, bad: Collection[Status]) -> str:
    return str(status).upper() if status in bad else str(status)


def _escaped(text: str) -> str:
    """As GitHub wants the message of an annotation."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _junit(verdicts: Sequence[Verdict], bad: Collection[Status]) -> bytes:
    """JUnit XML: a test case a figure."""
    failures = sum(verdict.status in bad for verdict in verdicts)
    uncompared = {Status.MISSING, Status.NOT_COMPARABLE} - {*bad}
    skipped = sum(verdict.status in uncompared for verdict in verdicts)
    about = {"tests": len(verdicts), "failures": failures, "errors": 0, "skipped": skipped}
    suite = ElementTree.Element("testsuite", {"name": "oodbench check", **{key: str(n) for key, n in about.items()}})
    for verdict in verdicts:
        case = ElementTree.SubElement(suite, "testcase", {"classname": "oodbench", "name": verdict.name})
        if verdict.status in bad:
            ElementTree.SubElement(case, "failure", {"message": f"{verdict.status}: {printable(verdict.said)}"})
        elif verdict.status in uncompared:
            ElementTree.SubElement(case, "skipped", {"message": f"{verdict.status}: {printable(verdict.why)}"})
    whole = ElementTree.Element("testsuites")
    whole.append(suite)
    text: bytes = ElementTree.tostring(whole, encoding="utf-8", xml_declaration=True)
    return text
