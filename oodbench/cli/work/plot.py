"""`oodbench plot`: results as a figure, drawn and written."""

from collections.abc import Iterator, Sequence

import click

from oodbench.basics.errors import OodbenchError
from oodbench.basics.files import write_atomic
from oodbench.cli.plot import FORMS, PlotOptions
from oodbench.cli.terminal import warn
from oodbench.registry import discover
from oodbench.results.folder import find_results, select_cells
from oodbench.results.report import boards, plots
from oodbench.results.report.model import Board
from oodbench.results.report.undrawn import undrawn_lines
from oodbench.results.store import Cell


def plot(options: PlotOptions) -> None:
    """Draw the figure, write it, and warn of what it leaves out."""
    form = options.output.suffix.removeprefix(".").lower()
    if form not in FORMS:
        raise OodbenchError(f"{options.output}: a figure is {', '.join(f'.{one}' for one in FORMS)}; name the file so")
    results = find_results(options.results)
    for line in results.left_out:
        warn(line)
    cells = select_cells(results.cells, "detector", options.detectors)
    if not options.suite and len(names := sorted({str(cell.attributes()["suite"]) for cell in cells})) > 1:
        raise OodbenchError(f"the folder holds results on {', '.join(names)}: choose one with --suite")
    cells = _on_images(select_cells(cells, "suite", (options.suite,) if options.suite else ()), options.images)
    all_boards = boards(cells, options.data, discover(options.plugins))
    kind, task, metric = options.kind, options.task, options.metric
    board = plots.select_rows(_board(all_boards, kind, task), options.detectors)
    figure = plots.KINDS[kind](board, task, metric)
    for line in _left_out(cells, all_boards, board, undrawn_lines(board, kind, task, metric)):
        warn(f"not drawn: {line}")
    write_atomic(options.output, plots.figure_bytes(figure, form))
    click.echo(f"{options.output.resolve()}: {board.suite}, {board.extent}")


def _board(all_boards: Sequence[Board], kind: str, task: str) -> Board:
    """Return the first board, of a whole suite if there is one, that knows the task; the first of all if none does."""
    known = [board for board in all_boards if any(task in (one.name, one.point) for one in board.tasks)]
    return all_boards[0] if kind == "bars" else (known or all_boards)[0]


def _left_out(
    cells: Sequence[Cell], all_boards: Sequence[Board], board: Board, undrawn_rows: Sequence[str]
) -> Iterator[str]:
    """Yield a line for all that the figure was asked for and does not show: other boards, rows, detectors."""
    others = [other.extent for other in all_boards if other.extent != board.extent]
    if others:
        choice = len({int(cell.attributes()["images"]) for cell in cells}) > 1
        yield f"{'; '.join(others)}{' (--images N chooses)' if choice else ''}"
    yield from undrawn_rows
    troubled = [failure for board in all_boards for failure in board.troubled]
    yield from (f"{name}: {why}" for name, why in troubled)
    known = {row.detector for board in all_boards for row in board.rows} | {
        name.partition(" (")[0] for name, _ in troubled
    }
    for name in sorted({str(cell.attributes()["detector"]) for cell in cells} - known):
        yield f"{name}: no OOD image has a score yet"


def _on_images(cells: Sequence[Cell], images: int | None) -> Sequence[Cell]:
    """Return the results on so many images of each OOD set; all of them if `images` is None."""
    if images is None:
        return cells
    counts = sorted({int(cell.attributes()["images"]) for cell in cells})
    if images not in counts:
        raise OodbenchError(f"no result is on {images} images of each OOD set: choose {', '.join(map(str, counts))}")
    return [cell for cell in cells if cell.attributes()["images"] == images]
