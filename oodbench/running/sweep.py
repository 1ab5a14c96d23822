"""A run with one or several seeds: its passes, its results as a frame, and how it is carried out on this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from oodbench.basics.listeners import Say
from oodbench.basics.passes import Passes
from oodbench.basics.progress import counted_in_all
from oodbench.networks.logits_alone import LOGITS_ALONE
from oodbench.results import tables
from oodbench.running import parallel, plan_cost, runner
from oodbench.running.plan import RunPlan, SuitePlan
from oodbench.running.ray_cluster import Cluster

if TYPE_CHECKING:
    from oodbench.detector import Detector


def passes(run_plan: RunPlan, cluster: Cluster | None) -> Passes:
    """The passes that are left to do; on a cluster each cell is a task that shares no pass with others."""
    costs = (
        plan_cost.unshared_passes(suite_plan)
        if cluster and not suite_plan.demands.thorough
        else plan_cost.passes(suite_plan)
        for suite_plan in run_plan.suites
    )
    return sum(costs, Passes())


def frame(run_plan: RunPlan, detectors: Mapping[str, type[Detector]]) -> pd.DataFrame:
    """The stored results of a run, tidy, without what earlier runs left in the same files: other tasks and OOD sets.

    Args:
        run_plan: of all seeds.
        detectors: by name; their code is today's.
    """
    stored = [
        (cell.cell, suite_plan.stored_pairs(cell))
        for suite_plan in run_plan.suites
        for cell in suite_plan.cells
        if cell.cell.path.is_file()
    ]
    cells = [cell for cell, _ in stored]
    wanted = {
        (name, *pair) for name, (_, pairs) in zip(tables.cell_names(cells), stored, strict=True) for pair in pairs
    }
    rows = tables.tidy(cells, detectors)
    places = rows[["cell", "task", "ood"]].itertuples(index=False, name=None)
    is_wanted = pd.Series([place[-1] == "" or place in wanted for place in places], rows.index, dtype=bool)
    return rows[is_wanted].reset_index(drop=True)


def not_pretrained(run_plan: RunPlan) -> list[str]:
    """Which networks are trained although those that are kept for everybody were asked for, and why; a line each."""
    trained_on: dict[tuple[str, str], list[str]] = {}
    for suite_plan in run_plan.suites:
        for network in suite_plan.networks:
            if network.why_not_pretrained and network.cells:
                place = f"{suite_plan.suite.name} with seed {suite_plan.seed}"
                trained_on.setdefault((network.names, network.why_not_pretrained), []).append(place)
    return [
        f"{names}: trained, not pretrained, on {', '.join(places)}: {why}"
        for (names, why), places in trained_on.items()
    ]


def of_logits_alone(run_plan: RunPlan) -> list[str]:
    """A line for each network of logits alone, which says why it is one."""
    return list(
        dict.fromkeys(
            f"network {suite_plan.suite.network.called}: {network.parts}"
            for suite_plan in run_plan.suites
            for network in suite_plan.networks
            if network.parts.startswith(LOGITS_ALONE)
        )
    )


def carry_out_here(run_plan: RunPlan, count: int, plugins: Sequence[Path], say: Say) -> list[str]:
    """Do what is missing on this machine, in this process or in `count` of them, to the same bits.

    Returns:
        What failed.

    Raises:
        StorageError: results cannot be written.
    """
    return parallel.side_by_side(run_plan, count, plugins, say) if count > 1 else in_turn(run_plan, say)


def in_turn(run_plan: RunPlan, say: Say) -> list[str]:
    """Do what is missing, one seed after the other.

    Returns:
        What failed, see `oodbench.running.runner.execute`.

    Raises:
        StorageError: results cannot be written.
    """
    failures: list[str] = []
    # Each process of a team does its share, and the first one shows how far it is.
    with counted_in_all(passes(run_plan, None).both // run_plan.machinery.team.size):
        for seed_plan in run_plan.seeds:
            request = seed_plan.request
            if len(run_plan.seeds) > 1:
                say(f"seed {request.seed}")
            suite_plans = [_with_own_detectors(suite_plan) for suite_plan in seed_plan.suites]
            failed = runner.execute(suite_plans, request.machinery, say)
            failures += [run_plan.label_failure(request.seed, failure) for failure in failed]
    return failures


def _with_own_detectors(plan: SuitePlan) -> SuitePlan:
    """The plan with copies of its detectors, so that what they learn with one seed is freed when that seed is done."""
    return replace(
        plan,
        networks=tuple(
            replace(network, cells=tuple(replace(cell, detector=deepcopy(cell.detector)) for cell in network.cells))
            for network in plan.networks
        ),
    )
