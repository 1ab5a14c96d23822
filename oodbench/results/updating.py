"""A reference brought up to date: which figures of what was measured it holds, and what each of them tolerates."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from math import nan
from typing import Any

import pandas as pd

from oodbench.basics.errors import OodbenchError
from oodbench.results.check import figure_name, reference_figures
from oodbench.results.current import newest_figures
from oodbench.results.reference import COLUMNS, IDENTITY, PUBLISHED
from oodbench.results.tables.summary import MEAN, SUITE, mean_sets

METRICS = ("fpr95", "fpr95_oodpos", "fpr95_clean", "fnr_clean", "auroc", "accuracy")
"""The metrics that a reference of measured figures holds of each cell."""

TOLERANCE = 1e-4
"""For figures of a given network. Rounding differs between machines and swaps a pair of images now and then: an AUROC
moves by one in n_id * n_ood for each, an FPR by a whole image or not at all."""

TRAINED = {"accuracy": 0.014} | dict.fromkeys(("fpr95", "fpr95_oodpos", "fpr95_clean", "fnr_clean", "auroc"), 0.05)
"""For figures of a network that was trained in the run, which differ a little from machine to machine."""


def update_reference(reference: pd.DataFrame | None, frame: pd.DataFrame) -> pd.DataFrame:
    """A reference with what was measured: each figure where one of its name stood, and new ones behind the others.

    Of a given network (`--checkpoint`) each OOD set gets its rows, of one that was trained in the run the mean over
    them, since only the former has the same weights everywhere. A mean that lacks some of the suite's sets has the
    names of those that it is over. Networks whose files have one name in different folders have rows of their own, told
    apart by their digests. What a row tolerates stays as it is; new rows tolerate
    `TOLERANCE` and one image, or `TRAINED`, to either side.

    Args:
        reference: rows of `oodbench.results.reference`; None to begin one.
        frame: tidy, in the default convention.

    Raises:
        OodbenchError: two results of one age have one name.
    """
    rows = _figures_to_keep(frame)[list(COLUMNS)].copy()
    rows["network_digest"] = rows["network_digest"].where(rows["checkpoint"] != "", "")
    rows[["low", "high"]] = nan
    rows["tolerance"] = [_tolerance(row) for _, row in rows.iterrows()]
    rows["sides"] = "both"
    names = pd.MultiIndex.from_frame(rows[[*IDENTITY, "convention", "network_digest"]])
    if names.has_duplicates:
        name = figure_name(rows[names.duplicated()].iloc[0])
        raise OodbenchError(f"two results have the name {name}: a reference holds one; move the older file away")
    if reference is None:
        return rows
    places = _places(reference, rows)
    kept_columns = [
        "tolerance",
        "low",
        "high",
        "sides",
        "note",
        *reference.columns.difference(list(COLUMNS), sort=False),
    ]
    for number, place in enumerate(places):
        if place is not None:
            rows.loc[rows.index[number], kept_columns] = reference.iloc[place][kept_columns]
    remaining = reference.assign(place=range(len(reference)))
    remaining = remaining[~remaining["place"].isin([place for place in places if place is not None])]
    placed = rows.assign(place=[len(reference) if place is None else place for place in places])
    return pd.concat([remaining, placed]).sort_values("place", kind="stable", ignore_index=True).drop(columns="place")


def _places(reference: pd.DataFrame, rows: pd.DataFrame) -> list[int | None]:
    """The row number in a reference of the figure that each of `rows` replaces; None where there is none.

    What was published is never replaced. Of several figures of one name, which tells no networks apart, it is the one
    of the same network and ID images. Where there is none, one that stands alone under its name gives up its place,
    unless another of `rows` has it.
    """
    ours = [place for place, source in enumerate(reference["source"]) if source != PUBLISHED]
    name_columns = [*IDENTITY, "convention"]
    same = [*name_columns, "id_set", "network", "network_digest"]
    places: list[int | None] = [None] * len(rows)
    for columns in (same, same[:-1], name_columns):
        taken = set(places)
        free: dict[Hashable, list[int]] = {}
        for place, name in zip(ours, _tuples(reference.iloc[ours], columns), strict=True):
            if place not in taken:
                free.setdefault(name, []).append(place)
        for number, name in enumerate(_tuples(rows, columns)):
            if places[number] is None and (columns is same or len(free.get(name, [])) == 1):
                places[number] = free.pop(name, [None])[-1]
    return places


def replaced_networks(before: pd.DataFrame, after: pd.DataFrame) -> list[str]:
    """The file names of given networks that a reference had figures of before an update, and has none of after it."""
    columns = [*IDENTITY, "convention", "network_digest"]
    given = before[(before["checkpoint"] != "") & (before["network_digest"] != "")]
    gone = set(_tuples(given, columns)) - set(_tuples(after, columns))
    is_gone = [name in gone for name in _tuples(given, columns)]
    return list(given["checkpoint"][is_gone].unique())


def _tuples(frame: pd.DataFrame, columns: Sequence[str]) -> list[Hashable]:
    return list(frame[list(columns)].itertuples(index=False, name=None))


def cells_behind(frame: pd.DataFrame) -> set[str]:
    """The names of the cells of a tidy frame whose figures `update_reference` takes."""
    return set(_figures_to_keep(frame)["cell"])


def _figures_to_keep(frame: pd.DataFrame) -> pd.DataFrame:
    """The figures of a tidy frame that a reference holds: of several figures of one name and network the newest.

    A network's file that was written anew is the same network; files of one name in two folders are two.
    """
    partial_means = _partial_means(frame)
    measured = reference_figures(frame, partial_means.values())
    file_of_cell = frame.drop_duplicates("cell").set_index("cell")["checkpoint"]
    measured["file"] = measured["cell"].map(file_of_cell)
    for network in ("file", "network_digest") if len(measured) else ():
        told_apart = measured[network].where(measured["checkpoint"] != "", "")
        by_name = measured.groupby([*IDENTITY, "convention", told_apart], sort=False, dropna=False)
        measured = pd.concat([newest_figures(rows) for _, rows in by_name], ignore_index=True)
    is_given = measured["checkpoint"] != ""
    of_set = ~measured["ood"].str.startswith(MEAN)
    places = zip(measured["cell"], measured["task"], strict=True)
    of_all = measured["ood"] == [partial_means.get(place, f"{MEAN}all") for place in places]
    kept = (
        measured["metric"].isin(METRICS)
        & measured["value"].notna()
        & ((measured["ood"] == "") | (is_given & of_set) | (~is_given & of_all))
    )
    return measured[kept]


def _partial_means(frame: pd.DataFrame) -> dict[tuple[str, str], str]:
    """The mean over what there is, of each cell and task that lacks some of the suite's OOD sets."""
    names: dict[tuple[str, str], str] = {}
    for _, suite in frame[frame["ood"] != ""].groupby(SUITE, sort=False):
        for (cell, task), part in suite.groupby(["cell", "task"], sort=False):
            wanted_sets, measured_sets = mean_sets(part).get("all", []), set(part["ood"])
            present = [ood for ood in wanted_sets if ood in measured_sets]
            if present and present != wanted_sets:
                names[str(cell), str(task)] = MEAN + "+".join(present)
    return names


def _tolerance(row: pd.Series[Any]) -> float:
    n_id, n_ood = float(row["n_id"]), max(float(row["n_ood"]), 1.0)
    given = {"fpr95": 1 / n_ood, "fpr95_oodpos": 1 / n_id, "fpr95_clean": 1 / n_ood, "fnr_clean": 1 / n_id}
    given |= {"auroc": max(TOLERANCE, 2 / (n_id * n_ood))}
    return given.get(row["metric"], TOLERANCE) if row["checkpoint"] else TRAINED[row["metric"]]
