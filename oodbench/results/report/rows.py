"""One cell to one row: its values, the curves behind them, what passed, what is flagged and what it rests on."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from oodbench.basics.errors import OodbenchError
from oodbench.basics.files import without_folders
from oodbench.metrics import curve, threshold_at_95
from oodbench.results import tables
from oodbench.results.attributes import json_object
from oodbench.results.beside import ID_SCORES, compared_id_group, has_other_score, plain_id_group
from oodbench.results.bundling import FILES
from oodbench.results.report.curves import histogram, roc
from oodbench.results.report.model import LEFT_OUT, Flag, Panel, Row, Signs, Value
from oodbench.results.report.operating import row_operating_points
from oodbench.results.report.sheets import Attacked, Originals, sheet
from oodbench.results.store import Cell, Scores
from oodbench.results.tables.flags import Flagged
from oodbench.results.tables.layout import one_line
from oodbench.results.tables.next_command import FOLDERS
from oodbench.results.tables.operating import why_no_promise
from oodbench.statistics.severity import mark
from oodbench.tasks import KINDS

if TYPE_CHECKING:
    from oodbench.detector import Detector

NUMBERS = ("value", "low", "high")
"""Columns that are averaged over sets, as in a table."""

LEADING = ("fpr95", "auroc")
"""Metrics of a leaderboard."""

OF_GROUP = {
    "measured": "date",
    "oodbench": "oodbench",
    "torch": "torch",
    "python": "python",
    "device": "device",
    "hardware": "hardware",
}
"""Headings of what is the same in most groups of a cell, and the attributes they stand for."""

OUTDATED = ", other code than the method has today"


@dataclass(frozen=True)
class Result:
    """A cell and its metrics; its scores are read when its row is made, so that one cell is in memory at a time."""

    cell: Cell
    attributes: Mapping[str, Any]
    frame: pd.DataFrame
    outliers: bool | None = None

    @property
    def scores(self) -> pd.DataFrame:
        """Metrics without those of ID alone."""
        return self.frame[~self.frame["metric"].isin(["accuracy", tables.FAILURE])]

    @property
    def trouble(self) -> str:
        """Its trouble: its detector failed, or all its OOD scores are stale, and why; "" if there is none."""
        failed = self.frame.loc[self.frame["metric"] == tables.FAILURE, "failed"]
        if not failed.empty:
            return f"failed: {one_line(failed.iloc[0])}"
        stale = "" if self.frame.empty else str(self.frame["stale"].iloc[0])
        return f"stale and left out: {stale}; run it again" if stale and self.scores.empty else ""


def read(cells: Sequence[Cell], detectors: Mapping[str, type[Detector]]) -> list[Result]:
    """Cells and their metrics.

    Args:
        cells: what to show.
        detectors: by name; their code is today's.

    Raises:
        OodbenchError: a cell is damaged, or no run wrote it.
    """
    # The page shows intervals on demand, so every figure has one.
    frame, names = _without_machine_folders(tables.tidy(cells, detectors, intervals=True)), tables.cell_names(cells)
    outlier_use = {name: _uses_outliers(name, detectors) for name in dict.fromkeys(frame["detector"])}
    return [
        Result(
            cell,
            (attributes := cell.attributes()),
            frame[frame["cell"] == name],
            outlier_use.get(attributes["detector"]),
        )
        for cell, name in zip(cells, names, strict=True)
    ]


def _without_machine_folders(frame: pd.DataFrame) -> pd.DataFrame:
    """A tidy frame without the folders of this machine: pages are passed on, and flags say commands to run."""
    files = {name: frame[name].map(without_folders) for name in FILES}
    # Of a folder of this machine the name alone leads nowhere: the command takes the usual one.
    folders = {name: frame[name].where(frame[name].map(without_folders) == frame[name], "") for name in FOLDERS}
    return frame.assign(**files, **folders)


def _uses_outliers(name: str, detectors: Mapping[str, type[Detector]]) -> bool | None:
    """True if the detector of this name trains with outliers; None where its method is not at hand."""
    try:
        return detectors[name]().objective().uses_outliers if name in detectors else None
    except OodbenchError:  # what it imports is not installed here
        return None


def row(
    result: Result,
    name: str,
    views: Mapping[str, Sequence[str]],
    apart: Mapping[str, str],
    originals: Originals,
    share: int,
) -> Row:
    """Make the row of a board for `result`.

    Args:
        result: with a score of an OOD image at least.
        name: of the row.
        views: OOD sets by what values are averaged over.
        apart: by task, why it is held against no other row.
        originals: where images before an attack come from.
        share: bytes that each of its sheets may take.

    Raises:
        OodbenchError: the cell is damaged.
    """
    scores, groups = result.scores, _Groups.of(result.cell)
    left_out = str(result.frame["stale"].iloc[0])
    id_group = plain_id_group(groups.groups)
    by_task = {str(task): part for task, part in scores.groupby("task", sort=False)}
    flagged = tables.find_flags(scores)
    before = partial(originals.of, str(result.attributes["network"]))
    return Row(
        name=name,
        detector=str(result.attributes["detector"]),
        paper=str(result.attributes.get("paper", "")),
        outliers=result.outliers,
        accuracy=(accuracy := float(result.frame[result.frame["metric"] == "accuracy"]["value"].iloc[0])),
        accuracy_text=tables.percent_text(accuracy),
        apart=apart,
        id_set=id_group.image_set,
        n_id=len(id_group.scores),
        constants=groups.constants,
        threats={task: str(part["threat"].iloc[0]) for task, part in by_task.items()},
        means={
            task: {view: means_of(part, set(sets)) for view, sets in views.items()} for task, part in by_task.items()
        },
        panels=[_panel(groups, group, scores) for group in groups.ood],
        operating=row_operating_points(groups.groups, views, why_no_promise(result.attributes)),
        signs=signs_of(scores, views),
        flags=flags_of(flagged) | ({"stored scores": [_stale_flag(left_out)]} if left_out else {}),
        sheets={task: sheet(attacked, before, share) for task, attacked in groups.attacked()},
        provenance=_provenance(result, groups),
    )


@dataclass(frozen=True)
class _Groups:
    """The groups of one cell, but for stale ones."""

    groups: Sequence[Scores]

    @classmethod
    def of(cls, cell: Cell) -> _Groups:
        all_groups = cell.read()
        stale = tables.stale_groups(all_groups)
        return cls([group for group in all_groups if (group.task, group.image_set) not in stale])

    @property
    def ood(self) -> list[Scores]:
        """The groups of OOD images."""
        return [group for group in self.groups if group.role == "ood"]

    def id_of(self, group: Scores) -> Scores:
        """ID scores that a group is held against: attacked ones where its task attacks them."""
        return compared_id_group(self.groups, group)

    @cached_property
    def constants(self) -> dict[str, Mapping[str, Any]]:
        """The constants of each task."""
        return {group.task: json_object(group.attributes.get("constants")) for group in self.ood}

    def clean(self, moved: Scores) -> Scores | None:
        """Scores of a group's images as they are, by the same score, where they were measured."""
        for group in self.ood:
            is_clean = group.task == moved.attributes.get(ID_SCORES) or (
                not has_other_score(moved) and self.constants[group.task].get("kind") == "clean"
            )
            if group.image_set == moved.image_set and is_clean:
                return group
        return None

    def attacked(self) -> Iterator[tuple[str, list[Attacked]]]:
        """Tasks that move OOD images inside a ball, with the sets they were done to."""
        for task, constants in self.constants.items():
            kind = KINDS.get(constants.get("kind", ""))
            if kind and not kind.certifies and constants.get("epsilon") and constants.get("side") != "in":
                yield (
                    task,
                    [
                        Attacked(group, self.id_of(group).scores, self.clean(group))
                        for group in self.ood
                        if group.task == task
                    ],
                )


