"""Choosing a parameter by training and scoring once for each value, on images that are not the test's."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import pandas as pd
from tabulate import tabulate

from oodbench.basics.errors import OodbenchError
from oodbench.basics.words import in_markdown_cell
from oodbench.registry import Registry
from oodbench.results import tables
from oodbench.results.tables.flags import Flagged
from oodbench.running import network_provenance, runner, sweep
from oodbench.running.parallel import side_by_side
from oodbench.running.plan import SuitePlan
from oodbench.running.planning import plan
from oodbench.running.request import Request
from oodbench.running.train_or_load import Say
from oodbench.statistics import severity
from oodbench.suitefiles.settings import Setting


@dataclass(frozen=True)
class Trial:
    """One value of the parameter.

    Attributes:
        value: of the parameter.
        fpr95: share of reserved outliers accepted where 95 % of held-out ID images are kept, by task.
        flagged: what is flagged of these figures, as of those of a table; the worst first.
    """

    value: Any
    fpr95: Mapping[str, float]
    flagged: Sequence[Flagged] = ()

    def mean(self, tasks: Collection[str]) -> float:
        """Over `tasks`, unweighted."""
        return fmean(self.fpr95[task] for task in tasks)

    def mark(self, tasks: Collection[str]) -> str:
        """The sign beside a figure over `tasks`, by the worst that is flagged of one of them."""
        found = [size for (_, task), size in tables.severities(self.flagged).items() if task in tasks]
        return severity.mark(max(found)) if found else ""

    def doubted(self, tasks: Collection[str]) -> bool:
        """One of the figures of `tasks` is not to be believed, or known to be too good."""
        return any(task in tasks for _, task in tables.disqualified_figures(self.flagged))


Trying = tuple[Request, SuitePlan]
"""A request that tries one value, and what is to be done for it."""


def plans(request: Request, registry: Registry, name: str, values: Sequence[Any]) -> list[Trying]:
    """One validation run for each value of the parameter `name` of the request's one detector, on its one suite.

    Raises:
        OodbenchError: the parameter or a value does not fit, or the suite keeps no images for this.
    """
    (detector,) = request.detectors
    sample = replace(request.sample, validation=True)
    requests = [
        replace(request, sample=sample, settings=(*request.settings, Setting(f"{detector.name}.{name}", value)))
        for value in values
    ]
    return [(each, plan(each, registry)[0]) for each in requests]


def carry_out(planned: Sequence[Trying], count: int, plugins: Sequence[Path], say: Say) -> None:
    """Do all of them, in this process or in `count` side by side.

    Raises:
        OodbenchError: one failed.
    """
    if count > 1:
        failures = side_by_side([(request, [each]) for request, each in planned], count, plugins, say)
    else:
        failures = [failure for request, each in planned for failure in runner.execute([each], request.machinery, say)]
    if failures:
        raise OodbenchError(failures[0])


def trial(request: Request, planned: SuitePlan, value: Any) -> Trial:
    """What came of one of them, of the tasks that it asked for: a file may hold those of earlier suites as well."""
    frame: pd.DataFrame = sweep.frame([(request, [planned])], {})
    measured = frame[frame["metric"] == "fpr95"]
    scores = frame[~frame["metric"].isin(["accuracy", tables.FAILURE])]
    return Trial(
        value, dict(zip(measured["task"], measured["value"].astype(float), strict=True)), tables.find_flags(scores)
    )


def in_common(trials: Sequence[Trial]) -> list[str]:
    """The tasks that every trial has, which alone compare them: of bounds, some values of a parameter have none."""
    return [task for task in trials[0].fpr95 if all(task in each.fpr95 for each in trials)]


def best(trials: Sequence[Trial]) -> Trial | None:
    """The lowest mean that can be believed, over the tasks that all have, the first of equals; None if none can be.

    A value that hides the gradient leaves an attack nothing to climb, and would have the lowest mean of all.
    """
    tasks = in_common(trials)
    believed = [each for each in trials if not each.doubted(tasks)] if tasks else []
    return min(believed, key=lambda each: each.mean(tasks), default=None)


def doubt(planned: SuitePlan) -> str:
    """What is to be said against the images that decide; "" if nothing is.

    Training may start from weights that were trained on them before, or the detector tune itself on them.
    """
    first = planned.networks[0]
    kept = network_provenance.kept_out(planned.suite, planned.image_sets, first.objective, first.start)
    said = []
    if first.start is not None and not all(kept.values()):
        said.append(f"whether {first.start.name} was trained on them is not known")
    detector = first.cells[0].detector
    tuned = detector.tuning()
    if tuned is not None and tuned.source == "heldout":
        said.append(f"{detector.name} tunes itself on some of them too, so these figures are better than on new images")
    return f" ({'; '.join(said)})" if said else ""


def render(name: str, trials: Sequence[Trial]) -> str:
    """Values of the parameter `name` and what came of each, FPR@95 in percent, with the signs of what is flagged."""
    tasks = list(dict.fromkeys(task for each in trials for task in each.fpr95))
    common = in_common(trials)
    rows = []
    for each in trials:
        figures = [_figure(each, [task]) if task in each.fpr95 else "–" for task in tasks]
        rows.append([str(each.value), *figures, _figure(each, common) if common else "–"])
    headings, *cells = [[in_markdown_cell(text) for text in row] for row in ([name, *tasks, "mean"], *rows)]
    return tabulate(cells, headers=headings, tablefmt="github", disable_numparse=True, stralign="right")


def _figure(each: Trial, tasks: Collection[str]) -> str:
    return tables.percent_text(each.mean(tasks)) + each.mark(tasks)


def notes(name: str, trials: Sequence[Trial]) -> list[str]:
    """What must be known of that table: what is flagged, what the signs mean and what its means leave out."""
    common = in_common(trials)
    said = [
        f"FLAG {name} = {each.value}, {one.about}: {one.seen}."
        for each in trials
        for one in each.flagged
        if set(one.tasks) & set(each.fpr95)
    ]
    said += [severity.MARKS] if said else []
    uneven = dict.fromkeys(task for each in trials for task in each.fpr95 if task not in common)
    return said + [
        f"{task} is in no mean: {name} = {', '.join(str(each.value) for each in trials if task not in each.fpr95)} "
        "has no figure of it."
        for task in uneven
    ]


def advice(detector: str, name: str, trials: Sequence[Trial]) -> str:
    """Which value to take and what to write into the suite's file, or why none can be recommended."""
    tasks = in_common(trials)
    if not tasks:
        return "No value can be recommended: there is no task of which all have a figure."
    doubted = [str(each.value) for each in trials if each.doubted(tasks)]
    why = "with a figure that is not to be believed or known to be too good"
    chosen = best(trials)
    if chosen is None:
        return (
            f"No value can be recommended: each comes {why}. Mend what the flags name, or attack harder: --set changes "
            "the constants of a task."
        )
    line = f"{name} = {json.dumps(chosen.value)}"  # which TOML writes alike: numbers, texts, true and false
    aside = f", {name} = {', '.join(doubted)} aside, which comes {why}" if doubted else ""
    return f"The lowest mean is that of {line}{aside}; for the suite's file:\n\n[detectors.{detector}]\n{line}"
