"""A results folder to the results in it: each measurement once, and what was left out, by name."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oodbench.basics.errors import OodbenchError, unknown
from oodbench.basics.files import digest
from oodbench.results import store
from oodbench.results.store import Cell, Scores
from oodbench.tasks import ID_TASK

TEXTS = ("suite", "suite_fingerprint", "detector", "network", "network_digest")
WHOLE = ("suite_version", "seed", "limit", "images")
"""Attributes of a cell without which nobody could say what its numbers are: texts, and whole numbers."""

OF_JSON = ("means", "parameters", "tuned", "learned_from")
"""Attributes of a cell that hold JSON objects, where they are there."""

TUNED = ("source", "id_images", "outliers")
"""Names that every record of a tuning has."""

SOURCES = ("heldout", "id-test")
"""Images that a detector may have been tuned on."""

FAILED = "failed"
"""The attribute of a cell that says why its detector could not be trained, fitted or scored; none where it could."""

FAILED_AT = "failed_at"
"""The attribute with the task/set that it failed at; empty where it could not even learn what it needs."""

FAILED_ON = "failed_on"
"""The attribute with the time of the failure, in ISO 8601."""

UNKEYED = ("settings", "limit", "images", "parameters", "checkpoint", "network_digest", "code")
"""Attributes that stand for the key of a measurement where none was stored."""

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
            attributes, groups = read_result(cell)
        except OodbenchError as error:
            broken[cell.path] = str(error)
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
    if problem := _format_problem(attributes, groups):
        raise OodbenchError(
            f"{cell.path} is no result of `oodbench run` ({problem}): move it out of the results folder"
        )
    return attributes, groups


def _format_problem(attributes: Mapping[str, Any], groups: Sequence[Scores]) -> str:
    """Say what a file of our format lacks of what every run writes; "" if nothing."""
    if missing := sorted({*TEXTS, *WHOLE} - attributes.keys()):
        return f"it does not say its {', '.join(missing)}"
    kinds = dict.fromkeys(TEXTS, str) | dict.fromkeys(WHOLE, int)
    for name, value in attributes.items():
        if not isinstance(value, kinds.get(name, str | int | float)):
            return f"its {name} is {str(value)[:40]!r}"
    if not attributes.get(FAILED) and not any(group.role == "id" and group.task == ID_TASK for group in groups):
        return "it has no scores of ID images"
    if empty := [f"{group.task}/{group.image_set}" for group in groups if not len(group.scores)]:
        return f"it has no scores in {empty[0]}"
    texts = [attributes.get(name) for name in OF_JSON] + [group.attributes.get("constants") for group in groups]
    for text in filter(None, texts):
        if not isinstance(_parse_json(text), dict):
            return f"{str(text)[:40]!r} in it is no JSON object"
    tuned = _parse_json(attributes.get("tuned") or "{}")
    if tuned and not (set(TUNED) <= tuned.keys() and tuned["source"] in SOURCES):
        return "it does not say what its detector was tuned on"
    sets = _parse_json(attributes.get("means") or "{}").values()
    if not all(isinstance(names, list) and all(isinstance(name, str) for name in names) for names in sets):
        return "its means are no lists of image sets"
    radii = [_parse_json(group.attributes.get("constants") or "{}").get("epsilon", 0) for group in groups]
    return "" if all(isinstance(radius, int | float) for radius in radii) else "a radius in it is no number"


def _parse_json(text: Any) -> Any:
    try:
        return json.loads(str(text))
    except (ValueError, RecursionError):
        return None


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
