"""A results folder to the results in it: each measurement once, and what was left out, by name."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oodbench.basics.errors import OodbenchError, unknown
from oodbench.basics.files import digest
from oodbench.basics.words import printable
from oodbench.results import store
from oodbench.results.attributes import FAILED, FAILED_ON
from oodbench.results.store import Cell, Scores
from oodbench.results.wellformed import format_problem

UNKEYED = ("settings", "limit", "images", "parameters", "checkpoint", "network_digest", "code")
"""Attributes that stand for the key of a measurement where none was stored."""

_COMMANDING = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_CANONICAL = re.compile(r"seed\d+-[0-9a-f]{12}")

Measurement = tuple[str, ...]
"""The identity of one group of scores: what was measured, with which key, and the digest of the scores."""


@dataclass(frozen=True)
class FolderContents:
    """The results in a folder, and the files that do not count.

    Attributes:
        cells: results that can be read, each measurement once, sorted by path.
        broken: why each other file is left out, by its path.
        copies: files that are copies of others, with the file that counts.
    """

    cells: Sequence[Cell]
    broken: Mapping[Path, str]
    copies: Mapping[Path, Path]

    @property
    def left_out(self) -> list[str]:
        """A line for people about each file, or folder of copies, that does not count."""
        return [*(f"left out: {why}" for why in self.broken.values()), *_copies_lines(self.copies)]


def find_results(folder: Path) -> FolderContents:
    """The results below `folder`, but for those of its `reference` folder and hidden files.

    Every file is read once, so that what is amiss is named here and not halfway through a table.

    Raises:
        OodbenchError: there is no file, or none of them can be read.
    """
    broken: dict[Path, str] = {}
    measured: dict[Cell, frozenset[Measurement]] = {}
    canonical: dict[Cell, bool] = {}
    for cell in store.cells(folder):
        try:
            _require_plain_name(cell.path, folder)
            attributes, groups = read_result(cell)
        except OodbenchError as error:
            broken[cell.path] = printable(str(error))
        else:
            measured[cell] = _measurements(cell, attributes, groups)
            canonical[cell] = _is_canonical(cell.path, attributes)
    if not measured:
        raise OodbenchError("\n".join(broken.values()))
    # What was copied while a run went on holds less than what it was copied from.
    order = sorted(
        measured, key=lambda cell: (-len(measured[cell]), not canonical[cell], len(cell.path.parts), cell.path)
    )
    kept: dict[frozenset[Measurement], Cell] = {}
    holders_of: dict[Measurement, list[frozenset[Measurement]]] = {}
    copies: dict[Path, Path] = {}
    for cell in order:
        measurements = measured[cell]
        containing = next(
            (other for other in holders_of.get(next(iter(measurements)), []) if measurements <= other), None
        )
        if containing is not None:
            copies[cell.path] = kept[containing].path
            continue
        kept[measurements] = cell
        for measurement in measurements:
            holders_of.setdefault(measurement, []).append(measurements)
    return FolderContents(sorted(kept.values(), key=lambda cell: cell.path), broken, dict(sorted(copies.items())))


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


def _is_canonical(path: Path, attributes: Mapping[str, Any]) -> bool:
    """True if the file has the name and the folder that a run gives it, and not those of a copy."""
    folders = (path.parent.parent.name, path.parent.name)
    return bool(_CANONICAL.fullmatch(path.stem)) and folders == (attributes["suite"], attributes["detector"])


def _measurements(cell: Cell, attributes: Mapping[str, Any], groups: Iterable[Scores]) -> frozenset[Measurement]:
    """Each group of scores by its content, so that a copy is known wherever it lies and whatever it is called."""
    head = tuple(str(attributes[name]) for name in ("suite", "suite_fingerprint", "detector", "seed"))
    fallback_key = tuple(str(attributes.get(name, "")) for name in UNKEYED)
    measurements = [
        (
            *head,
            group.task,
            group.image_set,
            *((str(group.attributes["key"]),) if group.attributes.get("key") else fallback_key),
            digest(group.scores.tobytes(), group.predictions.tobytes(), group.indices.tobytes()),
        )
        for group in groups
    ]
    bare = (*head, *fallback_key, *(str(attributes.get(name, "")) for name in (FAILED, FAILED_ON)))
    return frozenset(measurements or [bare])


def _copies_lines(copies: Mapping[Path, Path]) -> list[str]:
    """A line for each folder with copies, and each folder they were copied from."""
    folders: dict[tuple[Path, Path], list[tuple[Path, Path]]] = {}
    for copy, original in copies.items():
        folders.setdefault((copy.parent, original.parent), []).append((copy, original))
    lines = []
    for (where, source), pairs in folders.items():
        names = ", ".join(copy.name for copy, _ in pairs)
        originals = ", ".join(dict.fromkeys(original.name for _, original in pairs))
        is_single = len(pairs) == 1
        lines.append(
            f"counted once: {names} in {where} {'is a copy' if is_single else 'are copies'} of {originals} in {source}"
        )
    return lines
