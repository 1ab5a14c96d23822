"""`oodbench plot`: results as a figure, drawn and written."""

from collections.abc import Sequence
from pathlib import Path

import click

from oodbench.basics.errors import OodbenchError
from oodbench.basics.files import write_atomic
from oodbench.cli.plotting import FORMS
from oodbench.registry import discover
from oodbench.results.folder import find, only
from oodbench.results.report import boards, plots
from oodbench.results.report.model import Board
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
    board = _board(boards(cells, data, discover(plugins)), kind, task)
    drawn = plots.KINDS[kind](plots.in_order(board, detectors), task, metric)
    write_atomic(output, plots.written(drawn, form))
    click.echo(f"{output.resolve()}: {board.suite}, {board.extent}")


def _board(found: Sequence[Board], kind: str, task: str) -> Board:
    """The first board, of a whole suite if something is, that knows the task; the first of all where none does."""
    if kind == "bars":
        others = [other.extent for other in found[1:]]
        if others:
            click.echo(f"WARNING: not drawn: {'; '.join(others)} (--images N chooses)", err=True)
        return found[0]
    known = [board for board in found if any(task in (each.name, each.point) for each in board.tasks)]
    return (known or found)[0]


def _on(cells: Sequence[Cell], images: int | None) -> Sequence[Cell]:
    """Those on so many images of each OOD set; all of them if `images` is None."""
    if images is None:
        return cells
    there = sorted({int(cell.attributes()["images"]) for cell in cells})
    if images not in there:
        raise OodbenchError(f"no result is on {images} images of each OOD set: choose {', '.join(map(str, there))}")
    return [cell for cell in cells if cell.attributes()["images"] == images]
