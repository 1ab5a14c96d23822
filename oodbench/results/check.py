"""Measured against reference: which figures hold, which are worse, and which cannot be compared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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
from oodbench.results.conditions import SCORED_IN_TF32
from oodbench.results.current import Today
from oodbench.results.metric_facts import FACTS
from oodbench.results.reference import COLUMNS, CONDITIONS, IDENTITY, NUMBERS, digest_of_sets
from oodbench.results.store import Cell
from oodbench.results.tables import flags
from oodbench.results.tables.summary import MEAN, SUITE, mean_sets, sets_behind
from oodbench.suite import Suite

if TYPE_CHECKING:
    from oodbench.detector import Detector

SLACK = 1e-9
"""Fractions go through text: this much is no difference."""


KEPT_ALONG = ("current", "cell", "means", "distance")
"""Columns of a tidy frame that stand beside those of a reference while the two are compared."""


class Status(StrEnum):
    """The outcome for one figure, worst first."""

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
    def text(self) -> str:
        """The verdict in words, in percent."""
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
    it, a worse value fails, and a better one does if the row says "both" under `sides`, or if tables flag it as not to
    be believed, or as too good by more than a point: an attack that broke makes figures better.

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
    failures: list[Verdict] = []
    today = Today(detectors, suites or {})
    for convention, rows in reference.groupby("convention", sort=False):
        is_known = str(convention) in CONVENTIONS
        frame = tables.tidy(cells, detectors, str(convention) if is_known else "default")
        failures = _failures(frame)  # the same in every convention
        measured = _MeasuredFigures(reference_figures(frame, rows["ood"]), frame[frame["metric"] != tables.FAILURE])
        for _, row in rows.iterrows():
            candidates = _of_the_same(row, measured.rows_named(row))
            candidates = candidates if candidates.empty else today.choose_current(candidates)
            if is_known or candidates.empty:
                verdicts.append(_verdict(row, candidates, measured))
            else:
                verdicts.append(_not_comparable(row, f"in convention {convention!r}, unknown here"))
    if all(verdict.status is Status.MISSING for verdict in verdicts):
        raise OodbenchError(
            f"none of the reference's {len(verdicts)} figures was measured here: run what it names, or give another "
            "reference; the same command with --update writes one from these results"
        )
    return worst_first(verdicts + failures)


def worst_first(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """The worst first."""
    order = list(Status)
    return sorted(verdicts, key=lambda verdict: (order.index(verdict.status), -verdict.beyond))


def _failures(frame: pd.DataFrame) -> list[Verdict]:
    """A verdict for each detector of a tidy frame that failed when it was last tried."""
    failed = frame[frame["metric"] == tables.FAILURE]
    names = [figure_name(row) for _, row in _as_reference(failed).assign(metric="").iterrows()]
    return [
        Verdict(name, Status.FAIL, nan, nan, 0.0, f"failed: {why}")
        for name, why in zip(names, failed["failed"], strict=True)
    ]


def reference_figures(frame: pd.DataFrame, mean_names: Iterable[str] = ()) -> pd.DataFrame:
    """A tidy frame in a reference's columns and `KEPT_ALONG`; each of the suite's means stands beside its sets.

    Args:
        frame: from `tidy`.
        mean_names: means over any sets, `MEAN` and their names with "+" between them, which stand there as well.
    """
    frame = frame[frame["metric"] != tables.FAILURE]
    chosen_sets = [
        tuple(ood.removeprefix(MEAN).split("+")) for ood in dict.fromkeys(mean_names) if ood.startswith(MEAN)
    ]
    parts = [frame[:0]]
    for _, cell in frame.groupby([*SUITE, "cell"], sort=False):
        cell_choices = [sets for sets in chosen_sets if not set(sets) & mean_sets(cell).keys()]
        tasks = cell[cell["ood"] != ""].groupby("task", sort=False)
        parts += [cell, *(_mean_rows(cell, task, cell_choices) for _, task in tasks)]
    return _as_reference(pd.concat(parts, ignore_index=True))


def _as_reference(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of a tidy frame in a reference's columns and `KEPT_ALONG`."""
    rows = rows.assign(images_digest=_images_digests(rows))
    rows["checkpoint"] = [Path(str(path)).name for path in rows["checkpoint"]]
    rows["data"] = rows["source"]
    rows = rows.assign(source="measured", tolerance=nan, sides="", reference="", note="", sd=nan)
    texts = [name for name in (*IDENTITY, *CONDITIONS) if name not in NUMBERS]
    return rows.astype(dict.fromkeys(texts, str) | dict.fromkeys(NUMBERS, float))[[*COLUMNS, *KEPT_ALONG]]


