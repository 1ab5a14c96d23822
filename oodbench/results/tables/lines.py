"""Cells to the lines of a table: what seeds share one, and what each is called."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from oodbench.results.attributes import json_object
from oodbench.results.conditions import SCORED_IN_TF32
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
    "learned_from",
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

    def title(self, cells: Collection[str], apart: str = "") -> str:
        """Its name in a table where only these `cells` have been measured."""
        text = label(str(self.cells["detector"].iloc[0]), self.notes(cells, apart))
        return f"{text} {self.mark}".strip()

    def notes(self, cells: Collection[str], apart: str = "") -> tuple[Note, ...]:
        """The notes behind its detector's name there."""
        seeds = sorted(self.cells.loc[self.cells["cell"].isin(cells), "seed"])
        return line_notes(self.cells.iloc[0], seeds, [self.parameters, apart])


def lines(frame: pd.DataFrame, seeds: str = "mean") -> list[Line]:
    """The lines of a table; cells that only differ in their seed share one, unless `seeds` is "each".

    A seed that is there twice, as when it ran on two machines, is not another seed: then each cell has its line.

    Args:
        frame: tidy, of one suite.
        seeds: "mean" or "each", see `oodbench.results.tables.summary.View`.
    """
    cells = frame.drop_duplicates("cell")
    cells = cells.assign(
        tuning_source=[tuning_record(cell).get("source", "") for _, cell in cells.iterrows()],
        network_from=network_from(cells),
        precision=precision(cells),
        learned_from=learned_from(cells),
    )
    grouped: list[Line] = []
    for _, group in cells.groupby(LIKE_SEEDS, sort=False, dropna=False):
        together = seeds == "mean" and group["seed"].is_unique
        grouped += [Line(group)] if together else [Line(group.iloc[[row]]) for row in range(len(group))]
    grouped = [replace(line, parameters=_parameters(line, grouped)) for line in grouped]
    texts = [line.title(set(line.cells["cell"])) for line in grouped]
    marks = tell_apart([str(line.cells["cell"].iloc[0]) for line in grouped], texts)
    return [replace(line, mark=mark) for line, mark in zip(grouped, marks, strict=True)]


def line_names(grouped: Sequence[Line]) -> dict[str, str]:
    """The title of the line of each cell, by the cell's name."""
    return {str(cell): line.title(set(line.cells["cell"])) for line in grouped for cell in line.cells["cell"]}


def cell_name(cell: str, seed: object, titles: Mapping[str, str]) -> str:
    """The name of a cell among those of its line, from the `titles` of lines by cell."""
    title = titles[cell]
    return title if list(titles.values()).count(title) == 1 else f"{title}, seed {seed}"


def tell_apart(cells: Sequence[str], texts: Sequence[str]) -> list[str]:
    """Marks that tell lines of equal texts apart: the key in the file's name, with its folder where keys are equal."""
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
    return json_object(line.cells["parameters"].iloc[0])


def label(detector: str, notes: Iterable[Note]) -> str:
    """A detector and whatever sets it apart."""
    notes_text = ", ".join(note.text for note in notes)
    return f"{detector} ({notes_text})" if notes_text else detector


def line_notes(cell: "pd.Series[Any]", seeds: Sequence[int], more: Sequence[str] = ()) -> tuple[Note, ...]:
    """Whatever sets a detector of these seeds apart, and what `more` there is to say; nothing twice."""
    notes = [Note("seeds", f"seed {seeds[0]}" if len(seeds) == 1 else f"{len(seeds)} seeds")]
    notes += [Note("settings", str(cell["settings"]))] if cell["settings"] else []
    notes += [Note("limit", f"{cell['limit']} images of each set")] if cell["limit"] else []
    notes += [Note("images", f"{cell['images']} of each OOD set")] if cell["images"] else []
    notes += [Note("tuning", "tuned on ID test images")] if tuning_record(cell).get("source") == "id-test" else []
    notes += [Note("network", note) for note in network_notes(cell)]
    notes += [Note("unlike", "other images")] if cell["unlike"] else []
    notes += [Note("more", SCORED_IN_TF32)] if "--tf32" in str(cell["options"]).split() else []
    for text in more:
        notes += [Note("more", text)] if text and text not in [note.text for note in notes] else []
    return tuple(notes)


def network_from(cells: pd.DataFrame) -> "pd.Series[str]":
    """The origin of each cell's network; "" if it was trained. Kept ones that differ in their seed are alike.

    Of a file that was given the weights count: another file may have had its name.
    """
    given = cells["checkpoint"].astype(str) + " " + cells["network_digest"].astype(str)
    given = given.where(cells["checkpoint"] != "", "")
    return cells["pretrained"].where(cells["pretrained"] != "", given)


def learned_from(cells: pd.DataFrame) -> "pd.Series[str]":
    """What each cell's network learned from, as a text; a result that does not say it is like the others that do.

    Older results do not say it. Where those of a detector that do are of several kinds, they are a kind of their own.
    """
    said = cells["learned_from"].astype(str).replace("{}", "")
    kinds: dict[str, set[str]] = {}
    for name, text in zip(cells["detector"], said, strict=True):
        kinds.setdefault(name, set()).update([text] * bool(text))
    usual = [next(iter(known)) if len(known := kinds[name]) == 1 else "" for name in cells["detector"]]
    return said.where(said != "", pd.Series(usual, cells.index, dtype=object))


def precision(cells: pd.DataFrame) -> "pd.Series[str]":
    """The options for fewer bits that each cell was made with; they are part of its key."""
    words = cells["options"].astype(str).str.split()
    return words.map(lambda options: " ".join(word for word in options if word in REDUCED))


def network_notes(attributes: "Mapping[str, Any] | pd.Series[Any]") -> list[str]:
    """Name a network that was not trained in the run, from a cell's attributes or row; empty for a trained one."""
    if attributes.get("pretrained"):
        return [f"network {attributes['pretrained']}, pretrained"]
    file = Path(str(attributes.get("checkpoint", ""))).name
    if attributes.get("features"):
        return [f"features {file}"]
    return [f"checkpoint {file}"] if attributes.get("checkpoint") else []


def tuning_record(cell: "pd.Series[Any]") -> dict[str, Any]:
    """The record of a detector's tuning: its images and its choice; empty where nothing was tuned."""
    return json_object(cell["tuned"])
