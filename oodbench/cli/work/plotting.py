"""`oodbench plot`: results as a figure, drawn and written."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from oodbench.basics.errors import OodbenchError
from oodbench.basics.files import write_atomic
from oodbench.cli.plotting import FORMS
from oodbench.registry import discover
from oodbench.results.folder import find, only
from oodbench.results.report import boards, plots
from oodbench.results.report.model import Board
from oodbench.results.report.undrawn import undrawn
from oodbench.results.store import Cell


def plot(
    results: Path,
    kind: str,
    task: str,
    metric: str,
    detectors: tuple[str, ...],
    suite: str | None,
    images: int | None,
    output: Path,
    data: Path,
    plugins: tuple[Path, ...],
) -> None:
    """See `oodbench.cli.plotting.plot`."""
    form = output.suffix.removeprefix(".").lower()
    if form not in FORMS:
        raise OodbenchError(f"{output}: a figure is {', '.join(f'.{each}' for each in FORMS)}; name the file so")
    found = find(results)
    for line in found.left_out:
        click.echo(f"WARNING: {line}", err=True)
    cells = only(found.cells, "detector", detectors)
    if not suite and len(names := sorted({str(cell.attributes()["suite"]) for cell in cells})) > 1:
        raise OodbenchError(f"the folder holds results on {', '.join(names)}: choose one with --suite")
    cells = _on(only(cells, "suite", (suite,) if suite else ()), images)
    found_boards = boards(cells, data, discover(plugins))
    board = plots.in_order(_board(found_boards, kind, task), detectors)
    drawn = plots.KINDS[kind](board, task, metric)
    for line in _left_out(cells, found_boards, board, undrawn(board, kind, task, metric)):
        click.echo(f"WARNING: not drawn: {line}", err=True)
    write_atomic(output, plots.written(drawn, form))
    click.echo(f"{output.resolve()}: {board.suite}, {board.extent}")


def _board(found: Sequence[Board], kind: str, task: str) -> Board:
    """The first board, of a whole suite if something is, that knows the task; the first of all where none does."""
    known = [board for board in found if any(task in (each.name, each.point) for each in board.tasks)]
    return found[0] if kind == "bars" else (known or found)[0]


def _left_out(cells: Sequence[Cell], found: Sequence[Board], board: Board, undrawn: Sequence[str]) -> Iterator[str]:
    """A line for all that a figure does not show of what it was asked for: other boards, rows, detectors."""
    others = [other.extent for other in found if other.extent != board.extent]
    if others:
        choice = len({int(cell.attributes()["images"]) for cell in cells}) > 1
        yield f"{'; '.join(others)}{' (--images N chooses)' if choice else ''}"
    yield from undrawn
    troubled = [one for each in found for one in each.troubled]
    yield from (f"{name}: {why}" for name, why in troubled)
    known = {row.detector for each in found for row in each.rows} | {name.partition(" (")[0] for name, _ in troubled}
    for name in sorted({str(cell.attributes()["detector"]) for cell in cells} - known):
        yield f"{name}: no OOD image has a score yet"


def _on(cells: Sequence[Cell], images: int | None) -> Sequence[Cell]:
    """Those on so many images of each OOD set; all of them if `images` is None."""
    if images is None:
        return cells
    there = sorted({int(cell.attributes()["images"]) for cell in cells})
    if images not in there:
        raise OodbenchError(f"no result is on {images} images of each OOD set: choose {', '.join(map(str, there))}")
    return [cell for cell in cells if cell.attributes()["images"] == images]