def means_of(part: pd.DataFrame, sets: set[str]) -> dict[str, Value] | None:
    """FPR@95 and AUROC of one task, unweighted over `sets`; None where one of them is missing."""
    chosen = part[part["ood"].isin(sets)]
    # Of an attack whose constants changed halfway there is no mean.
    if set(chosen["ood"]) != sets or chosen["constants"].nunique() > 1:
        return None
    values = {}
    for metric in LEADING:
        of_metric = chosen[chosen["metric"] == metric]
        values[metric] = _value({name: float(np.mean(of_metric[name].to_numpy(float))) for name in NUMBERS})
    return values


def _value(numbers: Any) -> Value:
    """Make a value from a row of a frame with value, low and high."""
    if pd.isna(numbers["low"]):
        return Value(float(numbers["value"]))
    return Value(float(numbers["value"]), float(numbers["low"]), float(numbers["high"]))


def _panel(groups: _Groups, group: Scores, scores: pd.DataFrame) -> Panel:
    id_scores, clean = groups.id_of(group).scores, groups.clean(group)
    series = {"id": id_scores, "ood": group.scores}
    if clean is not None and clean is not group:
        series["clean"] = clean.scores
    figures_of_panel = scores[(scores["task"] == group.task) & (scores["ood"] == group.image_set)].set_index("metric")
    return Panel(
        task=group.task,
        ood=group.image_set,
        n_ood=len(group.scores),
        metrics={str(metric): _value(figures_of_panel.loc[metric]) for metric in figures_of_panel.index},
        threshold=threshold_at_95(id_scores),
        roc=roc(curve(id_scores, group.scores)),
        histogram=histogram(series),
    )


