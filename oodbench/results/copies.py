"""Files with the same scores: one of them counts, and of the others is said why they do not."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from oodbench.basics.files import digest, without_folders
from oodbench.basics.words import printable
from oodbench.results.attributes import FAILED, FAILED_ON
from oodbench.results.bundling import FILES
from oodbench.results.store import Cell, Scores
from oodbench.results.wellformed import OF_CELL, OF_GROUP
from oodbench.statistics.honesty import CHECK

UNKEYED = ("settings", "limit", "images", "parameters", "checkpoint", "network_digest", "code")
"""Attributes that stand for the key of a measurement where none was stored."""

_CANONICAL = re.compile(r"seed\d+-[0-9a-f]{12}")

Measurement = tuple[str, ...]
"""The identity of one group of scores: what was measured, with which key, and the digest of the scores."""


class Beside(NamedTuple):
    """What a file says of a measurement beside the scores: a digest of all that is read, and the number of checks."""

    digest: str
    checks: int


@dataclass(frozen=True)
class Contents:
    """What a file holds, as far as copies are known by it.

    Attributes:
        beside: what it says beside its scores, by measurement.
        date: of its newest scores, or of a failure after them, in ISO 8601.
        canonical: whether it has the name and the folder that a run gives it, and not those of a copy.
    """

    beside: Mapping[Measurement, Beside]
    date: str
    canonical: bool

    @classmethod
    def of(cls, cell: Cell, attributes: Mapping[str, Any], groups: Sequence[Scores]) -> "Contents":
        """Tell it of a file from what `oodbench.results.folder.read_result` gave."""
        head = tuple(str(attributes[name]) for name in ("suite", "suite_fingerprint", "detector", "seed"))
        fallback_key = tuple(str(attributes.get(name, "")) for name in UNKEYED)
        beside = {
            (
                *head,
                group.task,
                group.image_set,
                *((str(group.attributes["key"]),) if group.attributes.get("key") else fallback_key),
                digest(group.scores.tobytes(), group.predictions.tobytes(), group.indices.tobytes()),
            ): _beside(attributes, group)
            for group in groups
        }
        bare = (*head, *fallback_key, *(str(attributes.get(name, "")) for name in (FAILED, FAILED_ON)))
        dates = [str(group.attributes.get("date", "")) for group in groups] + [str(attributes.get(FAILED_ON, ""))]
        return cls(beside or {bare: Beside("", 0)}, max(dates), _is_canonical(cell.path, attributes))

    @property
    def measurements(self) -> frozenset[Measurement]:
        """What it holds scores of."""
        return frozenset(self.beside)

    @property
    def checks(self) -> int:
        """The number of checks of its attacks."""
        return sum(said.checks for said in self.beside.values())


@dataclass(frozen=True)
class Copy:
    """A file that does not count.

    Attributes:
        original: the file that counts.
        why: the reason why that one does, where the two differ in something beside the scores; "" for a plain copy.
    """

    original: Path
    why: str


def find_copies(contents: Mapping[Cell, Contents]) -> tuple[list[Cell], dict[Path, Copy]]:
    """Tell the results that count, sorted by path, from those whose scores all are in another one.

    Of files with equal scores the one with the most checks counts, or else the newest.
    """
    order = sorted(contents, key=lambda cell: (not contents[cell].canonical, len(cell.path.parts), cell.path))
    # What was copied while a run went on holds less than what it was copied from.
    order.sort(key=lambda cell: _precedence(contents[cell]), reverse=True)
    holders_of: dict[Measurement, list[Cell]] = {}
    kept: list[Cell] = []
    copies: dict[Path, Copy] = {}
    for cell in order:
        measurements = contents[cell].measurements
        holders = holders_of.get(next(iter(measurements)), [])
        holder = next((other for other in holders if measurements <= contents[other].measurements), None)
        if holder is not None:
            copies[cell.path] = Copy(holder.path, _why(contents[holder], contents[cell]))
            continue
        kept.append(cell)
        for measurement in measurements:
            holders_of.setdefault(measurement, []).append(cell)
    return sorted(kept, key=lambda cell: cell.path), dict(sorted(copies.items()))


def copies_lines(copies: Mapping[Path, Copy]) -> list[str]:
    """A line for each folder with copies, each folder they were copied from, and each reason."""
    groups: dict[tuple[Path, Path, str], list[tuple[Path, Path]]] = {}
    for path, copy in copies.items():
        groups.setdefault((path.parent, copy.original.parent, copy.why), []).append((path, copy.original))
    return [printable(_line(*key, pairs)) for key, pairs in groups.items()]


def _line(where: Path, source: Path, why: str, pairs: Iterable[tuple[Path, Path]]) -> str:
    names = list(dict.fromkeys(path.name for path, _ in pairs))
    originals = ", ".join(dict.fromkeys(original.name for _, original in pairs))
    has, is_copy = ("has", "is a copy") if len(names) == 1 else ("have", "are copies")
    beginning = f"counted once: {', '.join(names)} in {where}"
    if not why:
        return f"{beginning} {is_copy} of {originals} in {source}"
    return f"{beginning} {has} the scores of {originals} in {source}, and differ{'s' * (has == 'has')} in more: {why}"


def _beside(attributes: Mapping[str, Any], group: Scores) -> Beside:
    checks = {name: value for name, value in group.attributes.items() if name.startswith(CHECK)}
    of_cell = {name: str(attributes.get(name, "")) for name in OF_CELL if name != "data"}  # where images lie
    of_cell |= {name: without_folders(of_cell[name]) for name in FILES}
    of_group = {name: group.attributes.get(name, "") for name in OF_GROUP}
    texts = [repr(sorted(said.items())) for said in (of_cell, of_group, checks)]
    arrays = [(name, group.extras[name].tobytes()) for name in sorted(group.extras)]
    return Beside(digest(*texts, group.labels.tobytes(), *(part for pair in arrays for part in pair)), len(checks))


REASONS = ("holds more scores", "has more checks of its attacks", "is newer")
"""The words for each part of `_precedence`."""


def _precedence(contents: Contents) -> tuple[int, int, str]:
    return len(contents.beside), contents.checks, contents.date


def _why(original: Contents, copy: Contents) -> str:
    """The reason why a file counts and another one with its scores does not; "" if that is a plain copy."""
    pairs = [(original.beside[measurement], said) for measurement, said in copy.beside.items()]
    if all(kept == said for kept, said in pairs):
        return ""
    if any(kept.checks < said.checks for kept, said in pairs):
        return "the latter counts, which holds more scores but fewer checks; move it away to see what they flag"
    both = zip(REASONS, _precedence(original), _precedence(copy), strict=True)
    reason = next((reason for reason, kept, said in both if kept != said), "comes first by its name")
    return f"the latter counts, which {reason}"


def _is_canonical(path: Path, attributes: Mapping[str, Any]) -> bool:
    """True if the file has the name and the folder that a run gives it, and not those of a copy."""
    folders = (path.parent.parent.name, path.parent.name)
    return bool(_CANONICAL.fullmatch(path.stem)) and folders == (attributes["suite"], attributes["detector"])
