"""A run that is described, found and planned, and can begin."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from oodbench import tracking
from oodbench.basics.files import require_writable
from oodbench.basics.team import Team, is_launched, join_team
from oodbench.registry import Registry, discover
from oodbench.running import parallel, sharding, sweep
from oodbench.running.config import RunConfig
from oodbench.running.plan import RunPlan
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
        run_plan: what is to be done, for each seed.
        team: the processes that work on it together.
        cluster: where it is carried out; None for this machine.
        count: processes of this machine that work side by side.
        every: number of cells of the whole run; `run_plan` has those of the shard alone.
    """

    config: RunConfig
    registry: Registry
    run_plan: RunPlan
    team: Team
    cluster: Cluster | None
    count: int
    every: int

    @property
    def shard(self) -> str:
        """The share of the run that this shard has, in words; "" where the run is not sharded."""
        if self.config.shard is None:
            return ""
        return sharding.share_text(sharding.parse_shard(self.config.shard), self.every, len(self.run_plan.cells))

    @property
    def suites(self) -> tuple[Suite, ...]:
        """The suites of the run."""
        return self.run_plan.request.suites

    def carry_out(self) -> list[str]:
        """Do what is missing.

        Returns:
            What failed, a line each; the rest is done.

        Raises:
            StorageError: results cannot be written.
        """
        say = self.config.say if self.team.leads else _say_nothing
        if not self.run_plan.cells:
            return []
        self.team.first(lambda: require_writable(self.run_plan.request.out, "--out"))
        if self.cluster:
            return on_ray(self.run_plan, self.cluster, say)
        return sweep.carry_out_here(self.run_plan, self.count, self.config.plugin_files, say)

    def log(self) -> list[str]:
        """Give the stored results of the run to the trackers.

        Returns:
            Where each tracker has them, a line a tracker.

        Raises:
            OodbenchError: one of them did not take them.
        """
        stored = [cell.cell for cell in self.run_plan.cells if cell.cell.path.is_file()]
        if not (self.config.trackers and stored and self.team.leads):
            return []
        # It imports the report's code, which takes time, and few runs need it.
        from oodbench.tracking.record import make_record

        return tracking.log(make_record(stored, Path(self.config.data), self.registry), self.config.trackers)


def _say_nothing(_: str) -> None:
    """Stay silent: another process of the team says the line."""


@contextmanager
def prepared(config: RunConfig) -> Iterator[Prepared]:
    """Plan a run and check it; nothing is written before it is carried out.

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
        left_out = dict.fromkeys(line for suite_plan in whole.seeds[0].suites for line in suite_plan.left_out)
        for line in left_out if team.leads else ():
            config.say(f"left out: {line}")
        run_plan = sharding.part(whole, shard) if shard else whole
        count = parallel.processes(jobs, run_plan) if config.module is None else 1
        yield Prepared(config, registry, run_plan, team, cluster, count, len(whole.cells))
