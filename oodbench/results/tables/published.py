"""Published figures beside measured ones."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from oodbench.metrics import CONVENTIONS
from oodbench.results.reference import digest_of_sets
from oodbench.results.tables.summary import Entry, sets_behind


@dataclass(frozen=True)
class Published:
    """Figures of a reference, looked up for what was measured.

    A figure stands beside a number that has its ID set, network, detector, task, radius, OOD sets, metric and
    convention. What it was trained on and how often may differ, so it is shown, never subtracted. One that says which
    images it is of stands beside no other images.

    Attributes:
        rows: of `oodbench.results.reference`.
    """

    rows: pd.DataFrame

    @property
    def word(self) -> str:
        """The word for the figures in headings and notes."""
        return "published" if set(self.rows["source"]) == {"published"} else "reference"

    def figure(self, frame: pd.DataFrame, entry: Entry) -> float | None:
        """The reference's value beside one number of a table of `frame`, tidy and of one suite, as a fraction."""
        rows = self._beside(frame, entry)
        return None if rows.empty else float(rows["value"].iloc[0])

    def notes(self, frame: pd.DataFrame, summary: Sequence[Entry]) -> list[str]:
        """Name the sources of the figures beside `summary`, and those that another convention would show."""
        sentences: list[str] = []
        for entry in summary:
            for _, row in self._beside(frame, entry)[:1].iterrows():
                sentences.append(f"{self.word}: {_origin(row)}{f'; {row.note}' if row['note'] else ''}.")
        for _, cell in frame[frame["ood"] != ""].drop_duplicates(["cell", "task"]).iterrows():
            for name in self._alike(cell)["convention"].unique():
                if name != cell["convention"]:
                    advice = (
                        f"say --convention {name}" if name in CONVENTIONS else "oodbench does not compute as they do"
                    )
                    sentences.append(
                        f"{self.word.capitalize()} figures in convention {name!r} are not shown: {advice}."
                    )
        return list(dict.fromkeys(sentences)) or [f"{self.word}: no figure is known for what was measured here."]

    def _beside(self, frame: pd.DataFrame, entry: Entry) -> pd.DataFrame:
        """Rows for what an entry measures."""
        cell = frame[(frame["cell"] == entry.cells[0]) & (frame["task"] == entry.task)].iloc[0]
        rows = self._alike(cell)
        rows = rows[(rows["metric"] == entry.metric) & (rows["convention"] == cell["convention"])]
        sets = set(sets_behind(frame, entry.ood)) - set(entry.missing)
        own = _images(frame, entry, sets)
        same: pd.DataFrame = rows.loc[
            [
                set(sets_behind(frame, str(ood))) == sets and (not own or images in ("", own))
                for ood, images in zip(rows["ood"], rows["images_digest"], strict=True)
            ]
        ]
        return _nearest(same, cell)

    def _alike(self, cell: "pd.Series[Any]") -> pd.DataFrame:
        """Rows for a detector, network, task and radius on an ID set, whatever the OOD sets, metric and convention."""
        rows = self.rows
        same = (rows["id_set"] == cell["id_set"]) & (rows["detector"] == cell["detector"])
        same &= (rows["task"] == cell.get("named", cell["task"])) & (rows["epsilon"] == cell["epsilon"])
        alike: pd.DataFrame = rows[same & (rows["network"] == cell["network"])]
        return alike


def _images(frame: pd.DataFrame, entry: Entry, sets: Collection[str]) -> str:
    """What tells the images behind an entry apart, as a reference has it; "" where they are not known."""
    of_cell = frame[frame["cell"] == entry.cells[0]]
    of_id = of_cell[of_cell["ood"] == ""]["fingerprint"].astype(str)
    of_task = of_cell[(of_cell["task"] == entry.task) & of_cell["ood"].isin(sets)].drop_duplicates("ood")
    return digest_of_sets("".join(of_id[:1]), of_task["fingerprint"].astype(str).tolist())


def _nearest(rows: pd.DataFrame, cell: "pd.Series[Any]") -> pd.DataFrame:
    """Rows that may stand beside a result, that of the same run first.

    What was measured on other numbers of images may not; a paper seldom says on how many.
    """
    as_many = (rows["limit"] == cell["limit"]) & (rows["images"] == cell["images"])
    kept: pd.DataFrame = rows[as_many | (rows["source"] != "measured")]
    named = ["seed", "settings", "checkpoint"]
    alike = (kept[named].astype(str) == [str(cell[name]) for name in named]).sum(axis=1)
    nearest: pd.DataFrame = kept.loc[alike.sort_values(ascending=False, kind="stable").index]
    return nearest


def _origin(row: "pd.Series[Any]") -> str:
    """The publication that printed a figure, or the run that measured it."""
    changes = [f"seed {row['seed']}"] if row["seed"] else []
    changes += [str(row[name]) for name in ("settings", "checkpoint") if row[name]]
    changes += [f"{row['limit']:.0f} images of each set"] if row["limit"] else []
    changes += [f"{row['images']:.0f} images of each OOD set"] if row["images"] else []
    made = f"measured by oodbench {row['oodbench']} ({', '.join(changes)}), {row['hardware']}, {str(row['date'])[:10]}"
    return str(row["reference"]) or made
