"""Reference figures: tidy CSV files, one metric a row, of what was published and of what was measured."""

import io
import re
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import pandas as pd

from oodbench.basics.errors import OodbenchError, unknown
from oodbench.basics.files import digest, read_text, write_atomic

IDENTITY = ("suite", "detector", "settings", "checkpoint", "seed", "limit", "images", "task", "ood", "metric")
"""The columns that name a figure: a reference holds one row for each."""

CONDITIONS = (
    "suite_version",
    "suite_fingerprint",
    "id_set",
    "images_digest",
    "network",
    "network_digest",
    "parameters",
    "constants",
    "epsilon",
    "n_id",
    "n_ood",
)
"""Columns that must be equal for two figures to be compared, where a reference states them; empty states nothing."""

ADDED = ("images_digest",)
"""Columns that came later: a file without them states nothing in them."""

TOLD_APART = ("id_set", "images_digest", "network", "network_digest", "convention", "reference", "note")
"""Columns in which rows of one name may differ and stand side by side."""

FIGURE = ("convention", "value", "sd", "tolerance", "low", "high", "sides")
ORIGIN = ("source", "reference", "note", "scores", "oodbench", "torch", "device", "hardware", "data", "date")
COLUMNS = (*IDENTITY, *CONDITIONS, *FIGURE, *ORIGIN)
"""Columns of a reference file, explained in results/reference/README.md."""

NUMBERS = ("value", "sd", "tolerance", "low", "high", "epsilon", "n_id", "n_ood", "limit", "images")
COUNTS = ("n_id", "n_ood", "limit", "images")
"""Of these, whole ones."""

DIGITS = 16
"""Hexadecimal ones of an `images_digest`: enough for sets of images that nobody chose to have the same one."""

PUBLISHED = "published"
"""The `source` of a figure that others measured."""

SHIPPED = (PUBLISHED, "measured")
SIDES = ("", "both")


def digest_of_sets(of_id: str, of_ood: Sequence[str] = ()) -> str:
    """The `images_digest` of a figure, from fingerprints of its ID set and OOD sets; "" where one is not known."""
    known = [of_id, *sorted(of_ood)]
    return digest(*known)[:DIGITS] if all(known) else ""


def shipped_reference(name: str) -> pd.DataFrame:
    """A reference that comes with oodbench: "published" or "measured".

    Raises:
        OodbenchError: there is none of that name.
    """
    if name not in SHIPPED:
        raise unknown("reference", name, SHIPPED)
    return parse((files("oodbench.figures") / f"{name}.csv").read_text(encoding="utf-8"), f"{name}.csv")


def read(path: Path) -> pd.DataFrame:
    """A reference file, or one that comes with oodbench by its name.

    Raises:
        OodbenchError: there is no such file, or what is wrong in it.
    """
    if not path.is_file() and str(path) in SHIPPED:
        return shipped_reference(str(path))
    if not path.is_file():
        raise OodbenchError(
            f"cannot read the reference {path}: there is no such file; give a CSV file, or one of {', '.join(SHIPPED)}"
        )
    return parse(read_text(path), str(path))


