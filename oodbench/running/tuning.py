"""Choosing a parameter's value: a network is trained and scored for each value, on images that are not test images."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import pandas as pd
from tabulate import tabulate

from oodbench.basics.errors import OodbenchError
from oodbench.basics.listeners import Say
from oodbench.basics.words import in_markdown_cell
from oodbench.registry import Registry
from oodbench.results import tables
from oodbench.results.metric_facts import FACTS
from oodbench.results.tables.flags import Flagged
from oodbench.running import network_provenance, runner, sweep
from oodbench.running.parallel import side_by_side
from oodbench.running.plan import RunPlan, SeedPlan, SuitePlan
from oodbench.running.planning import plan
from oodbench.running.request import Request
from oodbench.statistics import severity
from oodbench.statistics.differences import Difference
from oodbench.suitefiles.settings import Setting

METRICS = ("accuracy", "fpr95", "auroc")
"""The metrics of a table of trials."""


@dataclass(frozen=True)
class Trial:
    """One value of the parameter.

    Attributes:
        value: of the parameter.
        fpr95: share of reserved outliers accepted where 95 % of held-out ID images are kept, by task.
        flagged: what a table would flag of these figures; the worst first.
        auroc: of the same images, by task.
        accuracy: share of held-out ID images whose class is recognised; None where they have no labels.
    """

    value: Any
    fpr95: Mapping[str, float]
    flagged: Sequence[Flagged] = ()
    auroc: Mapping[str, float] = field(default_factory=dict)
    accuracy: float | None = None

    def mean(self, tasks: Collection[str]) -> float:
        """The unweighted mean of FPR@95 over `tasks`."""
        return fmean(self.fpr95[task] for task in tasks)

    def mark(self, tasks: Collection[str]) -> str:
        """The sign beside a figure over `tasks`, by the worst flag of one of them; "" without flags."""
        severities = [size for (_, task), size in tables.severities(self.flagged).items() if task in tasks]
        return severity.mark(max(severities)) if severities else ""

    def doubted(self, tasks: Collection[str]) -> bool:
        """True if a figure of one of `tasks` cannot be believed, or is known to be too good."""
        return any(task in tasks for _, task in tables.disqualified_figures(self.flagged))


def plan_trials(request: Request, registry: Registry, name: str, values: Sequence[Any]) -> RunPlan:
    """One validation run for each value of the parameter `name` of the request's one detector, on its one suite.

    A name with a dot is one of `--set`, such as `training.epochs`.

    Returns:
        A plan that has for each of the values, in their order, a `SeedPlan` with one suite.

    Raises:
        OodbenchError: the parameter or a value does not fit, or the suite keeps no images for this.
    """
    (detector,) = request.detectors
    sample = replace(request.sample, validation=True)
    full_name = name if "." in name else f"{detector.name}.{name}"
    requests = [
        replace(request, sample=sample, settings=(*request.settings, Setting(full_name, value))) for value in values
    ]
    return RunPlan(tuple(SeedPlan(of_value, tuple(plan(of_value, registry))) for of_value in requests))


def carry_out(trials: RunPlan, count: int, plugins: Sequence[Path], say: Say) -> None:
    """Carry out all trials, in this process or in `count` side by side.

    Raises:
        OodbenchError: one failed.
    """
    if count > 1:
        failures = side_by_side(trials, count, plugins, say)
    else:
        machinery = trials.machinery
        failures = [failure for trial in trials.seeds for failure in runner.execute(trial.suites, machinery, say)]
    if failures:
        raise OodbenchError(failures[0])


def read_trial(planned: SeedPlan, value: Any) -> Trial:
    """The trial of one value from its stored results, of the tasks that it asked for: files may hold others as well."""
    frame = _frame(planned)
    scores = frame[~frame["metric"].isin(["accuracy", tables.FAILURE])]
    accuracies = frame.loc[frame["metric"] == "accuracy", "value"].dropna()
    return Trial(
        value,
        _by_task(frame, "fpr95"),
        tables.find_flags(scores),
        _by_task(frame, "auroc"),
        float(accuracies.iloc[0]) if len(accuracies) else None,
    )


def _frame(planned: SeedPlan) -> pd.DataFrame:
    return sweep.frame(RunPlan((planned,)), {})


def _by_task(frame: pd.DataFrame, metric: str) -> dict[str, float]:
    rows = frame[frame["metric"] == metric]
    return dict(zip(rows["task"], rows["value"].astype(float), strict=True))


def common_tasks(trials: Sequence[Trial]) -> list[str]:
    """The tasks that every trial has, which alone compare them: some values of a parameter have no bounds."""
    return [task for task in trials[0].fpr95 if all(task in trial.fpr95 for trial in trials)]


def best(trials: Sequence[Trial]) -> Trial | None:
    """The trial with the lowest mean that can be believed, over the tasks that all have; the first of equals.

    A value that hides the gradient leaves an attack nothing to climb, and would have the lowest mean of all.

    Returns:
        None if no mean can be believed.
    """
    tasks = common_tasks(trials)
    believed = [trial for trial in trials if not trial.doubted(tasks)] if tasks else []
    return min(believed, key=lambda trial: trial.mean(tasks), default=None)


def lead(chosen: SeedPlan, other: SeedPlan, tasks: Collection[str]) -> Difference | None:
    """By how much the mean of FPR@95 over `tasks` is higher with another value than with the chosen one.

    The interval is the mean of those of the tasks: as wide as it would be if their errors went together, which is the
    worst case.

    Returns:
        None if a task was not the same with both, so that no images can be paired.
    """
    cells = [planned.suites[0].cells[0].cell for planned in (other, chosen)]
    rows, _ = tables.result_difference(cells[0], _frame(other), cells[1], _frame(chosen))
    rows = rows[(rows["metric"] == "fpr95") & rows["task"].isin(tasks)]
    if len(rows) < len(tasks):
        return None
    return Difference(*(float(rows[column].mean()) for column in ("value", "low", "high")))


def doubt(planned: SuitePlan) -> str:
    """The objections to the images that decide, in parentheses; "" if there are none.

    Training may start from weights that were trained on them before, or the detector tune itself on them.
    """
    first = planned.networks[0]
    kept = network_provenance.unseen_metadata(planned.suite, planned.image_sets, first.objective, first.start)
    doubts = []
    if first.start is not None and not all(kept.values()):
        doubts.append(f"whether {first.start.name} was trained on them is not known")
    detector = first.cells[0].detector
    tuning = detector.tuning()
    if tuning is not None and tuning.source == "heldout":
        doubts.append(
            f"{detector.name} tunes itself on some of them too, so these figures are better than on new images"
        )
    return f" ({'; '.join(doubts)})" if doubts else ""


def render(name: str, trials: Sequence[Trial]) -> str:
    """A table of the values of the parameter `name`: ID accuracy, FPR@95 and AUROC of each task, the mean of FPR@95.

    Figures are in percent, with the signs of what is flagged.
    """
    tasks = list(dict.fromkeys(task for trial in trials for task in trial.fpr95))
    common = common_tasks(trials)
    accuracy, fpr95, auroc = (FACTS[metric].short for metric in METRICS)
    headings = [name, accuracy, *(f"{task} {title}" for task in tasks for title in (fpr95, auroc)), f"mean {fpr95}"]
    rows = []
    for trial in trials:
        figures = [_figure(values.get(task), trial, [task]) for task in tasks for values in (trial.fpr95, trial.auroc)]
        mean = trial.mean(common) if common else None
        rows.append([str(trial.value), _figure(trial.accuracy, trial, []), *figures, _figure(mean, trial, common)])
    first, *cells = [[in_markdown_cell(text) for text in row] for row in (headings, *rows)]
    return tabulate(cells, headers=first, tablefmt="github", disable_numparse=True, stralign="right")


def _figure(value: float | None, trial: Trial, tasks: Collection[str]) -> str:
    """A figure in percent, with the sign of the worst flag of `tasks`; a dash where there is none."""
    return "–" if value is None else tables.percent_text(value) + trial.mark(tasks)


def notes(name: str, trials: Sequence[Trial]) -> list[str]:
    """The notes below that table, a line each: what is flagged, what the signs mean and what its means leave out."""
    common = common_tasks(trials)
    lines = [
        f"FLAG {name} = {trial.value}, {flag.about}: {flag.seen}."
        for trial in trials
        for flag in trial.flagged
        if set(flag.tasks) & set(trial.fpr95)
    ]
    lines += [severity.MARKS] if lines else []
    uneven = dict.fromkeys(task for trial in trials for task in trial.fpr95 if task not in common)
    return lines + [
        f"{task} is in no mean: {name} = {', '.join(str(trial.value) for trial in trials if task not in trial.fpr95)} "
        "has no figure of it."
        for task in uneven
    ]


def chance(name: str, leads: Mapping[str, Difference]) -> list[str]:
    """A note of which values may be as good as the one with the lowest mean; none if all are worse beyond chance.

    Args:
        name: of the parameter.
        leads: see `lead`; by the other value.
    """
    close = {value: difference for value, difference in leads.items() if difference.low <= 0}
    if not close:
        return []
    intervals = ", ".join(
        f"{name} = {value} lies {tables.percent_text(one.value)} points above it (95 % interval "
        f"{tables.percent_text(one.low)} to {tables.percent_text(one.high)})"
        for value, one in close.items()
    )
    return [f"The lowest mean may be no more than chance of these images: {intervals}."]


def advice(detector: str, name: str, trials: Sequence[Trial]) -> str:
    """The value to take and what to write into the suite's file, or why none can be recommended."""
    tasks = common_tasks(trials)
    if not tasks:
        return "No value can be recommended: there is no task of which all have a figure."
    doubted = [str(trial.value) for trial in trials if trial.doubted(tasks)]
    why = "with a figure that is not to be believed or known to be too good"
    chosen = best(trials)
    if chosen is None:
        return (
            f"No value can be recommended: each comes {why}. Mend what the flags name, or attack harder: --set changes "
            "the constants of a task."
        )
    line = f"{name} = {json.dumps(chosen.value)}"  # which TOML writes alike: numbers, texts, true and false
    aside = f", {name} = {', '.join(doubted)} aside, which comes {why}" if doubted else ""
    if "." in name:
        return f"The lowest mean is that of {line}{aside}; for a run: --set {name}={chosen.value}"
    return f"The lowest mean is that of {line}{aside}; for the suite's file:\n\n[detectors.{detector}]\n{line}"
