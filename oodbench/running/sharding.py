"""Shards: the cells of a run in parts that are carried out separately, for example by a SLURM array or a CI matrix."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache

from oodbench.basics.errors import OodbenchError
from oodbench.basics.passes import Passes
from oodbench.basics.words import counted
from oodbench.running import plan_cost
from oodbench.running.jobs import weight
from oodbench.running.plan import CellPlan, NetworkPlan, RunPlan, SeedPlan, SuitePlan

Place = tuple[int, int, int]
"""Where a network stands in a run: numbers of its seed, its suite and of the network itself."""

Cells = frozenset[int]
"""Numbers of some cells of a network."""

Item = Mapping[Place, Cells]
"""Cells that must be in one shard together, by the places of their networks."""


@dataclass(frozen=True)
class Shard:
    """One of several parts of a run.

    Attributes:
        number: from 1.
        count: of parts.
    """

    number: int
    count: int

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


def parse_shard(text: str) -> Shard:
    """A shard from "i/n": the first of eight is "1/8", the last "8/8".

    Raises:
        OodbenchError: something else.
    """
    matched = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text.strip())
    number, count = (int(matched[1]), int(matched[2])) if matched else (0, 0)
    if not 1 <= number <= count:
        raise OodbenchError(
            f"--shard {text!r} is not a part of a run: write I/N, from 1/N to N/N, such as --shard 2/8 for the second "
            "of eight"
        )
    return Shard(number, count)


def part(run_plan: RunPlan, shard: Shard) -> RunPlan:
    """The plan of a run with the cells of one shard alone: each cell is in exactly one shard.

    Which one follows from what the run is, not from what is done of it already. Cells stay together where parting them
    would have a network trained twice, or where attacks are checked in full. The rest is dealt
    out from the longest to the shortest, each to the shard that is then the soonest to be done, counting passes that
    its cells share once.

    Args:
        run_plan: the whole run.
        shard: the part.

    Returns:
        The same seeds, suites and networks; a network of other shards has no cells.
    """
    shards = _deal(run_plan, shard.count)
    dealt = shards[shard.number - 1] if shard.number <= len(shards) else {}
    return RunPlan(
        tuple(
            SeedPlan(
                seed_plan.request,
                tuple(_with_cells(suite_plan, dealt, (s, p)) for p, suite_plan in enumerate(seed_plan.suites)),
            )
            for s, seed_plan in enumerate(run_plan.seeds)
        )
    )


def share_text(shard: Shard, every: int, own: int) -> str:
    """The share of a run that a shard has, in words.

    Args:
        shard: the part.
        every: number of cells of the run.
        own: number of cells of the shard.
    """
    if own:
        return f"shard {shard}: {own} of {counted(every, 'cell')}"
    return f"shard {shard} has nothing to do: the run has {counted(every, 'cell')}, and shards before this one hold all"


def _with_cells(suite_plan: SuitePlan, dealt: Item, at: tuple[int, int]) -> SuitePlan:
    """The plan with the `dealt` cells alone; `at` are the numbers of its seed and suite."""
    networks = (
        replace(network, cells=tuple(network.cells[c] for c in sorted(dealt.get((*at, n), Cells()))))
        for n, network in enumerate(suite_plan.networks)
    )
    return replace(suite_plan, networks=tuple(networks))


def _deal(run_plan: RunPlan, count: int) -> list[dict[Place, Cells]]:
    """The cells of each of `count` shards, without the shards at the end that get none."""

    @cache
    def cost(place: Place, cells: Cells) -> int:
        s, p, n = place
        suite_plan = run_plan.seeds[s].suites[p]
        return _cost(suite_plan, suite_plan.networks[n], cells)

    def added_cost(shard: Mapping[Place, Cells], item: Item) -> int:
        """The cost that an item adds to a shard."""
        before = {place: shard.get(place, Cells()) for place in item}
        return sum(cost(place, before[place] | cells) - cost(place, before[place]) for place, cells in item.items())

    items = sorted(_items(run_plan), key=lambda item: -added_cost({}, item))
    shards: list[dict[Place, Cells]] = [{} for _ in range(min(count, len(items)))]
    loads = [0] * len(shards)
    for item in items:
        begun = sum(map(bool, shards))  # the others are as empty as the first of them
        added = [added_cost(shard, item) for shard in shards[: begun + 1]]
        at = min(range(len(added)), key=lambda number: (loads[number] + added[number], added[number]))
        loads[at] += added[at]
        for place, cells in item.items():
            shards[at][place] = shards[at].get(place, Cells()) | cells
    return shards


def _items(run_plan: RunPlan) -> Iterator[Item]:
    """The groups of cells that must stay together, in the order of the run."""
    for s, seed_plan in enumerate(run_plan.seeds):
        for p, suite_plan in enumerate(seed_plan.suites):
            all_cells = {(s, p, n): Cells(range(len(network.cells))) for n, network in enumerate(suite_plan.networks)}
            if suite_plan.demands.thorough:
                yield all_cells
                continue
            for (_, _, n), cells in all_cells.items():
                if suite_plan.networks[n].given:
                    yield from ({(s, p, n): Cells([c])} for c in cells)
                else:
                    yield {(s, p, n): cells}


def _cost(suite_plan: SuitePlan, network: NetworkPlan, cells: Cells) -> int:
    """The cost of some cells over a network as if nothing were done yet, in floating-point operations; an estimate."""
    if not cells:
        return 0
    undone = replace(network, cells=tuple(_undone(suite_plan, network.cells[c]) for c in sorted(cells)))
    scoring = plan_cost.scoring_passes(replace(suite_plan, networks=(undone,)))
    training = Passes() if network.given else plan_cost.whole_training_passes(suite_plan, network.objective)
    return weight(scoring + training) * max(1, network.operations)


def _undone(suite_plan: SuitePlan, cell: CellPlan) -> CellPlan:
    """The cell as if it had no scores."""
    return replace(cell, missing=tuple(suite_plan.wanted_pairs(cell)))
