"""Stored scores to one tidy frame, and the frame to a printed table. Nothing is measured again here."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd
from tabulate import tabulate

from oodbench.detector import Detector
from oodbench.errors import unknown
from oodbench.metrics import METRICS, accuracy, evaluate
from oodbench.plan import ID_TASK
from oodbench.store import Cell

HEADINGS: Mapping[str, str] = {
    "accuracy": "ID accuracy ↑",
    "fpr95": "FPR@95 ↓",
    "fpr95_oodpos": "FPR@95 OOD+ ↓",
    "auroc": "AUROC ↑",
    "aupr_in": "AUPR-in ↑",
    "aupr_out": "AUPR-out ↑",
    "detection_error": "detection error ↓",
}
"""Metrics in table order, with an arrow towards better."""

MEASURED = ("suite", "detector", "seed", "task", "ood", "metric", "value", "n_id", "n_ood")
"""The first columns of a tidy frame; what moved the value follows to their right."""

OF_CELL = ("settings", "limit", "checkpoint", "suite_version", "suite_fingerprint", "parameters", "network")
OF_GROUP = ("distance", "threat", "device", "hardware", "torch", "oodbench", "date")
VARIANT = ["suite", "suite_version", "suite_fingerprint", "detector", "settings", "limit", "checkpoint", "seed"]
"""What tells one row of the printed table from another, beside the task."""


def tidy(cells: Sequence[Cell], detectors: Mapping[str, type[Detector]], convention: str = "default") -> pd.DataFrame:
    """One row a metric, `value` as a fraction in [0, 1]; columns `MEASURED`, then `convention` and provenance.

    ID accuracy stands in rows of its own, with task "id" and no OOD set.

    Args:
        cells: what to show.
        detectors: by name; asked how their papers print scores when `convention` is "published".
        convention: of the metrics, see `oodbench.metrics`.

    Raises:
        OodbenchError: an unknown convention or, for "published", an unknown detector.
    """
    columns = [*MEASURED, "convention", *OF_CELL, *OF_GROUP]
    return pd.DataFrame([row for cell in cells for row in _rows(cell, detectors, convention)], columns=columns)


def render(frame: pd.DataFrame, by: str = "task") -> str:
    """A tidy frame for people, GitHub markdown in percent: one table a suite, with what it rests on below.

    Args:
        frame: from `tidy`.
        by: "task" for the unweighted mean over the suite's OOD sets, "ood" for a row each.
    """
    suites = frame.groupby(["suite", "suite_version", "suite_fingerprint"], sort=False)
    return "\n\n".join(
        f"### {name} (version {version}, fingerprint {fingerprint[:8]})\n\n{_table(part, by)}\n\n{_footnotes(part)}"
        for (name, version, fingerprint), part in suites
    )


def _rows(cell: Cell, detectors: Mapping[str, type[Detector]], convention: str) -> Iterator[dict[str, Any]]:
    attributes = cell.attributes()
    groups = cell.read()
    name = attributes["detector"]
    of_cell = {column: attributes[column] for column in ("suite", "detector", "seed", *OF_CELL)}
    if convention == "published" and name not in detectors:
        raise unknown("detector", str(name), detectors)

    def view(scores: Any) -> Any:
        return detectors[str(name)].as_published(scores) if convention == "published" else scores

    for id_group in (group for group in groups if group.role == "id"):
        of_id = {column: id_group.attributes.get(column, "") for column in OF_GROUP}
        shared = {**of_cell, "convention": convention, "n_id": len(id_group.scores)}
        share_right = accuracy(id_group.predictions, id_group.labels)
        yield {**shared, **of_id, "task": ID_TASK, "ood": "", "metric": "accuracy", "value": share_right, "n_ood": 0}
        id_scores = view(id_group.scores)
        for group in (group for group in groups if group.role == "ood"):
            of_group = {column: group.attributes.get(column, "") for column in OF_GROUP}
            about = {**shared, **of_group, "task": group.task, "ood": group.image_set, "n_ood": len(group.scores)}
            for metric, value in evaluate(id_scores, view(group.scores), convention).items():
                yield {**about, "metric": metric, "value": value}


def _table(frame: pd.DataFrame, by: str) -> str:
    accuracies = frame[frame.metric == "accuracy"].set_index(VARIANT)["value"]
    scores = frame[frame.metric != "accuracy"]
    sets = scores.groupby("task", sort=False)["ood"].agg(set)
    rows = []
    for keys, part in scores.groupby([*VARIANT, "task", *(["ood"] if by == "ood" else [])], sort=False):
        variant, (task, *ood) = keys[: len(VARIANT)], keys[len(VARIANT) :]
        complete = by == "ood" or set(part["ood"]) == sets[task]
        means = part.groupby("metric")["value"].mean() * 100
        cells = [f"{means[metric]:.2f}" if complete else "incomplete" for metric in METRICS]
        rows.append(
            [_label(dict(zip(VARIANT, variant, strict=True))), task, *ood, *cells, f"{accuracies[variant] * 100:.2f}"]
        )
    ood_heading = ["OOD set"] if by == "ood" else []
    headings = ["detector", "task", *ood_heading, *(HEADINGS[metric] for metric in METRICS), HEADINGS["accuracy"]]
    return tabulate(rows, headers=headings, tablefmt="github", disable_numparse=True, colalign=_alignment(headings))


def _alignment(headings: Sequence[str]) -> list[str]:
    return ["left" if heading in ("detector", "task", "OOD set") else "right" for heading in headings]


def _label(variant: Mapping[str, Any]) -> str:
    notes = [str(variant["settings"])] if variant["settings"] else []
    notes += [f"first {variant['limit']} images"] if variant["limit"] else []
    notes += [f"checkpoint {str(variant['checkpoint']).rpartition('/')[2]}"] if variant["checkpoint"] else []
    notes += [f"seed {variant['seed']}"]
    return f"{variant['detector']} ({', '.join(notes)})"


def _footnotes(frame: pd.DataFrame) -> str:
    scores = frame[frame.metric != "accuracy"]
    sizes = scores.drop_duplicates("ood")[["ood", "distance", "n_ood"]].itertuples(index=False)
    lines = [
        f"Percent; mean over {scores['ood'].nunique()} OOD sets, unweighted: "
        + ", ".join(f"{ood} ({distance}, {count} images)" for ood, distance, count in sizes)
        + f"; {frame['n_id'].iloc[0]} ID images.",
        f"Convention {frame['convention'].iloc[0]!r}; FPR@95 is the share of OOD accepted where 95 % of ID is kept, "
        "OOD+ the share of ID rejected where 95 % of OOD is caught.",
    ]
    lines += [
        f"{task}: {threat}." for task, threat in scores[["task", "threat"]].drop_duplicates().itertuples(index=False)
    ]
    lines.append("Measured on " + "; ".join(sorted(set(frame["hardware"] + ", torch " + frame["torch"]))) + ".")
    return "\n".join(f"- {line}" for line in lines)
