"""`oodbench score`: images to lines, streamed; a file is whole or not there."""

import csv
import io
import json
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, TextIO

import click
import numpy as np

from oodbench.basics.errors import OodbenchError
from oodbench.basics.files import atomic
from oodbench.basics.progress import progress, written
from oodbench.basics.words import counted, in_full, printable
from oodbench.cli.work.deploying import refuse_to_overwrite
from oodbench.registry import discover
from oodbench.running.request import choose_device
from oodbench.scoring import detectorfile
from oodbench.scoring.deployed import DeployedDetector
from oodbench.scoring.serving import Served, served
from oodbench.sources.incoming import Incomers
from oodbench.statistics.conformal import discovery_limit

COLUMNS = ("file", "score", "p_value", "decision", "error")
"""Of a line."""

ID, OOD = "ID", "OOD"
"""Decisions."""

NAMED = 8
"""Broken images that are named at the end, too."""

Decide = Callable[[Served], str]


def score(
    images: tuple[str, ...],
    detector: Path,
    keep: float,
    delta: float,
    fdr: float | None,
    form: str,
    output: Path | None,
    replace: bool,
    network: str | None,
    device: str,
    data: Path,
    plugins: tuple[Path, ...],
    insisted: bool,
) -> None:
    """See `oodbench.cli.deploying.score`; `insisted` says that --keep or --delta was typed."""
    if output:
        refuse_to_overwrite(output, replace)
    made = detectorfile.load(detector, network, discover(plugins), choose_device(device))
    incomers = Incomers(made.input.preprocessing, made.input.side, data, _say)
    incomers.require(images)
    decide = _keeping(made, keep, delta, insisted) if fdr is None else None
    if fdr is not None:
        discovery_limit([], [], fdr)  # refused before the work
        made.p_values([])
    tally = Tally()
    with ExitStack() as stack:
        target = stack.enter_context(_opened(output)) if output else None
        # Lines on a terminal say themselves how far it is.
        shown = output is not None or not sys.stdout.isatty()
        advance = stack.enter_context(progress("scoring", None)) if shown else _unshown
        found = tally.counted(served(made, chain.from_iterable(map(incomers.of, images))), advance)
        lines = ((one, decide(one)) for one in found) if decide else _over_all(found, made, fdr or 0.0)
        _write(lines, form, target)
        if not tally.images:
            raise OodbenchError(f"there is no image in {', '.join(map(printable, images))}")
    tally.tell(output)
    if tally.broken:
        click.get_current_context().exit(1)


def _unshown(_: int) -> None:
    """Nobody is told."""


@dataclass
class Tally:
    """How many images there were, and which of them could not be scored."""

    images: int = 0
    broken: int = 0
    first: list[str] = field(default_factory=list)

    def counted(self, batches: Iterable[list[Served]], advance: Callable[[int], None]) -> Iterator[Served]:
        """The images of all batches."""
        for batch in batches:
            self.images += len(batch)
            for one in batch:
                if one.amiss:
                    self.broken += 1
                    self.first += [f"{one.name}: {one.amiss}"] * (len(self.first) < NAMED)
                yield one
            advance(len(batch))

    def tell(self, output: Path | None) -> None:
        """What came of it, to people."""
        where = f", in {output}" if output else ""
        _say(f"{counted(self.images - self.broken, 'image')} scored{where}")
        if self.broken:
            _say(f"{counted(self.broken, 'image')} could not be scored, and their lines say why:")
            for line in self.first:
                _say(f"  {printable(line)}")
            more = self.broken - len(self.first)
            if more:
                _say(f"  and {more:,} more")


def _keeping(made: DeployedDetector, keep: float, delta: float, insisted: bool) -> Decide:
    """Decide by a threshold that keeps a share of ID images."""
    try:
        threshold = made.threshold(keep, delta)
    except OodbenchError as error:
        if insisted:
            raise
        _say(f"no decisions: {error}")
        return lambda _: ""
    _say(f"OOD below {in_full(threshold.value)}: {threshold.promise}")
    return lambda one: "" if one.score is None else OOD if one.score < threshold.value else ID


def _over_all(found: Iterable[Served], made: DeployedDetector, fdr: float) -> Iterator[tuple[Served, str]]:
    """Decide over all images together, which wait in a file meanwhile: there may be more than fit into memory."""
    places = 1 + (0 if made.calibration is None else len(made.calibration))
    counts = np.zeros(places, np.int64)  # of the p-values 1 / places, 2 / places, ...
    with tempfile.TemporaryFile("w+", encoding="utf-8", prefix="oodbench-") as waiting:
        for one in found:
            if one.p_value is not None:
                counts[round(one.p_value * places) - 1] += 1
            waiting.write(json.dumps(asdict(one)) + "\n")
        waiting.seek(0)
        there = np.flatnonzero(counts)
        limit = discovery_limit((there + 1.0) / places, counts[there], fdr)
        called = int(counts[: round(limit * places)].sum()) if limit > 0 else 0
        _say(f"{counted(called, 'image')} called OOD; in expectation at most {100 * fdr:g} % of these are ID")
        for line in waiting:
            one = Served(**json.loads(line))
            yield one, "" if one.p_value is None else OOD if one.p_value <= limit else ID


@contextmanager
def _opened(output: Path) -> Iterator[TextIO]:
    """A file to write lines to, which is there when the block ends well, and not before."""
    with (
        atomic(output) as temporary,
        temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="") as stream,
    ):
        yield stream


def _write(lines: Iterable[tuple[Served, str]], form: str, target: TextIO | None) -> None:
    """Lines as they come; to standard output always whole ones."""
    rows = ({**_row(one), "decision": decision, "error": one.amiss} for one, decision in lines)
    if form == "csv":
        _put(_csv(dict(zip(COLUMNS, COLUMNS, strict=True))), target)
    for row in rows:
        _put(_csv({name: row[name] for name in COLUMNS}) if form == "csv" else _json(row), target)


def _put(line: str, target: TextIO | None) -> None:
    if target is None:
        click.echo(line, nl=False)
    else:
        target.write(line)


def _row(one: Served) -> dict[str, Any]:
    return {"file": one.name, "score": one.score, "p_value": one.p_value}


def _csv(row: dict[str, Any]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow("" if row[name] is None else row[name] for name in COLUMNS)
    return line.getvalue()


def _json(row: dict[str, Any]) -> str:
    return json.dumps({name: None if row[name] == "" else row[name] for name in COLUMNS}) + "\n"


def _say(line: str) -> None:
    with written():
        click.echo(line, err=True)
