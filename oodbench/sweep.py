"""A run for several seeds: one after the other in this process, or as the tasks of a Ray cluster."""

import logging
import os
import platform
import re
import socket
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import chdir, contextmanager, nullcontext, redirect_stdout
from copy import deepcopy
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oodbench import runner
from oodbench.errors import OodbenchError, StorageError
from oodbench.memory import keep_freed_memory
from oodbench.passes import Passes
from oodbench.plan import NetworkPlan, Planned, SuitePlan, plan
from oodbench.provide import Say
from oodbench.registry import discover
from oodbench.request import Request, choose_device
from oodbench.store import Cell

if TYPE_CHECKING:
    from ray import ObjectRef

ENGINES = ("sequential", "ray")
"""What carries a run out."""

LOCAL = "local"
"""The address of a cluster on this machine that lives as long as the run."""

RETRIES = 3
"""How often Ray does a task again whose process or machine died."""

ANSWERS_WITHIN = 10
"""Seconds in which a cluster must let itself be reached."""


@dataclass(frozen=True)
class Cluster:
    """A Ray cluster, and what each task gets there.

    Attributes:
        address: `LOCAL`, "auto" for the cluster that this machine belongs to, or host:port of its first machine.
        device: "auto" for a GPU where the cluster has some, "cpu" or "cuda"; Ray says which one.
        cpus: of each task; its networks run on as many threads.
        plugins: files that define detectors.

    Raises:
        OodbenchError: Ray is not installed, or one of these is something else.
    """

    address: str = LOCAL
    device: str = "auto"
    cpus: int = 1
    plugins: Sequence[Path] = ()

    def __post_init__(self) -> None:
        if find_spec("ray") is None:
            raise OodbenchError("--engine ray needs Ray, which is not installed: pip install 'oodbench[ray]'")
        if self.address not in (LOCAL, "auto") and not re.fullmatch(r"\S+:\d+", self.address):
            raise OodbenchError(f"--address {self.address!r} is no cluster: choose {LOCAL}, auto, or HOST:PORT")
        if self.device not in ("auto", "cpu", "cuda"):
            raise OodbenchError(
                f"--device {self.device!r} with --engine ray: choose auto, cpu or cuda; Ray says which GPU"
            )


def passes(planned: Sequence[Planned], cluster: Cluster | None) -> Passes:
    """What is left to do costs this many; on a cluster each cell is a task that shares no pass with others."""
    found = (
        each.passes_apart() if cluster and not request.thorough else each.passes()
        for request, plans in planned
        for each in plans
    )
    return sum(found, Passes())


def cells(planned: Sequence[Planned]) -> list[Cell]:
    """The cells of all seeds."""
    return [cell.cell for _, plans in planned for each in plans for network in each.networks for cell in network.cells]


def in_turn(planned: Sequence[Planned], say: Say) -> list[str]:
    """Do what is missing, one seed after the other.

    Returns:
        What failed, see `oodbench.runner.execute`.

    Raises:
        StorageError: results cannot be written.
    """
    failures: list[str] = []
    for request, plans in planned:
        if len(planned) > 1:
            say(f"seed {request.seed}")
        found = runner.execute(request, [_unlearned(each) for each in plans], say)
        failures += [_of_seed(request, failure, planned) for failure in found]
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


def _of_seed(request: Request, failure: str, planned: Sequence[Planned]) -> str:
    return f"seed {request.seed}: {failure}" if len(planned) > 1 else failure


@dataclass(frozen=True)
class Job:
    """What one task is told, in plain data: it finds images, networks and detectors by what they are called.

    Attributes:
        request: of one suite; what it says of detectors and of the device is overruled.
        detectors: names.
        plugins: files that define detectors.
        device: "cpu" or "cuda".
        folder: where relative paths start.
        files: networks and cells that must come of it, where the images and the code there are those here.
    """

    request: Request
    detectors: tuple[str, ...]
    plugins: tuple[Path, ...]
    device: str
    folder: Path
    files: frozenset[Path]


