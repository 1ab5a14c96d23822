"""Jobs: the parts of a run that other processes can carry out, here or on other machines.

Their order is free, but that a network is trained before its detectors are scored.
"""

import platform
from collections.abc import Callable, Sequence
from contextlib import chdir, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from oodbench.basics.errors import OodbenchError
from oodbench.basics.listeners import Say
from oodbench.basics.memory import keep_freed_memory
from oodbench.basics.passes import Passes
from oodbench.registry import discover
from oodbench.running import plan_cost, runner
from oodbench.running.plan import NetworkPlan, RunPlan, SuitePlan
from oodbench.running.planning import plan
from oodbench.running.records import note_failure
from oodbench.running.request import Machinery, Request, choose_device
from oodbench.running.transfers import untried


@dataclass(frozen=True)
class Job:
    """The order to another process, in plain data: it finds images, networks and detectors by their names.

    Attributes:
        request: of one suite; its detectors and its device are replaced by those below.
        detectors: names of all detectors of the run, since what is set for one may be known to no other.
        chosen: names of the detectors that the job scores.
        plugins: files that define detectors.
        device: as `choose_device` takes it.
        folder: where relative paths start.
        files: of the networks and cells that the job must plan where it is carried out; other files show that the
            images or the code there are not those here.
    """

    request: Request
    detectors: tuple[str, ...]
    chosen: tuple[str, ...]
    plugins: tuple[Path, ...]
    device: str
    folder: Path
    files: frozenset[Path]


@dataclass(frozen=True)
class Unit:
    """A job and its place in the run.

    Attributes:
        job: what is to be done.
        doing: "trained" if it only trains a network, or "scored".
        cost: passes through the network that it takes, with those of the units that wait for it; an estimate.
        passes: that it takes itself; an estimate.
        after: number of the unit that trains its network; None where it waits for nothing.
    """

    job: Job
    doing: str
    cost: int
    passes: Passes
    after: int | None = None

    @property
    def suite(self) -> str:
        """Name of its suite."""
        return self.job.request.suites[0].name

    @property
    def detectors(self) -> str:
        """Names of its detectors, for people."""
        return ", ".join(self.job.chosen)

    @property
    def name(self) -> str:
        """Its name for people: suite, seed and detectors, and the settings where values are tried."""
        request = self.job.request
        tried = [setting.text for setting in request.settings] if request.sample.validation else []
        return ", ".join([self.suite, f"seed {request.seed}", self.detectors, *tried])

    def label_failures(self, failures: Sequence[str], run_plan: RunPlan) -> list[str]:
        """The failures of the unit, with its seed where the run has several."""
        return [run_plan.label_failure(self.job.request.seed, failure) for failure in failures]

    def outcome_text(self, failures: Sequence[str] | None) -> str:
        """How the unit ended, in a few words, by what failed in it; None where it was left out."""
        if failures is None:
            return "left out: it has no network"
        return "failed" if failures else self.doing

    def failure_text(self, error: BaseException) -> str:
        """The `error` that ended the unit, in one line, with the error's class unless it is a mistake of the user's."""
        first, _, _ = str(error).strip().partition("\n")
        kind = "" if isinstance(error, OodbenchError) else f"{type(error).__name__}: "
        return f"{self.suite}: {self.detectors}: {kind}{first}"


Splits = Callable[[SuitePlan, NetworkPlan], bool]
"""Decides whether each cell of a network becomes a unit of its own."""


def weight(passes: Passes) -> int:
    """The passes as one number: a backward pass takes about as long as two forward passes."""
    return passes.forward + 2 * passes.backward


def split_always(_: SuitePlan, __: NetworkPlan) -> bool:
    """Make each cell a unit, also where it could share passes with others."""
    return True


def split_where_free(suite_plan: SuitePlan, network: NetworkPlan) -> bool:
    """Make each cell a unit only where cells share next to no passes: those that are attacked one by one anyhow."""
    of_network = replace(suite_plan, networks=(network,))
    unshared, shared = plan_cost.unshared_passes(of_network), plan_cost.passes(of_network)
    return len(network.cells) > 1 and weight(unshared) <= 1.1 * weight(shared)


def units(run_plan: RunPlan, plugins: Sequence[Path], device: str, splits: Splits) -> list[Unit]:
    """Everything there is to do: a unit a network with all its cells, or one to train it and one for each cell.

    Where attacks are checked in full, all cells of a suite and seed are one unit: each is tried on the others' images.

    Args:
        run_plan: what is to be done.
        plugins: files that define detectors.
        device: where the units are carried out, as `choose_device` takes it.
        splits: says which networks are split.
    """
    all_units: list[Unit] = []
    for seed_plan in run_plan.seeds:
        for suite, suite_plan in zip(seed_plan.request.suites, seed_plan.suites, strict=True):
            part = _Part(replace(seed_plan.request, suites=(suite,)), suite_plan, tuple(plugins), device)
            all_units += part.units(splits, len(all_units))
    return all_units


