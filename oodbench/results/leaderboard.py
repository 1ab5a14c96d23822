"""The CSV files of OpenOOD's leaderboard as rows of a reference.

A file has a line for each training and method: AUROC over the near and over the far OOD sets and ID accuracy, in
percent, most with a deviation over training seeds. Which board a file is, and what its names are called here, says
openood.toml beside the reference figures.
"""

import csv
import io
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import pandas as pd

from oodbench.basics.errors import OodbenchError, unknown
from oodbench.results.reference import COLUMNS, parse
from oodbench.tasks import ID_TASK, Clean

PLAIN = "CrossEntropy"
"""The board's name for plain training."""

FIGURES = {
    "Near-OOD_AUROC": ("mean:near", "auroc", Clean.kind),
    "Far-OOD_AUROC": ("mean:far", "auroc", Clean.kind),
    "ID_Accuracy": ("", "accuracy", ID_TASK),
}
"""A board's columns, and what a reference has for each: OOD sets, metric, task."""

ABOUT = ("Training", "Postprocessor", "Outlier_Data", "Arch", "Additional_Description")
NONE = ("", "/", "-", "N/A")
"""Texts that stand where there is no figure."""


@dataclass(frozen=True)
class Board:
    """One of the leaderboard's files.

    Attributes:
        name: of the board, as the file is called.
        version: of OpenOOD, such as "1.5".
        commit: of its repository, where the file was taken from.
    """

    name: str
    version: str
    commit: str

    def __post_init__(self) -> None:
        if self.name not in names():
            raise unknown("board", self.name, names())
        if not re.fullmatch(r"[0-9a-f]{7,40}", self.commit):
            raise OodbenchError(
                f"commit {self.commit!r} is not valid: give 7 to 40 hexadecimal digits, as `git log` in a clone of "
                "OpenOOD prints them, so that everybody can find the same file"
            )
        if not re.fullmatch(r"\d+(\.\d+){0,2}", self.version):
            raise OodbenchError(
                f"version {self.version!r} is not valid: write the number of a version of OpenOOD, for instance 1.5"
            )

    @property
    def reference(self) -> str:
        """The source of its figures, as the column `reference` has it."""
        return f"OpenOOD v{self.version} leaderboard, commit {self.commit}, {self.name}.csv"


def names() -> list[str]:
    """Boards that are known."""
    return list(_vocabulary()["boards"])


def rows(text: str, board: Board, file_name: str) -> pd.DataFrame:
    """The rows of a reference that a board's file makes.

    Args:
        text: of the file.
        board: which it is.
        file_name: what the file is called, for messages.

    Raises:
        OodbenchError: it lacks columns or rows, or a figure is not a percentage.
    """
    reader = csv.DictReader(io.StringIO(text), strict=True)
    try:
        lines = [(reader.line_num, line) for line in reader]
    except csv.Error as error:
        raise OodbenchError(
            f"{file_name}, line {reader.line_num}: is no CSV ({error}); take the leaderboard's file"
        ) from error
    columns = (*FIGURES, *ABOUT)
    if missing := [name for name in columns if name not in (reader.fieldnames or ())]:
        raise OodbenchError(
            f"{file_name} lacks the columns {', '.join(missing)}: a file of OpenOOD's leaderboard has "
            f"{', '.join(columns)}"
        )
    board_rows = [row for number, line in lines for row in _rows(line, board, f"{file_name}, line {number}")]
    if not board_rows:
        raise OodbenchError(f"{file_name} has no figures: take a file of OpenOOD's leaderboard")
    frame = pd.DataFrame(_number_duplicates(board_rows), columns=list(COLUMNS))
    # What a reader of references refuses is refused here, and numbers are those that it will read again.
    return parse(frame.to_csv(index=False), file_name)