def parse(text: str, name: str) -> pd.DataFrame:
    """The rows of a reference file: `NUMBERS` as float64, NaN where empty, all else as text.

    Args:
        text: CSV with the columns `COLUMNS`, in any order; more are kept. Separated by commas, or by semicolons or
            tabs as spreadsheets do; numbers may then have a decimal comma.
        name: of the file, for messages.

    Raises:
        OodbenchError: it is no CSV, has no rows, lacks columns, or a number, a value or a `sides` is not valid.
    """
    frame, separator = _read_csv(text, name)
    if missing := [column for column in COLUMNS if column not in (*frame.columns, *ADDED)]:
        raise OodbenchError(
            f"{name} lacks the columns {', '.join(missing)}: a reference has {', '.join(COLUMNS)}; "
            "`oodbench check` with --update writes one"
        )
    for column in set(ADDED) - set(frame.columns):
        frame[column] = ""
    if frame.empty:
        raise OodbenchError(f"{name} has no rows: `oodbench check` with --update writes them from a results folder")
    for column in NUMBERS:
        numbers = _numbers(frame, column, separator, name)
        frame[column] = numbers.fillna(0.0) if column in ("limit", "images") else numbers
    tolerance = frame["tolerance"]
    _require(frame["value"].between(0, 1), name, frame, "value", "a fraction from 0 to 1")
    # 5 for five points would let anything pass
    a_fraction = "a fraction from 0 to 1, as 0.05 for five points, or nothing"
    _require(tolerance.isna() | tolerance.between(0, 1), name, frame, "tolerance", a_fraction)
    for end in ("low", "high"):
        _require(frame[end].isna() | frame[end].between(0, 1), name, frame, end, "a fraction from 0 to 1, or nothing")
    _require(~(frame["low"] > frame["high"]), name, frame, "low", "no more than `high`")
    _require(frame["sides"].isin(SIDES), name, frame, "sides", "nothing or 'both'")
    if (is_repeated := frame.duplicated([*IDENTITY, *TOLD_APART])).any():
        line = _line_number(frame, is_repeated)
        raise OodbenchError(f"{name}, line {line}: this figure stands in an earlier line as well; keep one")
    return frame


def _read_csv(text: str, name: str) -> tuple[pd.DataFrame, str]:
    """The cells of a reference file as text, and the separator; `attrs["heading"]` counts the lines above the rows."""
    separator_line = re.match(r"\s*\"?sep=(.)\"?\s*?\r?\n", text)  # a line for Excel
    text = text[separator_line.end() :] if separator_line else text
    separator = separator_line[1] if separator_line else _separator(text)
    try:
        frame = pd.read_csv(io.StringIO(text), sep=separator, dtype=str, keep_default_na=False)
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise OodbenchError(f"{name} is not a CSV file ({error}): `oodbench check` with --update writes one") from error
    frame.columns = frame.columns.str.strip()
    frame.attrs["heading"] = 2 if separator_line else 1
    return frame, separator


def _numbers(frame: pd.DataFrame, column: str, separator: str, name: str) -> "pd.Series[float]":
    """The numbers of a column, NaN where it is empty; with other separators than commas they may have a decimal comma.

    Raises:
        OodbenchError: a text is not a number or, in one of `COUNTS`, not a whole one.
    """
    written = frame[column].str.strip()
    if separator != ",":
        written = written.str.replace(r"^([-+]?\d*),(\d+(?:[eE][-+]?\d+)?)$", r"\1.\2", regex=True)
    numbers = pd.to_numeric(written.where(written != "", "nan"), errors="coerce")
    a_number = "a number with a decimal point and no other marks, or nothing"
    _require(numbers.notna() | written.isin(["", "nan"]), name, frame, column, a_number)
    if column in COUNTS:  # 10.000 for ten thousand would be read as ten
        a_count = "a whole number without marks between its digits, or nothing"
        _require(written.str.fullmatch(r"(\d+(\.0)?|nan)?"), name, frame, column, a_count)
    return numbers.astype(float)


def write(frame: pd.DataFrame, path: Path) -> None:
    """Put the rows of `parse` into a file.

    Raises:
        StorageError: it cannot be written.
    """
    columns = [*COLUMNS, *frame.columns.difference(list(COLUMNS), sort=False)]
    write_atomic(path, frame[columns].to_csv(index=False, float_format="%.10g", lineterminator="\n").encode())


def _require(is_valid: "pd.Series[bool]", name: str, frame: pd.DataFrame, column: str, expected: str) -> None:
    """OodbenchError with the line of the first row whose value in `column` is not valid."""
    if not is_valid.all():
        value, line = frame[column][~is_valid].iloc[0], _line_number(frame, ~is_valid)
        raise OodbenchError(f"{name}, line {line}: {column} is {str(value)!r}, expected {expected}; mend the line")


def _line_number(frame: pd.DataFrame, is_wrong: "pd.Series[bool]") -> int:
    """The line of a file in which the first row stands that is wrong."""
    return int(is_wrong.to_numpy().argmax()) + 1 + int(frame.attrs["heading"])


def _separator(text: str) -> str:
    """The separator that stands most often between the columns' names."""
    heading = text.lstrip().partition("\n")[0]
    return max(",;\t", key=heading.count)
