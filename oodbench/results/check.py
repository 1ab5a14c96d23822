"""Measured against reference: which figures hold, which are worse, and which cannot be compared."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import isnan, nan
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from oodbench.basics.errors import OodbenchError
from oodbench.basics.files import digest
from oodbench.metrics import CONVENTIONS
from oodbench.results import tables
from oodbench.results.current import Today, newest
from oodbench.results.reference import COLUMNS, CONDITIONS, IDENTITY, NUMBERS, PUBLISHED
from oodbench.results.store import Cell
from oodbench.results.tables import View
from oodbench.results.tables.summary import MEAN, SUITE, behind, lower_is_better, means, summarise
from oodbench.suite import Suite

if TYPE_CHECKING:
    from oodbench.detector import Detector

METRICS = ("fpr95", "fpr95_oodpos", "fpr95_clean", "fnr_clean", "auroc", "accuracy")
"""What a reference of measured figures holds of each cell."""

TOLERANCE = 1e-4
"""For figures of a given network. Rounding differs between machines and swaps a pair of images now and then: an AUROC
moves by one in n_id * n_ood for each, an FPR by a whole image or not at all."""

TRAINED = {"accuracy": 0.014} | dict.fromkeys(("fpr95", "fpr95_oodpos", "fpr95_clean", "fnr_clean", "auroc"), 0.05)
"""For figures of a network that was trained in the run, which differ a little from machine to machine."""

SLACK = 1e-9
"""Fractions go through text: this much is no difference."""


KEPT_ALONG = ("current", "cell", "means", "distance")
"""Columns of a tidy frame that stand beside those of a reference while the two are compared."""


class Status(StrEnum):
    """What came of one figure, worst first."""

    FAIL = "fail"
    NOT_COMPARABLE = "not comparable"
    MISSING = "missing"
    BETTER = "better"
    PASS = "pass"


@dataclass(frozen=True)
class Verdict:
    """One row of a reference against what was measured.

    Attributes:
        name: of the figure: suite, detector, seed, task, OOD set, metric, and whatever sets it apart.
        status: what came of it.
        expected: the reference's value, a fraction.
        measured: NaN where nothing was compared.
        beyond: by how much it lies outside what is tolerated; 0 inside.
        why: what is tolerated, or what keeps the two from being compared.
    """

    name: str
    status: Status
    expected: float
    measured: float
    beyond: float
    why: str

    @property
    def said(self) -> str:
        """For people, in percent."""
        if isnan(self.measured):
            return f"{self.name}: {self.why}"
        return f"{self.name}: {100 * self.measured:.4g}, expected {100 * self.expected:.4g} {self.why}"


def check(
    cells: Sequence[Cell],
    reference: pd.DataFrame,
    detectors: Mapping[str, type[Detector]],
    suites: Mapping[str, Suite] | None = None,
) -> list[Verdict]:
    """A verdict for each row of a reference and each detector that failed, the worst first.

    A row is compared with the one figure of the same name if both agree in all that the row says of
    `oodbench.results.reference.CONDITIONS`. It passes within its tolerance or, where it has none, its interval. Beyond
    it, a worse value fails, and a better one does if the row says "both" under `sides`.

    Of several figures of one name, the one counts that today's code, parameters and suite would make, as far as that
    is known, and of those the newest. What other code made than today's is compared with nothing.

    Args:
        cells: what was measured.
        reference: rows of `oodbench.results.reference`.
        detectors: by name; their code is today's, and they are asked how their papers print scores for rows in the
            published convention.
        suites: by name, as they are today.

    Raises:
        OodbenchError: results cannot be read, nothing was measured, or a convention or detector is unknown.
    """
    verdicts: list[Verdict] = []
    today = Today(detectors, suites or {})
    for convention, rows in reference.groupby("convention", sort=False):
        ours = str(convention) in CONVENTIONS
        measured = _Named(figures(tables.tidy(cells, detectors, str(convention) if ours else "default"), rows["ood"]))
        for _, row in rows.iterrows():
            found = measured.like(row)
            found = found if found.empty else today.among(found)
            if ours or found.empty:
                verdicts.append(_verdict(row, found, measured))
            else:
                verdicts.append(_uncompared(row, f"in convention {convention!r}, unknown here"))
    if all(verdict.status is Status.MISSING for verdict in verdicts):
        raise OodbenchError(
            f"none of the reference's {len(verdicts)} figures was measured here: run what it names, or give another "
            "reference; `oodbench check --update` writes one from these results"
        )
    verdicts += _failures(cells)
    return ordered(verdicts)


def ordered(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """The worst first."""
    order = list(Status)
    return sorted(verdicts, key=lambda verdict: (order.index(verdict.status), -verdict.beyond))


def _failures(cells: Sequence[Cell]) -> list[Verdict]:
    """A verdict for each detector that failed when it was last tried."""
    frame = tables.tidy(cells, {})
    failed = frame[frame["metric"] == tables.FAILURE]
    names = [_name(row) for _, row in _as_reference(failed).assign(metric="").iterrows()]
    return [
        Verdict(name, Status.FAIL, nan, nan, 0.0, f"failed: {why}")
        for name, why in zip(names, failed["failed"], strict=True)
    ]


def figures(frame: pd.DataFrame, named: Iterable[str] = ()) -> pd.DataFrame:
    """A tidy frame in a reference's columns and `KEPT_ALONG`; each of the suite's means stands beside its sets.

    Args:
        frame: from `tidy`.
        named: means over any sets, `MEAN` and their names with "+" between them, which stand there as well.
    """
    frame = frame[frame["metric"] != tables.FAILURE]
    choices = [tuple(ood.removeprefix(MEAN).split("+")) for ood in dict.fromkeys(named) if ood.startswith(MEAN)]
    parts = [frame[:0]]
    for _, cell in frame.groupby([*SUITE, "cell"], sort=False):
        for_cell = [sets for sets in choices if not set(sets) & means(cell).keys()]
        tasks = cell[cell["ood"] != ""].groupby("task", sort=False)
        parts += [cell, *(_means(cell, task, for_cell) for _, task in tasks)]
    return _as_reference(pd.concat(parts, ignore_index=True))


def _as_reference(every: pd.DataFrame) -> pd.DataFrame:
    """Rows of a tidy frame in a reference's columns and `KEPT_ALONG`."""
    every = every.copy()
    every["checkpoint"] = [Path(str(path)).name for path in every["checkpoint"]]
    every["data"] = every["source"]
    every = every.assign(source="measured", tolerance=nan, sides="", reference="", note="", sd=nan)
    texts = [name for name in (*IDENTITY, *CONDITIONS) if name not in NUMBERS]
    return every.astype(dict.fromkeys(texts, str) | dict.fromkeys(NUMBERS, float))[[*COLUMNS, *KEPT_ALONG]]


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
        name = _name(rows[new.duplicated()].iloc[0])
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


