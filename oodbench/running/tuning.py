"""Choosing a parameter by training and scoring once for each value, on images that are not the test's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
from tabulate import tabulate

from oodbench.basics.errors import OodbenchError
from oodbench.basics.words import in_markdown_cell
from oodbench.registry import Registry
from oodbench.results import tables
from oodbench.running import network_provenance, runner
from oodbench.running.parallel import side_by_side
from oodbench.running.plan import SuitePlan
from oodbench.running.planning import plan
from oodbench.running.request import Request
from oodbench.running.train_or_load import Say
from oodbench.suitefiles.settings import Setting


@dataclass(frozen=True)
class Trial:
    """One value of the parameter.

    Attributes:
        value: of the parameter.
        fpr95: share of reserved outliers accepted where 95 % of held-out ID images are kept, by task.
    """

    value: Any
    fpr95: Mapping[str, float]

    @property
    def mean(self) -> float:
        """Over the tasks, unweighted."""
        return sum(self.fpr95.values()) / len(self.fpr95)


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


def trial(planned: SuitePlan, value: Any) -> Trial:
    """What came of one of them."""
    cells = [cell.cell for network in planned.networks for cell in network.cells]
    frame: pd.DataFrame = tables.tidy(cells, {})
    measured = frame[frame.metric == "fpr95"]
    return Trial(value, dict(zip(measured["task"], measured["value"].astype(float), strict=True)))


def best(trials: Sequence[Trial]) -> Trial:
    """The lowest mean; the first of equals."""
    return min(trials, key=lambda each: each.mean)


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
    """Values of the parameter `name` and what came of each, FPR@95 in percent."""
    tasks = list(trials[0].fpr95)
    rows = []
    for each in trials:
        percents = [f"{100 * value:.2f}" for value in (*(each.fpr95[task] for task in tasks), each.mean)]
        rows.append([str(each.value), *percents])
    headings, *cells = [[in_markdown_cell(text) for text in row] for row in ([name, *tasks, "mean"], *rows)]
    return tabulate(cells, headers=headings, tablefmt="github", disable_numparse=True, stralign="right")