def signs_of(scores: pd.DataFrame, views: Mapping[str, Sequence[str]]) -> dict[str, Signs]:
    """The signs of one row's figures by view, from the rows of a tidy frame."""
    return {view: _signs(tables.find_flags(scores[scores["ood"].isin(sets)])) for view, sets in views.items()}


def _signs(flags: Sequence[Flagged]) -> Signs:
    marks = {task: mark(effect) for (_, task), effect in tables.severities(flags).items()}
    return Signs(marks, sorted({task for _, task in tables.disqualified_figures(flags)}))


def flags_of(flags: Sequence[Flagged]) -> dict[str, list[Flag]]:
    """The flags by task, or curve over radii."""
    flags_of_task: dict[str, list[Flag]] = {}
    for flag in flags:
        flags_of_task.setdefault(flag.about, []).append(Flag(flag.text, flag.effect, flag.belief))
    return flags_of_task


def _stale_flag(reason: str) -> Flag:
    return Flag(f"stale and left out: {reason}; run it again", 0.0, LEFT_OUT)


def provenance(result: Result) -> dict[str, str]:
    """The provenance of a result in words, by heading.

    Raises:
        OodbenchError: the cell is damaged.
    """
    return _provenance(result, _Groups.of(result.cell))


def _code_text(result: Result) -> str:
    outdated = bool((result.frame["current"] == "no").any())
    return str(result.attributes.get("code", ""))[:16] + OUTDATED * outdated


def _provenance(result: Result, groups: _Groups) -> dict[str, str]:
    attributes = result.attributes
    digest = str(attributes["network_digest"])[:16]
    network = f"{attributes['network']}, {attributes.get('network_file', '')}, digest {digest}"
    suite, fingerprint = attributes["suite"], attributes["suite_fingerprint"]
    texts = {
        "suite": f"{suite}, version {attributes['suite_version']}, fingerprint {fingerprint}",
        "detector": f"{attributes['detector']}: {attributes.get('paper', '')}",
        "parameters": str(attributes.get("parameters", "")),
        "code of the method": _code_text(result),
        "tuning": _tuning_text(attributes),
        "tuned": str(attributes["tuned"]) if attributes.get("tuned") not in (None, "", "{}") else "",
        "seed": str(attributes["seed"]),
        "changed for this run": str(attributes.get("settings", "")),
        "network": network,
        "network trained on": str(attributes.get("trained_on") or ("unknown" if attributes.get("checkpoint") else "")),
        "checkpoint": Path(str(attributes.get("checkpoint", ""))).name,
        "pretrained network": str(attributes.get("pretrained", "")),
    }
    for heading, name in OF_GROUP.items():
        values = sorted({str(group.attributes[name]) for group in groups.ood if name in group.attributes})
        texts[heading] = f"{values[0]} to {values[-1]}" if heading == "measured" and values[1:] else "; ".join(values)
    sources = {
        group.image_set: f"{group.image_set}: {len(group.scores)} images, {group.attributes.get('source', '')}, "
        f"fingerprint {str(group.attributes.get('fingerprint', ''))[:16]}"
        for group in groups.groups
    }
    texts["images"] = "\n".join(sources.values())
    texts["tasks"] = "\n".join(f"{task}: {json.dumps(constants)}" for task, constants in groups.constants.items())
    texts["cost of attacks"] = "\n".join(_cost_lines(result.scores))
    texts["file"] = "/".join(result.cell.path.parts[-3:])
    return {heading: text for heading, text in texts.items() if text}


def _tuning_text(attributes: Mapping[str, Any]) -> str:
    """Say in words on what a detector was tuned; "" if it was not."""
    record = json_object(attributes.get("tuned"))
    return tables.tuning_text(record, bool(attributes.get("checkpoint"))) if record else ""


def _cost_lines(scores: pd.DataFrame) -> Iterator[str]:
    """The cost of each attack, and how much its early stops may hide."""
    for task, part in scores[scores["looks"] > 0].groupby("task", sort=False):
        yield f"{task}: {tables.cost_text(part.drop_duplicates('ood'))}"