def _rows(line: Mapping[str, Any], board: Board, where: str) -> Iterator[dict[str, Any]]:
    if any(line[name] is None for name in (*FIGURES, *ABOUT)) or None in line:
        raise OodbenchError(f"{where}: has another number of columns than the first line; mend it")
    entry = {name: str(line[name]).strip() for name in ABOUT}
    vocabulary = _vocabulary()["boards"][board.name]
    network = _network_name(entry["Arch"], vocabulary.get("images", "large"))
    figures = {column: _parse_figure(str(line[column]).strip(), f"{where}: {column}") for column in FIGURES}
    note = _note_text(
        entry, vocabulary.get("note", ""), any(figure and figure[1] is not None for figure in figures.values())
    )
    for column, (ood, metric, task) in FIGURES.items():
        if (figure := figures[column]) is None:
            continue
        value, sd = figure
        yield {
            **dict.fromkeys(COLUMNS, ""),
            "limit": 0,
            "images": 0,
            "epsilon": 0,
            "suite": vocabulary["suite"] if network == vocabulary.get("network") else "",
            "detector": _detector_name(entry),
            "task": task,
            "ood": ood,
            "metric": metric,
            "id_set": vocabulary["id_set"],
            "network": network,
            "n_id": vocabulary.get("n_id", ""),
            "convention": "openood",
            "value": value,
            "sd": "" if sd is None else sd,
            "source": "published",
            "reference": board.reference,
            "note": note,
        }


def _parse_figure(text: str, where: str) -> tuple[float, float | None] | None:
    """A value and its deviation as fractions, from percent; None where there is no figure."""
    if text in NONE:
        return None
    matched = re.fullmatch(r"(\d{1,3}(?:\.\d+)?)(?:\s*(?:±|\+/-|\+-)\s*(\d{1,3}(?:\.\d+)?))?", text)
    if not matched or float(matched[1]) > 100:
        raise OodbenchError(f"{where} is {text[:40]!r}, expected a percentage, or one ± another; mend the line")
    return _fraction(matched[1]), _fraction(matched[2]) if matched[2] else None


def _fraction(percent: str) -> float:
    """Rounded to where the text ends, so that 88.03 percent is .8803 and no neighbour of it."""
    return round(float(percent) / 100, 2 + len(percent.partition(".")[2]))


def _detector_name(entry: Mapping[str, str]) -> str:
    """The name of a method here, with its training where that is not plain."""
    training, method = entry["Training"], entry["Postprocessor"]
    words = _vocabulary()
    if known := words["trained"].get(f"{training} + {method}"):
        return str(known)
    name = str(words["methods"].get(method, _as_name(method)))
    return name if training in (PLAIN, method) else f"{_as_name(training)}+{name}"


def _as_name(text: str) -> str:
    return re.sub(r"[^a-z0-9+._-]+", "-", text.lower().replace(" + ", "+")).strip("-")


def _network_name(arch: str, images: str) -> str:
    return str(_vocabulary()["networks"][images].get(arch, _as_name(arch)))


def _note_text(entry: Mapping[str, str], board: str, over_seeds: bool) -> str:
    training = "" if entry["Training"] == PLAIN else f"trained by {entry['Training']}"
    outliers = "trained with outliers" if entry["Outlier_Data"] == "Yes" else ""
    mean = "mean and sd over training seeds" if over_seeds else ""
    return "; ".join(part for part in (board, training, outliers, entry["Additional_Description"], mean) if part)


def _number_duplicates(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of one name, where a board has a method twice, say which of them they are."""
    seen: dict[tuple[str, ...], int] = {}
    kept = []
    for row in rows:
        name = tuple(str(row[column]) for column in ("detector", "network", "ood", "metric", "note"))
        seen[name] = seen.get(name, 0) + 1
        suffix = f"; entry {seen[name]} of this name" if seen[name] > 1 else ""
        kept.append({**row, "note": row["note"] + suffix})
    return kept


def _vocabulary() -> dict[str, Any]:
    return tomllib.loads((files("oodbench.figures") / "openood.toml").read_text(encoding="utf-8"))
