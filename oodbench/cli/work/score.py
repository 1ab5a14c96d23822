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
from oodbench.basics.progress import progress
from oodbench.basics.words import counted, in_full, printable
from oodbench.cli.score import ScoreOptions
from oodbench.cli.work.output import print_status, refuse_to_overwrite
from oodbench.registry import discover
from oodbench.running.request import choose_device
from oodbench.scoring import detectorfile
from oodbench.scoring.deployed import DeployedDetector
from oodbench.scoring.serving import Served, serve
from oodbench.sources.incoming import ImageInputs
from oodbench.statistics.conformal import discovery_limit

COLUMNS = ("file", "score", "p_value", "decision", "error")
"""Columns of a line."""

ID, OOD = "ID", "OOD"
"""The two decisions on an image."""

NAMED = 8
"""How many broken images are named at the end, too."""

Decide = Callable[[Served], str]
"""Return `ID`, `OOD`, or "" for an image on which nothing is decided."""


def score(options: ScoreOptions, threshold_required: bool) -> None:
    """Score images and write a line each; exit code 1 where an image could not be scored.

    Args:
        options: of the verb.
        threshold_required: whether --keep or --delta was typed, so that there is an error where no threshold can be
            had; otherwise there are no decisions then.
    """
    output, fdr = options.output, options.fdr
    if output:
        refuse_to_overwrite(output, options.replace)
    registry = discover(options.plugins)
    deployed = detectorfile.load(options.detector, options.network, registry, choose_device(options.device))
    incomers = ImageInputs(deployed.input.preprocessing, deployed.input.side, options.data, print_status)
    incomers.require(options.images)
    decide = _threshold_decision(deployed, options, threshold_required) if fdr is None else None
    if fdr is not None:
        discovery_limit([], [], fdr)  # refused before the work
        deployed.p_values([])
    tally = Tally()
    with ExitStack() as stack:
        target = stack.enter_context(_opened(output)) if output else None
        # Lines on a terminal say themselves how far it is.
        shown = output is not None or not sys.stdout.isatty()
        advance = stack.enter_context(progress("scoring", None)) if shown else _ignore_progress
        batches = serve(deployed, chain.from_iterable(map(incomers.images_behind, options.images)))
        images = tally.counted(batches, advance)
        if decide is None:
            decided = _decide_jointly(images, deployed, fdr or 0.0)
        else:
            decided = ((image, decide(image)) for image in images)
        _write(decided, options.form, target)
        if not tally.images:
            raise OodbenchError(f"there is no image in {', '.join(map(printable, options.images))}")
    tally.print_summary(output)
    if tally.broken:
        click.get_current_context().exit(1)


def _ignore_progress(_: int) -> None:
    """Do nothing."""


@dataclass
class Tally:
    """Counts the images, and keeps why the first broken ones could not be scored."""

    images: int = 0
    broken: int = 0
    first: list[str] = field(default_factory=list)

    def counted(self, batches: Iterable[list[Served]], advance: Callable[[int], None]) -> Iterator[Served]:
        """Yield the images of all batches, counted."""
        for batch in batches:
            self.images += len(batch)
            for image in batch:
                if image.amiss:
                    self.broken += 1
                    self.first += [f"{image.name}: {image.amiss}"] * (len(self.first) < NAMED)
                yield image
            advance(len(batch))

    def print_summary(self, output: Path | None) -> None:
        """Print how many images were scored, and which were not."""
        where = f", in {output}" if output else ""
        print_status(f"{counted(self.images - self.broken, 'image')} scored{where}")
        if self.broken:
            print_status(f"{counted(self.broken, 'image')} could not be scored, and their lines say why:")
            for line in self.first:
                print_status(f"  {printable(line)}")
            more = self.broken - len(self.first)
            if more:
                print_status(f"  and {more:,} more")


def _threshold_decision(deployed: DeployedDetector, options: ScoreOptions, required: bool) -> Decide:
    """Return a decision by the threshold that keeps a share of ID images; "" for all where none can be had.

    Raises:
        OodbenchError: none can be had, and it is required.
    """
    try:
        threshold = deployed.threshold(options.keep, options.delta)
    except OodbenchError as error:
        if required:
            raise
        print_status(f"no decisions: {error}")
        return lambda _: ""
    print_status(f"OOD below {in_full(threshold.value)}: {threshold.promise}")
    return lambda image: "" if image.score is None else OOD if image.score < threshold.value else ID


def _decide_jointly(images: Iterable[Served], deployed: DeployedDetector, fdr: float) -> Iterator[tuple[Served, str]]:
    """Decide over all images together, which wait in a file meanwhile: there may be more than fit into memory."""
    places = 1 + (0 if deployed.calibration is None else len(deployed.calibration))
    counts = np.zeros(places, np.int64)  # of the p-values 1 / places, 2 / places, ...
    with tempfile.TemporaryFile("w+", encoding="utf-8", prefix="oodbench-") as waiting:
        for image in images:
            if image.p_value is not None:
                counts[round(image.p_value * places) - 1] += 1
            waiting.write(json.dumps(asdict(image)) + "\n")
        waiting.seek(0)
        occupied = np.flatnonzero(counts)
        limit = discovery_limit((occupied + 1.0) / places, counts[occupied], fdr)
        called = int(counts[: round(limit * places)].sum()) if limit > 0 else 0
        print_status(f"{counted(called, 'image')} called OOD; in expectation at most {100 * fdr:g} % of these are ID")
        for line in waiting:
            image = Served(**json.loads(line))
            yield image, "" if image.p_value is None else OOD if image.p_value <= limit else ID


@contextmanager
def _opened(output: Path) -> Iterator[TextIO]:
    """Open a file to write lines to, which is there when the block ends well, and not before."""
    with (
        atomic(output) as temporary,
        temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="") as stream,
    ):
        yield stream


def _write(decided: Iterable[tuple[Served, str]], form: str, target: TextIO | None) -> None:
    """Write a line for each image and its decision as they come; to standard output always whole lines."""
    rows = (_row(image, decision) for image, decision in decided)
    if form == "csv":
        _write_line(_csv(dict(zip(COLUMNS, COLUMNS, strict=True))), target)
    for row in rows:
        _write_line(_csv(row) if form == "csv" else _json(row), target)


def _write_line(line: str, target: TextIO | None) -> None:
    if target is None:
        click.echo(line, nl=False)
    else:
        target.write(line)


def _row(image: Served, decision: str) -> dict[str, Any]:
    return dict(zip(COLUMNS, (image.name, image.score, image.p_value, decision, image.amiss), strict=True))


def _csv(row: dict[str, Any]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow("" if row[name] is None else row[name] for name in COLUMNS)
    return line.getvalue()


def _json(row: dict[str, Any]) -> str:
    return json.dumps({name: None if row[name] == "" else row[name] for name in COLUMNS}) + "\n"