def on_ray(planned: Sequence[Planned], cluster: Cluster, say: Say) -> list[str]:
    """Do what is missing as tasks: one a network that must be trained, then one a cell that waits for its network.

    Where each attack is judged by the run's other detectors, all cells of a suite and seed are one task. What a task
    has done is on disk at once, so one that is done again, because its machine died, does what is missing.

    Args:
        planned: by `oodbench.plan.plan_seeds`; the folders in it must be the same on all machines.
        cluster: joined where this process has not joined one itself.
        say: told what is finished; what the tasks say is in Ray's logs.

    Returns:
        What failed, as `in_turn`.

    Raises:
        OodbenchError: the cluster cannot be reached or has no room for a task.
        StorageError: results cannot be written.
    """
    import ray

    with _joined(cluster):
        device = _device(cluster, ray.cluster_resources())
        _require_room(cluster, device, [node["Resources"] for node in ray.nodes() if node["Alive"]])
        tasks = _submitted(planned, cluster, device)
        say(f"{len(tasks)} tasks for a cluster of {_described(ray.cluster_resources())}")
        waiting, failures = list(tasks), {}
        try:
            while waiting:
                with redirect_stdout(sys.stderr):  # where Ray tells of machines and processes that died
                    (done,), waiting = ray.wait(waiting, num_returns=1)
                task = tasks[done]
                found = _outcome(done, task, say)
                said = "left out: it has no network" if found is None else "failed" if found else task.doing
                say(f"[{len(tasks) - len(waiting)}/{len(tasks)}] {task.name}: {said}")
                failures[done] = [_of_seed(task.request, failure, planned) for failure in found or ()]
        finally:
            for unfinished in waiting:
                ray.cancel(unfinished, force=True)
    return [failure for task in tasks for failure in failures[task]]


@dataclass(frozen=True)
class _Task:
    """What is said of a task: `doing` when it is done."""

    request: Request
    detectors: str
    doing: str

    @property
    def suite(self) -> str:
        return self.request.suites[0].name

    @property
    def name(self) -> str:
        return f"{self.suite}, seed {self.request.seed}, {self.detectors}"


def _submitted(planned: Sequence[Planned], cluster: Cluster, device: str) -> "dict[ObjectRef, _Task]":
    """Every task that there is to do, given to the cluster."""
    import ray

    options: dict[str, Any] = {"num_cpus": cluster.cpus, "num_gpus": int(device == "cuda"), "max_retries": RETRIES}
    options["scheduling_strategy"] = "SPREAD"  # Ray fills one machine first otherwise
    train, score = ray.remote(**options)(_train), ray.remote(**options)(_score)
    tasks: dict[ObjectRef, _Task] = {}

    def submit(doing: str, request: Request, networks: Sequence[NetworkPlan], *after: "ObjectRef") -> "ObjectRef":
        job = _job(request, networks, cluster, device)
        task = (train if doing == "trained" else score).remote(job, *after)
        tasks[task] = _Task(request, ", ".join(job.detectors), doing)
        return task

    for request, plans in planned:
        for suite, each in zip(request.suites, plans, strict=True):
            of_suite = replace(request, suites=(suite,))
            needed = [network for network in each.networks if network.needed]
            if request.thorough and needed:
                submit("scored", of_suite, needed)
                continue
            for network in needed:
                after = [submit("trained", of_suite, [network])] if network.to_train else []
                for cell in network.cells:
                    submit("scored", of_suite, [replace(network, cells=(cell,))], *after)
    return tasks


def _job(request: Request, networks: Sequence[NetworkPlan], cluster: Cluster, device: str) -> Job:
    planned_cells = [cell for network in networks for cell in network.cells]
    files = [*(network.file for network in networks), *(cell.cell.path for cell in planned_cells)]
    plain = replace(
        request,
        detectors=(),
        data=request.data.absolute(),
        out=request.out.absolute(),
        checkpoint=request.checkpoint and request.checkpoint.absolute(),
        threads=cluster.cpus,
    )
    return Job(
        plain,
        tuple(cell.detector.name for cell in planned_cells),
        tuple(plugin.absolute() for plugin in cluster.plugins),
        device,
        Path.cwd(),
        frozenset(file.absolute() for file in files),
    )


def _outcome(done: "ObjectRef", task: _Task, say: Say) -> list[str] | None:
    """What went wrong in a task that is finished; None if it was left out."""
    import ray

    try:
        found: list[str] | None = ray.get(done)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, StorageError):
            raise StorageError(str(error.cause)) from error
        say(str(error))  # not a user's mistake: with where it happened
        return [_failure(task, error.cause)]
    except ray.exceptions.RayError as error:
        return [_failure(task, error)]
    return found


