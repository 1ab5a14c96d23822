"""A run for one or several seeds: in this process one thing after the other, in several side by side, or on Ray."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from oodbench.basics.passes import Passes
from oodbench.basics.progress import counted_in_all
from oodbench.results import tables
from oodbench.results.store import Cell
from oodbench.running import parallel, runner
from oodbench.running.jobs import of_seed
from oodbench.running.plan import Planned, SuitePlan
from oodbench.running.ray_cluster import Cluster
from oodbench.running.train_or_load import Say

if TYPE_CHECKING:
    from oodbench.detector import Detector


def passes(planned: Sequence[Planned], cluster: Cluster | None) -> Passes:
    """What is left to do costs this many; on a cluster each cell is a task that shares no pass with others."""
    found = (
        each.passes_apart() if cluster and not each.demands.thorough else each.passes()
        for _, plans in planned
        for each in plans
    )
    return sum(found, Passes())


def cells(planned: Sequence[Planned]) -> list[Cell]:
    """The cells of all seeds."""
    return [cell.cell for _, plans in planned for each in plans for network in each.networks for cell in network.cells]


def frame(planned: Sequence[Planned], detectors: Mapping[str, type[Detector]]) -> pd.DataFrame:
    """What there is of a run, tidy, without what earlier runs left in the same files: other tasks, other OOD sets.

    Args:
        planned: of all seeds.
        detectors: by name; their code is today's.
    """
    stored = [
        (cell.cell, each.groups(cell))
        for _, plans in planned
        for each in plans
        for network in each.networks
        for cell in network.cells
        if cell.cell.path.is_file()
    ]
    there = [cell for cell, _ in stored]
    wanted = {
        (name, *group) for name, (_, groups) in zip(tables.cell_names(there), stored, strict=True) for group in groups
    }
    found = tables.tidy(there, detectors)
    places = found[["cell", "task", "ood"]].itertuples(index=False, name=None)
    asked = pd.Series([place[-1] == "" or place in wanted for place in places], found.index, dtype=bool)
    return found[asked].reset_index(drop=True)


def not_pretrained(planned: Sequence[Planned]) -> list[str]:
    """Which networks are trained although those that are kept for everybody were asked for, and why; a line each."""
    found: dict[tuple[str, str], list[str]] = {}
    for _, plans in planned:
        for each in plans:
            for network in (network for network in each.networks if network.why and network.cells):
                found.setdefault((network.names, network.why), []).append(f"{each.suite.name} with seed {each.seed}")
    return [f"{names}: trained, not pretrained, on {', '.join(on)}: {why}" for (names, why), on in found.items()]


def here(planned: Sequence[Planned], count: int, plugins: Sequence[Path], say: Say) -> list[str]:
    """Do what is missing on this machine: in this process, or in `count` of them, to the same bits.

    Returns:
        What failed.

    Raises:
        StorageError: results cannot be written.
    """
    return parallel.side_by_side(planned, count, plugins, say) if count > 1 else in_turn(planned, say)


def in_turn(planned: Sequence[Planned], say: Say) -> list[str]:
    """Do what is missing, one seed after the other.

    Returns:
        What failed, see `oodbench.running.runner.execute`.

    Raises:
        StorageError: results cannot be written.
    """
    failures: list[str] = []
    # Each process of a team does its share, and the first one shows how far it is.
    with counted_in_all(passes(planned, None).both // planned[0][0].machinery.team.size):
        for request, plans in planned:
            if len(planned) > 1:
                say(f"seed {request.seed}")
            found = runner.execute([_unlearned(each) for each in plans], request.machinery, say)
            failures += [of_seed(request.seed, failure, planned) for failure in found]
    return failures


def _unlearned(each: SuitePlan) -> SuitePlan:
    """The plan with detectors of its own: what they learn with one seed goes when that seed is done."""
    return replace(
        each,
        networks=tuple(
            replace(network, cells=tuple(replace(cell, detector=deepcopy(cell.detector)) for cell in network.cells))
            for network in each.networks
        ),
    )
