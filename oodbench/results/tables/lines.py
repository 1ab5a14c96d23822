"""Cells to the lines of a table: what seeds share one, and what each is called."""

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from oodbench.results.tables.comparable import VERSIONS

LIKE_SEEDS = [
    "detector",
    "settings",
    "limit",
    "images",
    "network_from",
    "precision",
    "features",
    "unlike",
    "parameters",
    "code",
    "over_code",
    *VERSIONS,
    "operating_point",
    "tuning_source",
]
"""Cells that are equal in all of these are seeds of one line, under each task whose images and constants are equal."""


REDUCED = ("bf16", "--tf32")
"""Words of a command for fewer bits."""


class Note(NamedTuple):
    """A word about what sets a line apart.

    Attributes:
        kind: what it is about: "seeds", "settings", "limit", "images", "sets", "tuning", "network", "unlike", "more".
        text: for people.
    """

    kind: str
    text: str


@dataclass(frozen=True, eq=False)
class Line:
    """Cells that differ in their seed alone, as far as they themselves can say.

    Attributes:
        cells: their rows of a frame, one each.
        mark: what tells the line from another that would be called the same; empty if none would.
        parameters: values that set its detector apart from others of its name, in words.
    """

    cells: pd.DataFrame
    mark: str = ""
    parameters: str = ""

    def called(self, names: Collection[str], apart: str = "") -> str:
        """What it is called where only the cells called `names` have been measured."""
        text = label(str(self.cells["detector"].iloc[0]), self.notes(names, apart))
        return f"{text} {self.mark}".strip()

    def notes(self, names: Collection[str], apart: str = "") -> tuple[Note, ...]:
        """What stands behind its detector's name there."""
        seeds = sorted(self.cells.loc[self.cells["cell"].isin(names), "seed"])
        return about_line(self.cells.iloc[0], seeds, [self.parameters, apart])


def lines(frame: pd.DataFrame, seeds: str = "mean") -> list[Line]:
    """The lines of a table; cells that only differ in their seed share one, unless `seeds` is "each".

    A seed that is there twice, as when it ran on two machines, is not another seed: then each cell has its line.

    Args:
        frame: tidy, of one suite.
        seeds: "mean" or "each", see `oodbench.results.tables.summary.View`.
    """
    cells = frame.drop_duplicates("cell")
    cells = cells.assign(
        tuning_source=[tuned(cell).get("source", "") for _, cell in cells.iterrows()],
        network_from=network_from(cells),
        precision=precision(cells),
    )
    grouped: list[Line] = []
    for _, group in cells.groupby(LIKE_SEEDS, sort=False, dropna=False):
        together = seeds == "mean" and group["seed"].is_unique
        grouped += [Line(group)] if together else [Line(group.iloc[[row]]) for row in range(len(group))]
    grouped = [replace(line, parameters=_parameters(line, grouped)) for line in grouped]
    texts = [line.called(set(line.cells["cell"])) for line in grouped]
    marks = tell_apart([str(line.cells["cell"].iloc[0]) for line in grouped], texts)
    return [replace(line, mark=mark) for line, mark in zip(grouped, marks, strict=True)]


def names_of(grouped: Sequence[Line]) -> dict[str, str]:
    """What the line of each cell is called."""
    return {str(cell): line.called(set(line.cells["cell"])) for line in grouped for cell in line.cells["cell"]}


def one_cell(cell: str, seed: object, called: Mapping[str, str]) -> str:
    """A cell among those of its line, whose names are `called`."""
    name = called[cell]
    return name if list(called.values()).count(name) == 1 else f"{name}, seed {seed}"


def tell_apart(cells: Sequence[str], texts: Sequence[str]) -> list[str]:
    """What tells lines of equal texts apart: the key in the file's name, and where that is equal, too, its folder."""
    counts = Counter(texts)
    keys = [cell.rpartition("/")[2].rpartition("-")[2][:6] for cell in cells]
    keyed = Counter(zip(texts, keys, strict=True))
    return [
        "" if counts[text] == 1 else key if keyed[text, key] == 1 else f"in {cell.rpartition('/')[0]}, {key}"
        for cell, text, key in zip(cells, texts, keys, strict=True)
    ]


def _parameters(line: Line, others: Sequence[Line]) -> str:
    """Parameters in which a line differs from others of its detector, unless the run's settings say so already."""
    own, name, settings = _values(line), line.cells["detector"].iloc[0], str(line.cells["settings"].iloc[0])
    rivals = [_values(other) for other in others if other.cells["detector"].iloc[0] == name]
    differing = [key for key, value in own.items() if any(rival.get(key, value) != value for rival in rivals)]
    return ", ".join(f"{key}={own[key]}" for key in differing if f"{key}=" not in settings)


def _values(line: Line) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(str(line.cells["parameters"].iloc[0]) or "{}")
    return values


def label(detector: str, notes: Iterable[Note]) -> str:
    """A detector and whatever sets it apart."""
    said = ", ".join(note.text for note in notes)
    return f"{detector} ({said})" if said else detector


def about_line(cell: "pd.Series[Any]", seeds: Sequence[int], more: Sequence[str] = ()) -> tuple[Note, ...]:
    """Whatever sets a detector of these seeds apart, and what `more` there is to say; nothing twice."""
    notes = [Note("seeds", f"seed {seeds[0]}" if len(seeds) == 1 else f"{len(seeds)} seeds")]
    notes += [Note("settings", str(cell["settings"]))] if cell["settings"] else []
    notes += [Note("limit", f"{cell['limit']} images of each set")] if cell["limit"] else []
    notes += [Note("images", f"{cell['images']} of each OOD set")] if cell["images"] else []
    notes += [Note("tuning", "tuned on ID test images")] if tuned(cell).get("source") == "id-test" else []
    notes += [Note("network", said) for said in named_network(cell)]
    notes += [Note("unlike", "other images")] if cell["unlike"] else []
    for text in more:
        notes += [Note("more", text)] if text and text not in [note.text for note in notes] else []
    return tuple(notes)


def network_from(cells: pd.DataFrame) -> "pd.Series[str]":
    """Where each cell's network comes from; "" if it was trained. Kept ones that differ in their seed are alike.

    Of a file that was given the weights count: another file may have had its name.
    """
    given = cells["checkpoint"].astype(str) + " " + cells["network_digest"].astype(str)
    given = given.where(cells["checkpoint"] != "", "")
    return cells["pretrained"].where(cells["pretrained"] != "", given)


def precision(cells: pd.DataFrame) -> "pd.Series[str]":
    """What of each cell's numbers was not float32, as the command says it: it is part of a key."""
    words = cells["options"].astype(str).str.split()
    return words.map(lambda said: " ".join(word for word in said if word in REDUCED))


def named_network(about: "Mapping[str, Any] | pd.Series[Any]") -> list[str]:
    """What a network is called that was not trained in the run, from a cell's attributes or row; else nothing."""
    if about.get("pretrained"):
        return [f"network {about['pretrained']}, pretrained"]
    if about.get("features"):
        return [f"features {Path(str(about['checkpoint'])).name}"]
    return [f"checkpoint {Path(str(about['checkpoint'])).name}"] if about.get("checkpoint") else []


def tuned(cell: "pd.Series[Any]") -> dict[str, Any]:
    """What a detector was tuned on and what came of it; empty where nothing was tuned."""
    found: dict[str, Any] = json.loads(str(cell["tuned"]) or "{}")
    return found