def _failure(task: _Task, error: Exception) -> str:
    first, _, _ = str(error).strip().partition("\n")
    return f"{task.suite}: {task.detectors}: {type(error).__name__}: {first}"


def _train(job: Job) -> list[str]:
    """What a task does that trains a network; returns what failed."""
    return _carried_out(job, runner.train)


def _score(job: Job, *trained: list[str]) -> list[str] | None:
    """What a task does that scores, unless a training before it failed; returns what failed."""
    return None if any(trained) else _carried_out(job, runner.execute)


Work = Callable[[Request, Sequence[SuitePlan], Say], list[str]]
"""What carries plans out, and returns what failed."""


def _carried_out(job: Job, work: Work) -> list[str]:
    keep_freed_memory()
    with chdir(job.folder) if job.folder.is_dir() else nullcontext():
        try:
            request, each = _planned(job)
        except OodbenchError as error:
            return [f"{job.request.suites[0].name}: {', '.join(job.detectors)}: on {platform.node()}: {error}"]
        return work(request, [each], print)


def _planned(job: Job) -> tuple[Request, SuitePlan]:
    """The job's plan, made anew where the task runs.

    Raises:
        OodbenchError: something is missing there, or is not what it is where the job comes from.
    """
    registry = discover(job.plugins)
    detectors = tuple(registry[name] for name in job.detectors)
    request = replace(job.request, detectors=detectors, device=choose_device(job.device))
    (each,) = plan(request, registry)
    found = {network.file for network in each.networks} | {cell.path for cell in cells([(request, [each])])}
    if not job.files <= found:
        raise OodbenchError(
            "results would be others than where the run was started: install the same oodbench on all machines, and "
            "let them share the folders of images and plugins"
        )
    # The trained network decides what a cell lacks, and it may not have been there when the job was made.
    everything = [
        replace(network, cells=tuple(replace(cell, missing=tuple(each.wanted(cell))) for cell in network.cells))
        for network in each.networks
    ]
    return request, replace(each, networks=tuple(everything))


@contextmanager
def _joined(cluster: Cluster) -> Iterator[None]:
    """Within it this process belongs to the cluster; if it did before, nothing changes."""
    import ray

    if ray.is_initialized():
        yield
        return
    host, _, port = cluster.address.rpartition(":")
    # Without it, Ray reports what it is used for to its makers.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    quiet = {"include_dashboard": False, "log_to_driver": False, "logging_level": logging.ERROR}
    try:
        if host:
            socket.create_connection((host, int(port)), ANSWERS_WITHIN).close()  # Ray itself tries for minutes
        ray.init(address=cluster.address, **quiet)
    except (OSError, RuntimeError, ValueError, OverflowError) as error:
        raise OodbenchError(
            f"no Ray cluster at {cluster.address!r} ({' '.join(str(error).split())}): start one with "
            "`ray start --head`, name it as that says with --address, and set RAY_AUTH_MODE=token if it wants a token"
        ) from error
    try:
        yield
    finally:
        with redirect_stdout(sys.stderr):
            ray.shutdown()


def _device(cluster: Cluster, resources: Mapping[str, float]) -> str:
    if cluster.device == "cuda" and not resources.get("GPU"):
        raise OodbenchError("--device cuda asks for a GPU and no node of the cluster has one: use auto, or cpu")
    return "cuda" if cluster.device != "cpu" and resources.get("GPU") else "cpu"


def _require_room(cluster: Cluster, device: str, machines: Sequence[Mapping[str, float]]) -> None:
    """Ray would wait for a machine that is large enough, for ever."""
    if not any(
        machine.get("CPU", 0) >= cluster.cpus and machine.get("GPU", 0) >= (device == "cuda") for machine in machines
    ):
        largest = max((int(machine.get("CPU", 0)) for machine in machines), default=0)
        gpu = " and a GPU" if device == "cuda" else ""
        raise OodbenchError(
            f"no node of the cluster has {cluster.cpus} CPUs{gpu} for a task, the largest has {largest}: lower --cpus"
        )


def _described(resources: Mapping[str, float]) -> str:
    return f"{resources.get('CPU', 0):.0f} CPUs and {resources.get('GPU', 0):.0f} GPUs"
