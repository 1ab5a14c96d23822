"""A reference brought up to date: which figures of what was measured it holds, and what each of them tolerates."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from math import nan
from typing import Any

import pandas as pd

from oodbench.basics.errors import OodbenchError
from oodbench.results.check import figures, name_of
from oodbench.results.current import newest
from oodbench.results.reference import COLUMNS, IDENTITY, PUBLISHED
from oodbench.results.tables.summary import MEAN, SUITE, means

METRICS = ("fpr95", "fpr95_oodpos", "fpr95_clean", "fnr_clean", "auroc", "accuracy")
"""What a reference of measured figures holds of each cell."""

TOLERANCE = 1e-4
"""For figures of a given network. Rounding differs between machines and swaps a pair of images now and then: an AUROC
moves by one in n_id * n_ood for each, an FPR by a whole image or not at all."""

TRAINED = {"accuracy": 0.014} | dict.fromkeys(("fpr95", "fpr95_oodpos", "fpr95_clean", "fnr_clean", "auroc"), 0.05)
"""For figures of a network that was trained in the run, which differ a little from machine to machine."""


def updated(reference: pd.DataFrame | None, frame: pd.DataFrame) -> pd.DataFrame:
    """A reference with what was measured: each figure where one of its name stood, and new ones behind the others.

    Of a given network (`--checkpoint`) each OOD set gets its rows, of one that was trained in the run the mean over
    them, since only the former has the same weights everywhere. A mean that lacks some of the suite's sets has the
    names of those that it is over. What a row tolerates stays as it is; new rows tolerate
    `TOLERANCE` and one image, or `TRAINED`, to either side.

    Args:
        reference: rows of `oodbench.results.reference`; None to begin one.
        frame: tidy, in the default convention.

    Raises:
        OodbenchError: two results of one age have one name.
    """
    rows = _to_keep(frame)[list(COLUMNS)].copy()
    rows["network_digest"] = rows["network_digest"].where(rows["checkpoint"] != "", "")
    rows[["low", "high"]] = nan
    rows["tolerance"] = [_tolerated(row) for _, row in rows.iterrows()]
    rows["sides"] = "both"
    new = pd.MultiIndex.from_frame(rows[[*IDENTITY, "convention"]])
    if new.has_duplicates:
        name = name_of(rows[new.duplicated()].iloc[0])
        raise OodbenchError(f"two results have the name {name}: a reference holds one; move the older file away")
    if reference is None:
        return rows
    places = _places(reference, rows)
    stated = ["tolerance", "low", "high", "sides", "note", *reference.columns.difference(list(COLUMNS), sort=False)]
    for number, place in enumerate(places):
        if place is not None:
            rows.loc[rows.index[number], stated] = reference.iloc[place][stated]
    left = reference.assign(place=range(len(reference)))
    left = left[~left["place"].isin([place for place in places if place is not None])]
    put = rows.assign(place=[len(reference) if place is None else place for place in places])
    return pd.concat([left, put]).sort_values("place", kind="stable", ignore_index=True).drop(columns="place")


def _places(reference: pd.DataFrame, rows: pd.DataFrame) -> list[int | None]:
    """Where in a reference the figure stands that each of `rows` replaces; None where there is none.

    What was published is never replaced. Of several figures of one name, which tells no networks apart, it is the one
    of the same network and ID images.
    """
    named, whole = [*IDENTITY, "convention"], [*IDENTITY, "convention", "id_set", "network"]
    alike: dict[Hashable, list[int]] = {}
    same: dict[Hashable, int] = {}
    for place, (name, all_of_it) in enumerate(zip(_tuples(reference, named), _tuples(reference, whole), strict=True)):
        if reference["source"].iloc[place] != PUBLISHED:
            alike.setdefault(name, []).append(place)
            same[all_of_it] = place
    found: list[int | None] = []
    for name, all_of_it in zip(_tuples(rows, named), _tuples(rows, whole), strict=True):
        others = alike.get(name, [])
        found.append(same.get(all_of_it, others[0] if len(others) == 1 else None))
    return found


def _tuples(frame: pd.DataFrame, columns: Sequence[str]) -> list[Hashable]:
    return list(frame[list(columns)].itertuples(index=False, name=None))


def cells_behind(frame: pd.DataFrame) -> set[str]:
    """Of the cells of a tidy frame those whose figures `updated` takes, by name."""
    return set(_to_keep(frame)["cell"])


def _to_keep(frame: pd.DataFrame) -> pd.DataFrame:
    """What a reference holds of a tidy frame: of several figures of one name the newest."""
    partial = _partial(frame)
    measured = figures(frame, partial.values())
    if not measured.empty:
        same = measured.groupby([*IDENTITY, "convention"], sort=False, dropna=False)
        measured = pd.concat([newest(alike) for _, alike in same], ignore_index=True)
    given = measured["checkpoint"] != ""
    of_set = ~measured["ood"].str.startswith(MEAN)
    places = zip(measured["cell"], measured["task"], strict=True)
    of_all = measured["ood"] == [partial.get(place, f"{MEAN}all") for place in places]
    kept = (
        measured["metric"].isin(METRICS)
        & measured["value"].notna()
        & ((measured["ood"] == "") | (given & of_set) | (~given & of_all))
    )
    return measured[kept]


def _partial(frame: pd.DataFrame) -> dict[tuple[str, str], str]:
    """The mean over what there is, of each cell and task that lacks some of the suite's OOD sets."""
    found: dict[tuple[str, str], str] = {}
    for _, suite in frame[frame["ood"] != ""].groupby(SUITE, sort=False):
        for (cell, task), part in suite.groupby(["cell", "task"], sort=False):
            wanted, there = means(part).get("all", []), set(part["ood"])
            own = [ood for ood in wanted if ood in there]
            if own and own != wanted:
                found[str(cell), str(task)] = MEAN + "+".join(own)
    return found


def _tolerated(row: pd.Series[Any]) -> float:
    n_id, n_ood = float(row["n_id"]), max(float(row["n_ood"]), 1.0)
    given = {"fpr95": 1 / n_ood, "fpr95_oodpos": 1 / n_id, "fpr95_clean": 1 / n_ood, "fnr_clean": 1 / n_id}
    given |= {"auroc": max(TOLERANCE, 2 / (n_id * n_ood))}
    return given.get(row["metric"], TOLERANCE) if row["checkpoint"] else TRAINED[row["metric"]]
