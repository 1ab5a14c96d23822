"""Stored scores to one tidy frame, and the frame to a printed table. Nothing is measured again here."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
from tabulate import tabulate

from oodbench import honesty
from oodbench.detector import Detector
from oodbench.errors import unknown
from oodbench.metrics import METRICS, accuracy, bootstrap, curve, evaluate, fpr_at
from oodbench.store import Cell
from oodbench.tasks import ID_TASK

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

LEADING = ("fpr95", "auroc")
"""Metrics that are given with intervals."""

MEASURED = ("suite", "detector", "seed", "task", "ood", "metric", "value", "n_id", "n_ood")
"""The first columns of a tidy frame; what moved the value follows to their right."""

RADIUS = re.compile(r"(.+)-eps(\d+)")
"""Tasks of a curve over radii, as `oodbench.variation` calls them."""

RISE = 0.001
"""By how much an AUROC may rise with the radius before it is said."""

OF_ATTACK = ("looks", "retired", "hidden")
"""Passes an image on average, the share of the images that were left alone early, and the AUROC that this may hide."""

OF_CELL = (
    "settings",
    "limit",
    "images",
    "checkpoint",
    "suite_version",
    "suite_fingerprint",
    "parameters",
    "tuned",
    "network",
)
OF_GROUP = ("distance", "threat", "device", "hardware", "torch", "oodbench", "date")


def tidy(cells: Sequence[Cell], detectors: Mapping[str, type[Detector]], convention: str = "default") -> pd.DataFrame:
    """One row a metric, `value` as a fraction in [0, 1]; columns `MEASURED`, then `convention` and provenance.

    ID accuracy stands in rows of its own, with the task of the ID scores and no OOD set.

    Args:
        cells: what to show.
        detectors: by name; asked how their papers print scores when `convention` is "published".
        convention: of the metrics, see `oodbench.metrics`.

    Raises:
        OodbenchError: an unknown convention or, for "published", an unknown detector.
    """
    columns = [
        *MEASURED,
        "convention",
        "operating_point",
        "low",
        "high",
        *OF_ATTACK,
        *honesty.FLAGS,
        *OF_CELL,
        *OF_GROUP,
        "cell",
    ]
    return pd.DataFrame([row for cell in cells for row in _rows(cell, detectors, convention)], columns=columns)


def render(frame: pd.DataFrame, by: str = "task") -> str:
    """A tidy frame for people, GitHub markdown in percent: one table a suite, with what it rests on below.

    Args:
        frame: from `tidy`.
        by: "task" for the unweighted mean over the suite's OOD sets, "ood" for a row each.
    """
    parts = []
    for keys, part in frame.groupby(["suite", "suite_version", "suite_fingerprint"], sort=False):
        name, version, fingerprint = cast(tuple[str, int, str], keys)
        title = f"### {name} (version {version}, fingerprint {fingerprint[:8]})"
        parts.append(f"{title}\n\n{_table(part, by)}\n\n{_footnotes(part)}")
    return "\n\n".join(parts)


def _rows(cell: Cell, detectors: Mapping[str, type[Detector]], convention: str) -> Iterator[dict[str, Any]]:
    attributes = cell.attributes()
    groups = cell.read()
    name = attributes["detector"]
    of_cell: dict[str, Any] = {column: attributes.get(column, "") for column in ("suite", "detector", "seed", *OF_CELL)}
    of_cell["cell"] = f"{name}/{cell.path.stem}"
    published = _published(str(name), detectors) if convention == "published" else None
    operating_point = published.operating_point if published else None
    of_cell["operating_point"] = operating_point

    def view(scores: Any) -> Any:
        return published.as_published(scores) if published else scores

    attacked_id = {group.task: group for group in groups if group.role == "id"}
    for id_group in (group for group in groups if group.role == "id" and group.task == ID_TASK):
        of_id = {column: id_group.attributes.get(column, "") for column in OF_GROUP}
        shared = {**of_cell, "convention": convention, "n_id": len(id_group.scores)}
        share_right = accuracy(id_group.predictions, id_group.labels)
        yield {
            **shared,
            **of_id,
            "task": id_group.task,
            "ood": "",
            "metric": "accuracy",
            "value": share_right,
            "n_ood": 0,
        }
        for group in (group for group in groups if group.role == "ood"):
            id_scores = view(attacked_id.get(group.task, id_group).scores)
            of_group = {column: group.attributes.get(column, "") for column in OF_GROUP}
            about = {**shared, **of_group, "task": group.task, "ood": group.image_set, "n_ood": len(group.scores)}
            points = curve(id_scores, view(group.scores))
            about |= honesty.measured(points, group.extras, group.attributes)
            if group.task in attacked_id:
                turned = attacked_id[group.task]
                about |= honesty.worse(about, honesty.measured(points, turned.extras, turned.attributes))
            about["retired"] = float(np.mean(group.extras["retired"])) if "retired" in group.extras else float("nan")
            about["hidden"] = about["retired"] * (1 - float(cast(float, group.attributes.get("stops_at", 1.0))))
            about["looks"] = float(cast(float, group.attributes.get("looks", 0))) / len(group.scores)
            values = evaluate(id_scores, view(group.scores), convention)
            if operating_point is not None:
                values["fpr95"] = fpr_at(points, operating_point)
            # A subset stands for the whole set: how far off it may be belongs to it.
            intervals = (
                bootstrap(id_scores, view(group.scores), convention=convention) if attributes.get("images") else {}
            )
            for metric, value in values.items():
                low, high = intervals.get(metric, (float("nan"), float("nan")))
                yield {**about, "metric": metric, "value": value, "low": low, "high": high}


def _published(name: str, detectors: Mapping[str, type[Detector]]) -> type[Detector]:
    if name not in detectors:
        raise unknown("detector", name, detectors)
    return detectors[name]


def _table(frame: pd.DataFrame, by: str) -> str:
    accuracies = frame[frame.metric == "accuracy"].set_index("cell")["value"]
    scores = frame[frame.metric != "accuracy"]
    sets = scores.groupby("task")["ood"].agg(set)
    labels = _labels(frame)
    level = ["ood"] if by == "ood" else []
    subset = bool(scores["low"].notna().any())
    rows = []
    for keys, part in scores.groupby(["cell", "task", *level], sort=False):
        cell, task, *ood = cast(tuple[str, ...], keys)
        complete = by == "ood" or set(part["ood"]) == sets[task]
        means = part.groupby("metric")["value"].mean() * 100
        values = [f"{means[metric]:.2f}" if complete else "incomplete" for metric in METRICS]
        rows.append([labels[cell], task, *ood, *values, f"{accuracies[cell] * 100:.2f}", *(_intervals(part) * subset)])
    texts = ["detector", "task", *(["OOD set"] if level else [])]
    numbers = [HEADINGS[metric] for metric in (*METRICS, "accuracy")]
    numbers += [f"{HEADINGS[metric].split()[0]}, 95 % interval" for metric in LEADING] * subset
    alignment = ["left"] * len(texts) + ["right"] * len(numbers)
    return tabulate(rows, headers=[*texts, *numbers], tablefmt="github", disable_numparse=True, colalign=alignment)


def _intervals(part: pd.DataFrame) -> list[str]:
    """Where the leading metrics of a subset may lie, in percent; nothing where all images were taken."""
    bounds = part.groupby("metric")[["low", "high"]].mean() * 100
    return [
        "" if bounds["low"].isna()[metric] else f"{bounds['low'][metric]:.2f} to {bounds['high'][metric]:.2f}"
        for metric in LEADING
    ]


def _labels(frame: pd.DataFrame) -> dict[str, str]:
    """What each cell is called: the detector, and whatever sets it apart."""
    cells = frame.drop_duplicates("cell").set_index("cell")
    labels = {str(cell): _label(row) for cell, row in cells.iterrows()}
    shared = [label for label, count in Counter(labels.values()).items() if count > 1]
    # The same settings, but other code, parameters or data behind them: the key in the file's name tells them apart.
    return {
        cell: f"{label} {cell.rpartition('-')[2][:6]}" if label in shared else label for cell, label in labels.items()
    }


def _label(cell: "pd.Series[Any]") -> str:
    notes = [f"seed {cell['seed']}"]
    notes += [str(cell["settings"])] if cell["settings"] else []
    notes += [f"first {cell['limit']} images"] if cell["limit"] else []
    notes += [f"{cell['images']} of each OOD set"] if cell["images"] else []
    notes += ["tuned on ID test images"] if _tuned(cell).get("source") == "id-test" else []
    notes += [f"checkpoint {Path(str(cell['checkpoint'])).name}"] if cell["checkpoint"] else []
    return f"{cell['detector']} ({', '.join(notes)})"


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
    cells = frame.drop_duplicates("cell")
    for _, cell in cells[cells["operating_point"].notna()].iterrows():
        lines.append(f"FPR@95 of {_label(cell)} is at its own threshold {cell['operating_point']}, not at 95 % of ID.")
    for keys, part in scores.groupby(["cell", "task"], sort=False):
        means = {flag: float(part.drop_duplicates("ood")[flag].mean()) for flag in honesty.FLAGS}
        if said := honesty.warnings(means):
            name, task = _label(part.iloc[0]), cast(tuple[str, str], keys)[1]
            lines.append(f"FLAG {name}, {task}: {'; '.join(said)}.")
    if scores["low"].notna().any():
        lines.append(
            "95 % intervals are over images (1,000 bootstrap resamples); over several sets the mean of theirs, as if "
            "all erred together."
        )
    lines += _rising_curves(scores)
    attacks = scores[scores["looks"] > 0].drop_duplicates(["cell", "task", "ood"])
    lines += [f"{task}: {_about_cost(part)}." for task, part in attacks.groupby("task", sort=False)]
    lines += [f"{_label(cell)}: {_about_tuning(_tuned(cell))}." for _, cell in cells.iterrows() if _tuned(cell)]
    lines.append("Measured on " + "; ".join(sorted(set(frame["hardware"] + ", torch " + frame["torch"]))) + ".")
    return "\n".join(f"- {line}" for line in lines)


def _tuned(cell: "pd.Series[Any]") -> dict[str, Any]:
    tuned: dict[str, Any] = json.loads(str(cell["tuned"]) or "{}")
    return tuned


def _rising_curves(scores: pd.DataFrame) -> list[str]:
    """A larger ball holds the smaller one, so no AUROC can truly rise with the radius: a line for each that does."""
    aurocs = scores[scores.metric == "auroc"].groupby(["cell", "task"], sort=False)["value"].mean()
    curves: dict[tuple[str, str], list[tuple[int, float]]] = {}
    for (cell, task), value in cast("Iterable[tuple[tuple[str, str], float]]", aurocs.items()):
        if match := RADIUS.fullmatch(task):
            curves.setdefault((cell, match[1]), []).append((int(match[2]), value))
    labels = _labels(scores)
    lines = []
    for (cell, task), points in curves.items():
        rises = [after - before for (_, before), (_, after) in pairwise(sorted(points))]
        if max(rises, default=0.0) > RISE:
            lines.append(
                f"FLAG {labels[cell]}, {task}: the AUROC rises with the radius by {100 * max(rises):.2f} points "
                "somewhere, which no best attack does: the optimiser fails."
            )
    return lines


def _about_cost(attack: pd.DataFrame) -> str:
    """What an attack cost, and how much its early stops may hide."""
    means = attack.groupby("cell")[["looks", "retired", "hidden"]].mean()
    least, most = round(means["looks"].min()), round(means["looks"].max())
    said = f"attacked with {least if least == most else f'{least} to {most}'} passes an image on average"
    if means["retired"].max() > 0:
        said += (
            f"; up to {means['retired'].max():.0%} of the images were left alone when they had passed enough ID "
            f"scores, so an AUROC could be {100 * means['hidden'].max():.2f} points lower at most"
        )
    return said


def _about_tuning(tuned: Mapping[str, Any]) -> str:
    """What was tuned, on what, with which result."""
    source = {"heldout": "held out of training", "id-test": "of the ID test set, which is a leak"}[tuned["source"]]
    outliers = f" and {tuned['outliers']} reserved outliers" if tuned["outliers"] else ""
    chosen = {name: value for name, value in tuned.items() if name not in ("source", "id_images", "outliers", "tried")}
    return f"tuned on {tuned['id_images']} images {source}{outliers}: " + ", ".join(
        f"{name} {_short(value)}" for name, value in chosen.items()
    )


def _short(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(map(_short, value)) + "]"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
