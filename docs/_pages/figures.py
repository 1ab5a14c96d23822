"""What was measured of a detector, and what others have published of it, as tables."""

import re
from collections.abc import Mapping
from functools import cache

import pandas as pd

from docs._pages.page import linked, table
from oodbench.results import reference
from oodbench.tasks import KINDS

METRICS = ("fpr95", "auroc")
HEAD = "FPR@95 / AUROC"


@cache
def _rows(which: str) -> pd.DataFrame:
    return reference.shipped_reference(which)


def measured_suites() -> list[str]:
    """Names of the suites with measured figures."""
    return sorted({suite for suite, _ in _measured()})


@cache
def _measured() -> dict[tuple[str, str], pd.DataFrame]:
    """Rows by suite and detector: of the suite's own settings, in the default convention."""
    rows = _rows("measured")
    rows = rows[(rows["settings"] == "") & (rows["limit"] == 0) & (rows["convention"] == "default")]
    rows = rows[rows["metric"].isin(METRICS)]
    return {(str(suite), str(name)): own for (suite, name), own in rows.groupby(["suite", "detector"])}


@cache
def measured(suite: str, detector: str) -> Mapping[str, tuple[float, float, str]]:
    """By task, the mean FPR@95 and AUROC over OOD sets in percent, and of how many images of each set.

    Of a task that was measured on several numbers of images the largest counts, and of settings only the suite's own.
    """
    if (suite, detector) not in _measured():
        return {}
    rows = _measured()[suite, detector]
    found = {}
    for task in dict.fromkeys(rows["task"]):
        own = rows[rows["task"] == task]
        images = 0 if (own["images"] == 0).any() else int(own["images"].max())
        own = own[own["images"] == images]
        single = own[~own["ood"].str.startswith("mean:")]
        if not single.empty:
            means = single.groupby("metric")["value"].mean()
        else:
            means = own[own["ood"] == "mean:all"].set_index("metric")["value"]
        if set(METRICS) <= set(means.index):
            fpr95, auroc = (100 * float(means[metric]) for metric in METRICS)
            found[task] = (fpr95, auroc, "all" if images == 0 else f"{images:,} of each set")
    return found


def measured_detectors(suite: str) -> list[str]:
    """Names of the detectors that were measured on a suite."""
    return sorted(name for of, name in _measured() if of == suite)


def cell(found: Mapping[str, tuple[float, float, str]], task: str) -> str:
    """FPR@95 and AUROC of a task, or a dash where there are none; `found` is what `measured` gives."""
    return f"{found[task][0]:.2f} / {found[task][1]:.2f}" if task in found else "–"


def _place(task: str) -> int:
    """Of a task among others, as they are named everywhere; one of a suite's own comes last."""
    return list(KINDS).index(task) if task in KINDS else len(KINDS)


def measured_table(suite: str, detector: str) -> str:
    """A table of `measured`; empty where nothing was."""
    known = measured(suite, detector)
    found = {task: known[task] for task in sorted(known, key=_place)}
    rows = [(task, f"{fpr95:.2f} / {auroc:.2f}", images) for task, (fpr95, auroc, images) in found.items()]
    return table(rows, ["task", HEAD, "images"]) if rows else ""


def published_table(detector: str) -> str:
    """What others printed of the detector, with who and where; empty where nothing is known.

    A network trained in its way and scored by several scores has rows that name the score, as "aloe+msp" does.
    """
    rows = _rows("published")
    named = rows["detector"].str.fullmatch(rf"{re.escape(detector)}(\+[a-z].*)?")
    rows = rows[named & rows["metric"].isin(METRICS)]
    shown: list[tuple[str, ...]] = []
    keys = ["detector", "suite", "network", "task", "ood", "convention", "reference", "note"]
    apart = ["settings", "checkpoint", "seed", "id_set", "parameters", "constants", "epsilon"]
    for (*key, _, _, _, _, _, _, _), own in rows.groupby([*keys, *apart], sort=False, dropna=False):
        values = own.set_index("metric")["value"]
        figures = " / ".join(f"{100 * values[name]:.2f}" if name in values else "–" for name in METRICS)
        name, suite, network, task, ood, convention, where, note = map(str, key)
        score = name.removeprefix(detector).removeprefix("+")
        sets = ood.removeprefix("mean:")
        shown.append((score, suite, network, task, sets, figures, convention, linked(where), note))
    head = ["score", "suite", "network", "task", "OOD sets", HEAD, "convention", "published in", "note"]
    if not any(row[0] for row in shown):
        head, shown = head[1:], [row[1:] for row in shown]
    return table(shown, head) if shown else ""