def _means(cell: pd.DataFrame, task: pd.DataFrame, choices: Sequence[tuple[str, ...]] = ()) -> pd.DataFrame:
    """Rows for each mean that the suite names, and over each of `choices`, of one cell and task.

    None where one of the mean's sets is missing.
    """
    whole = task[task["ood"] == task["ood"].iloc[0]].set_index("metric", drop=False)
    sets = task.drop_duplicates("ood").set_index("ood")
    sizes, scores = sets["n_ood"], sets["scores"]
    values: dict[str, dict[str, float]] = {}
    frame = pd.concat([cell[cell["ood"] == ""], task])
    views = [View(by="mean"), *(View(sets=sets) for sets in choices if set(sets) <= set(sizes.index))]
    for entry in (entry for view in views for entry in summarise(frame, view)):
        if entry.ood.startswith(MEAN):
            values.setdefault(entry.ood, {})[entry.metric] = entry.value
    rows = [
        whole.assign(
            value=pd.Series(of_mean),
            ood=ood,
            n_ood=int(sizes[behind(cell, ood)].sum()),
            scores=digest(*scores[behind(cell, ood)]),
        )
        for ood, of_mean in values.items()
        if set(behind(cell, ood)) <= set(sizes.index)  # accuracy has a value all the same
    ]
    return pd.concat(rows).assign(source="", low=nan, high=nan).reset_index(drop=True) if rows else task[:0]


def _tolerated(row: pd.Series[Any]) -> float:
    n_id, n_ood = float(row["n_id"]), max(float(row["n_ood"]), 1.0)
    given = {"fpr95": 1 / n_ood, "fpr95_oodpos": 1 / n_id, "fpr95_clean": 1 / n_ood, "fnr_clean": 1 / n_id}
    given |= {"auroc": max(TOLERANCE, 2 / (n_id * n_ood))}
    return given.get(row["metric"], TOLERANCE) if row["checkpoint"] else TRAINED[row["metric"]]


