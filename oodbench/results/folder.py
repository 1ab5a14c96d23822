"""A results folder to the results in it: each measurement once, and what was left out, by name."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oodbench.basics.errors import OodbenchError, unknown
from oodbench.basics.words import printable
from oodbench.results import store
from oodbench.results.copies import Contents, Copy, copies_lines, find_copies
from oodbench.results.store import Cell, Scores
from oodbench.results.wellformed import format_problem

_COMMANDING = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


@dataclass(frozen=True)
class FolderContents:
    """The results in a folder, and the files that do not count.

    Attributes:
        cells: results that can be read, each measurement once, sorted by path.
        broken: why each other file is left out, by its path.
        copies: files that do not count since others have their scores.
    """

    cells: Sequence[Cell]
    broken: Mapping[Path, str]
    copies: Mapping[Path, Copy]

    @property
    def left_out(self) -> list[str]:
        """A line for people about each file, or folder of copies, that does not count."""
        return [*(f"left out: {why}" for why in self.broken.values()), *copies_lines(self.copies)]


def find_results(folder: Path) -> FolderContents:
    """The results below `folder`, but for those of its `reference` folder and hidden files.

    Every file is read once, so that what is amiss is named here and not halfway through a table.

    Raises:
        OodbenchError: there is no file, or none of them can be read.
    """
    broken: dict[Path, str] = {}
    contents: dict[Cell, Contents] = {}
    for cell in store.cells(folder):
        try:
            _require_plain_name(cell.path, folder)
            contents[cell] = Contents.of(cell, *read_result(cell))
        except OodbenchError as error:
            broken[cell.path] = printable(str(error))
    if not contents:
        raise OodbenchError("\n".join(broken.values()))
    kept, copies = find_copies(contents)
    return FolderContents(kept, broken, copies)


def select_cells(cells: Sequence[Cell], attribute: str, names: Sequence[str]) -> Sequence[Cell]:
    """Return the cells whose `attribute`, such as "detector", is one of `names`; all of them where none is named.

    Raises:
        OodbenchError: no cell has one of the names.
    """
    present = {str(cell.attributes()[attribute]) for cell in cells}
    for name in names:
        if name not in present:
            raise unknown(f"{attribute} among these results", name, present)
    return [cell for cell in cells if not names or cell.attributes()[attribute] in names]


def read_result(cell: Cell) -> tuple[dict[str, Any], list[Scores]]:
    """The attributes and scores of a cell that `oodbench run` wrote, without the images that it may have kept.

    Raises:
        OodbenchError: it cannot be read, or lacks what every run writes.
    """
    attributes: dict[str, Any] = dict(cell.attributes())
    groups = cell.scores()
    if problem := format_problem(attributes, groups):
        raise OodbenchError(
            f"{cell.path} is no result of `oodbench run` ({problem}): move it out of the results folder"
        )
    return attributes, groups


def _require_plain_name(path: Path, folder: Path) -> None:
    """OodbenchError if the name within `folder` commands a terminal or has several lines: archives hold any name."""
    if _COMMANDING.search(str(path.relative_to(folder))):
        raise OodbenchError(f"{path} has letters in its name that command a terminal: rename it")
