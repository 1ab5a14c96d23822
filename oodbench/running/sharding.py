"""Shards: the cells of a run in parts that are carried out apart, by a SLURM array, say, or the matrix of a CI."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

from oodbench.basics.errors import OodbenchError
from oodbench.basics.passes import Passes
from oodbench.basics.words import counted
from oodbench.running.jobs import weight
from oodbench.running.plan import CellPlan, NetworkPlan, Planned, SuitePlan

Place = tuple[int, int, int]
"""Where a network stands in a run: number of its seed, suite and network."""

Cells = frozenset[int]
"""Numbers of some cells of a network."""

Item = Mapping[Place, Cells]
"""Cells that one shard must have together, by their networks."""


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
            f"--shard {text!r} is no part of a run: write I/N, from 1/N to N/N, such as --shard 2/8 for the second of "
            "eight"
        )
    return Shard(number, count)


def part(planned: Sequence[Planned], shard: Shard) -> list[Planned]:
    """The plan of a run with the cells of one shard alone: each cell is in exactly one.

    Which one follows from what the run is, not from what is done of it already. Cells stay together where parting them
    would have a network trained twice, or where attacks are checked in full. The rest is dealt
    out from the longest to the shortest, each to the shard that is then the soonest to be done, counting passes that
    its cells share once.

    Args:
        planned: by `oodbench.running.planning.plan_seeds`.
        shard: the part.

    Returns:
        The same seeds, suites and networks; a network of other shards has no cells.
    """
    dealt = _dealt(planned, shard.count)
    mine = dealt[shard.number - 1] if shard.number <= len(dealt) else {}
    return [
        (request, [_with_cells(each, mine, (s, p)) for p, each in enumerate(plans)])
        for s, (request, plans) in enumerate(planned)
    ]


def told(shard: Shard, every: int, own: int) -> str:
    """How much of the cells of a run, `every` one of them, is the shard's `own`, in words."""
    if own:
        return f"shard {shard}: {own} of {counted(every, 'cell')}"
    return f"shard {shard} has nothing to do: the run has {counted(every, 'cell')}, and shards before this one hold all"


def _with_cells(each: SuitePlan, mine: Item, where: tuple[int, int]) -> SuitePlan:
    networks = (
        replace(network, cells=tuple(network.cells[c] for c in sorted(mine.get((*where, n), Cells()))))
        for n, network in enumerate(each.networks)
    )
    return replace(each, networks=tuple(networks))


def _dealt(planned: Sequence[Planned], count: int) -> list[dict[Place, Cells]]:
    """The cells of each shard, but for those at the end that get none."""

    @cache
    def cost(place: Place, cells: Cells) -> int:
        s, p, n = place
        _, plans = planned[s]
        return _cost(plans[p], plans[p].networks[n], cells)

    def more(shard: Mapping[Place, Cells], item: Item) -> int:
        """What a shard takes longer with an item than without it."""
        had = {place: shard.get(place, Cells()) for place in item}
        return sum(cost(place, had[place] | cells) - cost(place, had[place]) for place, cells in item.items())

    items = sorted(_items(planned), key=lambda item: -more({}, item))
    shards: list[dict[Place, Cells]] = [{} for _ in range(min(count, len(items)))]
    loads = [0] * len(shards)
    for item in items:
        begun = sum(map(bool, shards))  # the others are as empty as the first of them
        added = [more(shard, item) for shard in shards[: begun + 1]]
        at = min(range(len(added)), key=lambda number: (loads[number] + added[number], added[number]))
        loads[at] += added[at]
        for place, cells in item.items():
            shards[at][place] = shards[at].get(place, Cells()) | cells
    return shards


def _items(planned: Sequence[Planned]) -> Iterator[Item]:
    """What must stay together, in the order of the run."""
    for s, (_, plans) in enumerate(planned):
        for p, each in enumerate(plans):
            whole = {(s, p, n): Cells(range(len(network.cells))) for n, network in enumerate(each.networks)}
            if each.demands.thorough:
                yield whole
                continue
            for (_, _, n), cells in whole.items():
                if each.networks[n].given:
                    yield from ({(s, p, n): Cells([c])} for c in cells)
                else:
                    yield {(s, p, n): cells}


def _cost(each: SuitePlan, network: NetworkPlan, cells: Cells) -> int:
    """Of some cells over a network, as if nothing were done yet: about so many floating-point operations."""
    if not cells:
        return 0
    undone = replace(network, cells=tuple(_undone(each, network.cells[c]) for c in sorted(cells)))
    scoring = replace(each, networks=(undone,)).scoring()
    training = Passes() if network.given else each.whole_training(network.objective)
    return weight(scoring + training) * max(1, network.operations)


def _undone(each: SuitePlan, cell: CellPlan) -> CellPlan:
    return replace(cell, missing=tuple(each.wanted(cell)))
