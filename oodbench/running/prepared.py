"""A described run, found and planned: what can begin."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from oodbench import tracking
from oodbench.basics.team import Team, is_launched, join_team
from oodbench.registry import Registry, discover
from oodbench.results import store
from oodbench.running import parallel, sharding, sweep
from oodbench.running.config import RunConfig
from oodbench.running.plan import Planned
from oodbench.running.planning import plan_seeds
from oodbench.running.ray_cluster import Cluster, on_ray
from oodbench.running.request import choose_device
from oodbench.suite import Suite


@dataclass(frozen=True, eq=False)
class Prepared:
    """A run that can begin.

    Attributes:
        config: what was asked for.
        registry: the detectors.
        planned: what is to be done, for each seed.
        team: the processes that work on it together.
        cluster: where it is carried out; None for this machine.
        count: processes of this machine that work side by side.
        every: cells of the whole run, of which `planned` has those of the shard.
    """

    config: RunConfig
    registry: Registry
    planned: Sequence[Planned]
    team: Team
    cluster: Cluster | None
    count: int
    every: int

    @property
    def shard(self) -> str:
        """Which part of the run this is, in words; "" where it is all of it."""
        if self.config.shard is None:
            return ""
        return sharding.told(sharding.parse_shard(self.config.shard), self.every, len(sweep.cells(self.planned)))

    @property
    def suites(self) -> tuple[Suite, ...]:
        """As the run changes them."""
        request, _ = self.planned[0]
        return request.suites

    def carry_out(self) -> list[str]:
        """Do what is missing.

        Returns:
            What failed, a line each; the rest is done.

        Raises:
            StorageError: results cannot be written.
        """
        say = self.config.say if self.team.leads else _unheard
        if not sweep.cells(self.planned):
            return []
        request, _ = self.planned[0]
        self.team.first(lambda: store.require_writable(request.out))
        if self.cluster:
            return on_ray(self.planned, self.cluster, say)
        return sweep.here(self.planned, self.count, self.config.plugin_files, say)

    def log(self) -> list[str]:
        """Give the trackers what there is of it.

        Returns:
            Where it is now, a line a tracker.

        Raises:
            OodbenchError: one of them did not take it.
        """
        there = [cell for cell in sweep.cells(self.planned) if cell.path.is_file()]
        if not (self.config.trackers and there and self.team.leads):
            return []
        from oodbench.tracking.record import made_of  # which takes the report's code, and few need it

        return tracking.log(made_of(there, Path(self.config.data), self.registry), self.config.trackers)


def _unheard(_: str) -> None:
    """Another process says it."""


@contextmanager
def prepared(config: RunConfig) -> Iterator[Prepared]:
    """The plan of a run, checked; nothing is written before it is carried out.

    Raises:
        OodbenchError: something that was asked for is not there or not possible.
    """
    config.check()
    shard = sharding.parse_shard(config.shard) if config.shard is not None else None
    cluster = config.cluster()
    jobs = parallel.parse_jobs(str(config.jobs), alone=cluster is None and not is_launched())
    registry = discover(config.plugin_files)
    with join_team(choose_device("cpu" if cluster else config.device)) as (team, device):
        request = config.request(registry, device, team)
        whole = team.together(lambda: plan_seeds(request, config.seeds, registry))
        for line in dict.fromkeys(line for each in whole[0][1] for line in each.left_out) if team.leads else ():
            config.say(f"left out: {line}")
        planned = sharding.part(whole, shard) if shard else whole
        every = len(sweep.cells(whole))
        count = parallel.processes(jobs, planned) if config.module is None else 1
        yield Prepared(config, registry, planned, team, cluster, count, every)