@dataclass(frozen=True)
class _Part:
    """One suite and seed of a run, and where it is carried out."""

    request: Request
    suite_plan: SuitePlan
    plugins: tuple[Path, ...]
    device: str

    def units(self, splits: Splits, first_number: int) -> list[Unit]:
        """The units of this part, which are numbered from `first_number` on."""
        needed = [network for network in self.suite_plan.networks if network.needed]
        if self.suite_plan.demands.thorough:
            has_work = needed or untried(self.suite_plan)
            return [self._unit("scored", self.suite_plan.networks)] if has_work else []
        units: list[Unit] = []
        for network in needed:
            if not splits(self.suite_plan, network):
                units.append(self._unit("scored", [network]))
                continue
            after = first_number + len(units) if network.to_train else None
            units += [self._unit("trained", [network])] if network.to_train else []
            units += [self._unit("scored", [replace(network, cells=(cell,))], after) for cell in network.cells]
        return units

    def _unit(self, doing: str, networks: Sequence[NetworkPlan], after: int | None = None) -> Unit:
        of_networks = replace(self.suite_plan, networks=tuple(networks))
        scoring, training = plan_cost.scoring_passes(of_networks), plan_cost.all_training_passes(of_networks)
        passes = training if doing == "trained" else scoring if after is not None else scoring + training
        job = _job(self.request, networks, self.plugins, self.device)
        return Unit(job, doing, weight(scoring + training), passes, after)


def _job(request: Request, networks: Sequence[NetworkPlan], plugins: Sequence[Path], device: str) -> Job:
    source = request.source
    planned_cells = [cell for network in networks for cell in network.cells]
    # What was not trained is in the names of its cells, by digest: its file may lie elsewhere on another machine.
    files = [*(network.file for network in networks if not network.given), *(cell.cell.path for cell in planned_cells)]
    plain = replace(
        request,
        detectors=(),
        sample=replace(request.sample, data=request.sample.data.absolute()),
        out=request.out.absolute(),
        source=source.absolute(),
    )
    return Job(
        plain,
        tuple(detector.name for detector in request.detectors),
        tuple(cell.detector.name for cell in planned_cells),
        tuple(plugin.absolute() for plugin in plugins),
        device,
        Path.cwd(),
        frozenset(file.absolute() for file in files),
    )


def train(job: Job, say: Say = print) -> list[str]:
    """Train the network of a job, in the process that carries it out; return what failed.

    Raises:
        OodbenchError: it cannot be done where this process runs.
    """
    return _carry_out(job, runner.train, say)


def score(job: Job, *failures_of_training: list[str], say: Say = print) -> list[str] | None:
    """Score the cells of a job, in the process that carries it out; return what failed.

    Args:
        job: what is to be scored.
        failures_of_training: what failed in the unit before it that trains its network, if there is one.
        say: told what is being done.

    Returns:
        None where that training failed, and nothing was scored.

    Raises:
        OodbenchError: it cannot be done where this process runs.
    """
    return None if any(failures_of_training) else _carry_out(job, runner.execute, say)


def note(job: Job, why: str) -> None:
    """Note in its results a failure that the job could not note itself; tables show it until the job is redone."""
    with suppress(OodbenchError):
        suite_plan, machinery = _plan_job(job)
        for network in suite_plan.networks:
            note_failure(suite_plan, network, machinery.setup, why)


Work = Callable[[Sequence[SuitePlan], Machinery, Say], list[str]]
"""Carries plans out, and returns what failed."""


def _carry_out(job: Job, work: Work, say: Say) -> list[str]:
    keep_freed_memory()
    with chdir(job.folder) if job.folder.is_dir() else nullcontext():
        try:
            suite_plan, machinery = _plan_job(job)
        except OodbenchError as error:
            raise OodbenchError(f"on {platform.node()}: {error}") from error
        return work([suite_plan], machinery, say)


def _plan_job(job: Job) -> tuple[SuitePlan, Machinery]:
    """The job's plan, made anew where it is carried out, and the machinery there.

    Raises:
        OodbenchError: something is missing there, or differs from what it is where the job comes from.
    """
    registry = discover(job.plugins)
    detectors = tuple(registry[name] for name in job.detectors)
    machinery = replace(job.request.machinery, device=choose_device(job.device))
    (suite_plan,) = plan(replace(job.request, detectors=detectors, machinery=machinery), registry)
    files = {network.file for network in suite_plan.networks} | {cell.cell.path for cell in suite_plan.cells}
    if not job.files <= files:
        raise OodbenchError(
            "results would be others than where the run was started: install the same oodbench on all machines, and "
            "let them share the folders of images and plugins"
        )
    networks = [_with_chosen_cells(job, suite_plan, network) for network in suite_plan.networks]
    return replace(suite_plan, networks=tuple(network for network in networks if network.cells)), machinery


def _with_chosen_cells(job: Job, suite_plan: SuitePlan, network: NetworkPlan) -> NetworkPlan:
    """The network with the job's own cells; a cell that lacks something has all its pairs marked as missing.

    What a cell lacks is decided by the trained network, which may not have been there when the job was made.
    """
    cells = [cell for cell in network.cells if cell.detector.name in job.chosen]
    unjudged = (replace(cell, missing=tuple(suite_plan.wanted_pairs(cell)) if cell.missing else ()) for cell in cells)
    return replace(network, cells=tuple(unjudged))