def _images_digests(rows: pd.DataFrame) -> list[str]:
    """The `images_digest` of each row of a tidy frame; one of a mean has its sets' fingerprints in place of one."""
    of_id = rows[rows["ood"] == ""].set_index("cell")["fingerprint"].to_dict()
    digests = []
    for cell, ood, fingerprint in zip(rows["cell"], rows["ood"], rows["fingerprint"], strict=True):
        of_ood = fingerprint if isinstance(fingerprint, tuple) else [str(fingerprint)] * bool(ood)
        digests.append(digest_of_sets(str(of_id.get(cell, "")), of_ood))
    return digests


def _mean_rows(cell: pd.DataFrame, task: pd.DataFrame, choices: Sequence[tuple[str, ...]] = ()) -> pd.DataFrame:
    """Rows for each mean that the suite names, and over each of `choices`, of one cell and task.

    None where one of the mean's sets is missing.
    """
    template = task[task["ood"] == task["ood"].iloc[0]].set_index("metric", drop=False)
    of_set = task.drop_duplicates("ood").set_index("ood")
    values = task.pivot(index="metric", columns="ood", values="value")
    means = mean_sets(cell) | {"+".join(sets): list(sets) for sets in choices}
    rows = [
        template.assign(
            value=values[sets].mean(axis=1, skipna=False),  # over fewer sets it would be another figure
            ood=MEAN + name,
            n_ood=int(of_set["n_ood"][sets].sum()),
            scores=digest(*of_set["scores"][sets]),
            fingerprint=[tuple(of_set["fingerprint"][sets])] * len(template),
        )
        for name, sets in means.items()
        if set(sets) <= set(of_set.index)
    ]
    return pd.concat(rows).assign(source="", low=nan, high=nan).reset_index(drop=True) if rows else task[:0]


def _of_the_same(row: pd.Series[Any], named: pd.DataFrame) -> pd.DataFrame:
    """Of figures named as a reference row, those of its network and images; all where it has none of them.

    Two given networks may have files of one name, and two sets of images may be called alike.
    """
    for column in ("network_digest", "images_digest") if len(named) > 1 else ():
        is_same = named[column] == row[column]
        named = named[is_same] if is_same.any() else named
    return named


class _MeasuredFigures:
    """The measured figures, indexed by their names, since a reference may have thousands of rows.

    Attributes:
        frame: from `reference_figures`.
        tidy: what `frame` was made of.
        sets: OOD sets and means in it.
    """

    def __init__(self, frame: pd.DataFrame, tidy: pd.DataFrame) -> None:
        self.frame = frame
        self.tidy = tidy
        self.sets = list(frame["ood"].unique())
        self._rows: dict[tuple[Any, ...], list[int]] = {}
        for number, named in enumerate(frame[list(IDENTITY)].itertuples(index=False, name=None)):
            self._rows.setdefault(named, []).append(number)
            # A reference that says no seed means any; no figure is without one.
            self._rows.setdefault(_identity(dict(zip(IDENTITY, named, strict=True)), seed=""), []).append(number)

    def rows_named(self, row: pd.Series[Any], **other: str) -> pd.DataFrame:
        """The figures named as a reference row, but for the columns in `other`; a seed that it lacks may be any."""
        return self.frame.iloc[self._rows.get(_identity(row, **other), [])]

    def flagged_effect(self, figure: pd.Series[Any]) -> float | None:
        """By how much a figure may be off that is not to be believed or known to be too good; None for others."""
        cell = self.tidy[(self.tidy["cell"] == figure["cell"]) & (self.tidy["ood"] != "")]
        found_flags = flags.find_flags(cell[cell["ood"].isin(sets_behind(cell, figure["ood"]))])
        place = (figure["cell"], figure["task"])
        return flags.severities(found_flags)[place] if place in flags.disqualified_figures(found_flags) else None


def _identity(row: Mapping[str, Any] | pd.Series[Any], **other: str) -> tuple[Any, ...]:
    return tuple(other.get(name, row[name]) for name in IDENTITY)


