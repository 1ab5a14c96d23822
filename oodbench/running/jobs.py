"""Jobs: the parts of a run that other processes can carry out, here or on other machines, in any order but one."""

import platform
from collections.abc import Callable, Sequence
from contextlib import chdir, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from oodbench.basics.errors import OodbenchError
from oodbench.basics.memory import keep_freed_memory
from oodbench.basics.passes import Passes
from oodbench.registry import discover
from oodbench.running import runner
from oodbench.running.plan import NetworkPlan, Planned, SuitePlan
from oodbench.running.planning import plan
from oodbench.running.records import note_failure
from oodbench.running.request import Machinery, Request, choose_device
from oodbench.running.train_or_load import Say
from oodbench.running.transfers import untried


@dataclass(frozen=True)
class Job:
    """What another process is told, in plain data: it finds images, networks and detectors by what they are called.

    Attributes:
        request: of one suite; what it says of detectors and of the device is overruled.
        detectors: names of all that the run has, since what is set for one may be known to no other.
        chosen: those of them that the job is about.
        plugins: files that define detectors.
        device: as `choose_device` takes it.
        folder: where relative paths start.
        files: networks and cells that must come of it, where the images and the code there are those here.
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
        doing: "trained", if it trains a network and no more, or "scored".
        cost: about what it takes, in passes through the network, with all that waits for it.
        passes: about what it takes itself.
        after: number of the unit that trains its network; None where it waits for nothing.
    """

    job: Job
    doing: str
    cost: int
    passes: Passes
    after: int | None = None

    @property
    def suite(self) -> str:
        """Its suite's name."""
        return self.job.request.suites[0].name

    @property
    def detectors(self) -> str:
        """Its detectors, for people."""
        return ", ".join(self.job.chosen)

    @property
    def name(self) -> str:
        """For people: suite, seed and detectors, and what is set where values are tried."""
        request = self.job.request
        tried = [setting.text for setting in request.settings] if request.sample.validation else []
        return ", ".join([self.suite, f"seed {request.seed}", self.detectors, *tried])

    def failures(self, found: Sequence[str], planned: Sequence[Planned]) -> list[str]:
        """What failed in it, with its seed where the run has several."""
        return [of_seed(self.job.request.seed, one, planned) for one in found]

    def failure(self, error: BaseException) -> str:
        """The `error` that ended it, in one line, with its kind if it is no mistake of the user's."""
        first, _, _ = str(error).strip().partition("\n")
        kind = "" if isinstance(error, OodbenchError) else f"{type(error).__name__}: "
        return f"{self.suite}: {self.detectors}: {kind}{first}"


def of_seed(seed: int, failure: str, planned: Sequence[Planned]) -> str:
    """What failed, with its seed where the run has several."""
    return f"seed {seed}: {failure}" if len(planned) > 1 else failure


Splits = Callable[[SuitePlan, NetworkPlan], bool]
"""Whether the cells of a network are units of their own."""


def weight(passes: Passes) -> int:
    """Passes as one number: a backward pass takes about as long as two forward passes."""
    return passes.forward + 2 * passes.backward


def always(_: SuitePlan, __: NetworkPlan) -> bool:
    """Each cell by itself, also where it could share passes with others."""
    return True


def where_it_is_free(each: SuitePlan, network: NetworkPlan) -> bool:
    """Only cells that would share next to no passes: those that are attacked, each by itself in any case."""
    alone = replace(each, networks=(network,))
    return len(network.cells) > 1 and weight(alone.passes_apart()) <= 1.1 * weight(alone.passes())