class _Named:
    """What was measured, by its names: a reference may have thousands of rows.

    Attributes:
        frame: from `figures`.
        sets: OOD sets and means in it.
    """

    def __init__(self, frame: pd.DataFrame) -> None:
        self.frame = frame
        self.sets = list(frame["ood"].unique())
        self._rows: dict[tuple[Any, ...], list[int]] = {}
        for number, named in enumerate(frame[list(IDENTITY)].itertuples(index=False, name=None)):
            self._rows.setdefault(named, []).append(number)
            # A reference that says no seed means any; no figure is without one.
            self._rows.setdefault(_name_of(dict(zip(IDENTITY, named, strict=True)), seed=""), []).append(number)

    def like(self, row: pd.Series[Any], **other: str) -> pd.DataFrame:
        """What has the name of a reference row, but for what is `other`; a seed that it does not say may be any."""
        return self.frame.iloc[self._rows.get(_name_of(row, **other), [])]


def _name_of(row: Mapping[str, Any] | pd.Series[Any], **other: str) -> tuple[Any, ...]:
    return tuple(other.get(name, row[name]) for name in IDENTITY)


def _verdict(row: pd.Series[Any], found: pd.DataFrame, measured: _Named) -> Verdict:
    if found.empty:
        return Verdict(_name(row), Status.MISSING, row["value"], nan, 0.0, _unmeasured(row, measured))
    if len(found) > 1:
        seeds = list(dict.fromkeys(found["seed"].astype(str)))
        if len(seeds) > 1:
            return _uncompared(row, f"it says no seed, and {', '.join(seeds)} were measured: write the one it is of")
        return _uncompared(row, f"{len(found)} results have this name, and none is the newest; move the others away")
    one = found.iloc[0]
    if one["current"] == "no":
        return _uncompared(row, "made by other code than today's: run it again")
    for name in CONDITIONS:
        said = row[name]
        if said not in ("", None) and said == said and said != one[name]:
            return _uncompared(row, f"{_other(name)}: {_short(one[name])}, not {_short(said)}")
    if isnan(one["value"]):
        return _uncompared(row, f"unknown: the images of {one['id_set']} carry no labels")
    low, high = row["value"] - row["tolerance"], row["value"] + row["tolerance"]
    low, high = (row["low"], row["high"]) if isnan(low) else (low, high)
    if isnan(low) or isnan(high):
        return _uncompared(row, "the reference states neither a tolerance nor an interval")
    value = float(one["value"])
    beyond = max(low - value, value - high)
    range_of = f"({100 * max(low, 0):.4g} to {100 * min(high, 1):.4g})"
    if beyond <= SLACK:
        return Verdict(_name(row), Status.PASS, row["value"], value, 0.0, range_of)
    worse = (value > high) == lower_is_better(row["metric"])
    status = Status.FAIL if worse or row["sides"] == "both" else Status.BETTER
    return Verdict(_name(row), status, row["value"], value, beyond, range_of)


def _unmeasured(row: pd.Series[Any], measured: _Named) -> str:
    """That a figure was not measured, or only on some of the sets that its mean is over."""
    if not row["ood"].startswith(MEAN):
        return "not measured here"
    there = {ood: found for ood in measured.sets if not (found := measured.like(row, ood=ood)).empty}
    if not there:
        return "not measured here"
    cell = next(iter(there.values()))["cell"].iloc[0]
    of_suite = measured.frame[measured.frame["cell"] == cell]
    missing = [ood for ood in behind(of_suite, row["ood"]) if ood not in there]
    return f"not measured here on {', '.join(missing)}, and a mean over other OOD sets is another figure"


def _other(column: str) -> str:
    """That what a column says is not the same, in words."""
    name = {"id_set": "ID set", "n_id": "number of ID images", "n_ood": "number of OOD images"}.get(column, column)
    return f"{'other' if name in ('parameters', 'constants') else 'another'} {name.replace('_', ' ')}"


def _uncompared(row: pd.Series[Any], why: str) -> Verdict:
    return Verdict(_name(row), Status.NOT_COMPARABLE, row["value"], nan, 0.0, why)


def _name(row: pd.Series[Any]) -> str:
    notes = [f"seed {row['seed']}"] if row["seed"] else []
    notes += [str(row[name]) for name in ("settings", "checkpoint") if row[name]]
    notes += [f"{row['limit']:.0f} images of each set"] if row["limit"] else []
    notes += [f"{row['images']:.0f} of each OOD set"] if row["images"] else []
    place = [str(row[name]) for name in ("task", "ood", "metric") if row[name]]
    about = f" ({', '.join(notes)})" if notes else ""
    return " ".join([f"{row['suite']} {row['detector']}{about}".strip(), *place])


def _short(value: Any) -> str:
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 40 else f"{text[:12]}…"