def _verdict(row: pd.Series[Any], candidates: pd.DataFrame, measured: _MeasuredFigures) -> Verdict:
    if candidates.empty:
        return Verdict(figure_name(row), Status.MISSING, row["value"], nan, 0.0, _unmeasured_text(row, measured))
    if len(candidates) > 1:
        seeds = list(dict.fromkeys(candidates["seed"].astype(str)))
        if len(seeds) > 1:
            return _not_comparable(
                row, f"it says no seed, and {', '.join(seeds)} were measured: write the one it is of"
            )
        return _not_comparable(
            row, f"{len(candidates)} results have this name, and none is the newest; move the others away"
        )
    figure = candidates.iloc[0]
    if figure["current"] == "no":
        return _not_comparable(row, "made by other code than today's: run it again")
    for name in CONDITIONS:
        expected = row[name]
        if expected not in ("", None) and expected == expected and expected != figure[name]:
            return _not_comparable(
                row, f"{_difference_text(name)}: {_shortened(figure[name])}, not {_shortened(expected)}"
            )
    if row["hardware"] and (SCORED_IN_TF32 in row["hardware"]) != (SCORED_IN_TF32 in figure["hardware"]):
        return _not_comparable(row, f"another precision: one of the two was {SCORED_IN_TF32}, which is other scores")
    if isnan(figure["value"]):
        return _not_comparable(row, f"unknown: the images of {figure['id_set']} carry no labels")
    low, high = row["value"] - row["tolerance"], row["value"] + row["tolerance"]
    low, high = (row["low"], row["high"]) if isnan(low) else (low, high)
    if isnan(low) or isnan(high):
        return _not_comparable(row, "the reference states neither a tolerance nor an interval")
    value = float(figure["value"])
    beyond = max(low - value, value - high)
    range_of = f"({100 * max(low, 0):.4g} to {100 * min(high, 1):.4g})"
    if beyond <= SLACK:
        return Verdict(figure_name(row), Status.PASS, row["value"], value, 0.0, range_of)
    worse = (value > high) == FACTS[row["metric"]].lower_is_better
    effect = None if worse else measured.flagged_effect(figure)
    if effect is not None:
        range_of += f", better, and flagged: it may be off by {100 * effect:.0f} points (`oodbench table --long`)"
    status = Status.FAIL if worse or row["sides"] == "both" or effect is not None else Status.BETTER
    return Verdict(figure_name(row), status, row["value"], value, beyond, range_of)


def _unmeasured_text(row: pd.Series[Any], measured: _MeasuredFigures) -> str:
    """Say that a figure was not measured, or only on some of the sets that its mean is over."""
    if not row["ood"].startswith(MEAN):
        return "not measured here"
    measured_sets = {ood: rows for ood in measured.sets if not (rows := measured.rows_named(row, ood=ood)).empty}
    if not measured_sets:
        return "not measured here"
    cell = next(iter(measured_sets.values()))["cell"].iloc[0]
    suite_rows = measured.frame[measured.frame["cell"] == cell]
    missing = [ood for ood in sets_behind(suite_rows, row["ood"]) if ood not in measured_sets]
    return f"not measured here on {', '.join(missing)}, and a mean over other OOD sets is another figure"


def _difference_text(column: str) -> str:
    """Say in words that the values of a column differ."""
    if column == "images_digest":
        return "other images under the same names, by their digest"
    name = {"id_set": "ID set", "n_id": "number of ID images", "n_ood": "number of OOD images"}.get(column, column)
    return f"{'other' if name in ('parameters', 'constants') else 'another'} {name.replace('_', ' ')}"


def _not_comparable(row: pd.Series[Any], reason: str) -> Verdict:
    return Verdict(figure_name(row), Status.NOT_COMPARABLE, row["value"], nan, 0.0, reason)


def figure_name(row: pd.Series[Any]) -> str:
    notes = [f"seed {row['seed']}"] if row["seed"] else []
    notes += [str(row[name]) for name in ("settings", "checkpoint") if row[name]]
    notes += [f"{row['limit']:.0f} images of each set"] if row["limit"] else []
    notes += [f"{row['images']:.0f} of each OOD set"] if row["images"] else []
    place = [str(row[name]) for name in ("task", "ood", "metric") if row[name]]
    notes_text = f" ({', '.join(notes)})" if notes else ""
    return " ".join([f"{row['suite']} {row['detector']}{notes_text}".strip(), *place])


def _shortened(value: Any) -> str:
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 40 else f"{text[:12]}…"