def units(planned: Sequence[Planned], plugins: Sequence[Path], device: str, splits: Splits) -> list[Unit]:
    """Everything there is to do: a unit a network with all its cells, or one to train it and one for each cell.

    Where attacks are checked in full, all cells of a suite and seed are one unit: each is tried on the others' images.

    Args:
        planned: by `oodbench.running.planning.plan_seeds`.
        plugins: files that define detectors.
        device: as `choose_device` takes it, where the units are carried out.
        splits: says which networks are split.
    """
    found: list[Unit] = []
    for request, plans in planned:
        for suite, each in zip(request.suites, plans, strict=True):
            part = _Part(replace(request, suites=(suite,)), each, tuple(plugins), device)
            needed = [network for network in each.networks if network.needed]
            if each.demands.thorough:
                if needed or untried(each):
                    found.append(part.unit("scored", each.networks))
                continue
            for network in needed:
                if not splits(each, network):
                    found.append(part.unit("scored", [network]))
                    continue
                after = len(found) if network.to_train else None
                found += [part.unit("trained", [network])] if network.to_train else []
                found += [part.unit("scored", [replace(network, cells=(cell,))], after) for cell in network.cells]
    return found


@dataclass(frozen=True)
class _Part:
    """One suite and seed of a run, and where it is carried out."""

    request: Request
    each: SuitePlan
    plugins: tuple[Path, ...]
    device: str

    def unit(self, doing: str, networks: Sequence[NetworkPlan], after: int | None = None) -> Unit:
        alone = replace(self.each, networks=tuple(networks))
        scoring, training = alone.scoring(), alone.training_all()
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
    """What a process does that trains a network; returns what failed.

    Raises:
        OodbenchError: it cannot be done where this is.
    """
    return _carried_out(job, runner.train, say)


def score(job: Job, *trained: list[str], say: Say = print) -> list[str] | None:
    """What a process does that scores, unless a training before it failed; returns what failed.

    Raises:
        OodbenchError: it cannot be done where this is.
    """
    return None if any(trained) else _carried_out(job, runner.execute, say)


def note(job: Job, why: str) -> None:
    """Leave word of a failure that the job could not tell of itself, so that tables show it until it is redone."""
    with suppress(OodbenchError):
        each, machinery = _planned(job)
        for network in each.networks:
            note_failure(each, network, machinery.setup, why)


Work = Callable[[Sequence[SuitePlan], Machinery, Say], list[str]]
"""What carries plans out, and returns what failed."""


def _carried_out(job: Job, work: Work, say: Say) -> list[str]:
    keep_freed_memory()
    with chdir(job.folder) if job.folder.is_dir() else nullcontext():
        try:
            each, machinery = _planned(job)
        except OodbenchError as error:
            raise OodbenchError(f"on {platform.node()}: {error}") from error
        return work([each], machinery, say)


def _planned(job: Job) -> tuple[SuitePlan, Machinery]:
    """The job's plan, made anew where it is carried out, and what calculates there.

    Raises:
        OodbenchError: something is missing there, or is not what it is where the job comes from.
    """
    registry = discover(job.plugins)
    detectors = tuple(registry[name] for name in job.detectors)
    machinery = replace(job.request.machinery, device=choose_device(job.device))
    (each,) = plan(replace(job.request, detectors=detectors, machinery=machinery), registry)
    found = {network.file for network in each.networks}
    found |= {cell.cell.path for network in each.networks for cell in network.cells}
    if not job.files <= found:
        raise OodbenchError(
            "results would be others than where the run was started: install the same oodbench on all machines, and "
            "let them share the folders of images and plugins"
        )
    chosen = [_chosen(job, each, network) for network in each.networks]
    return replace(each, networks=tuple(network for network in chosen if network.cells)), machinery


def _chosen(job: Job, each: SuitePlan, network: NetworkPlan) -> NetworkPlan:
    """The network with the job's own cells; of those that lack something all groups are to be looked at.

    The trained network decides what a cell lacks, and it may not have been there when the job was made.
    """
    cells = [cell for cell in network.cells if cell.detector.name in job.chosen]
    looked_at = (replace(cell, missing=tuple(each.wanted(cell)) if cell.missing else ()) for cell in cells)
    return replace(network, cells=tuple(looked_at))
