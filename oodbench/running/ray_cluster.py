"""A run as the tasks of a Ray cluster."""

import logging
import os
import re
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oodbench.basics.errors import OodbenchError, StorageError
from oodbench.basics.listeners import Say
from oodbench.running.choices import LOCAL
from oodbench.running.jobs import Unit, note, score, split_always, train, units
from oodbench.running.plan import RunPlan, SeedPlan

if TYPE_CHECKING:
    from ray import ObjectRef

RETRIES = 3
"""How often Ray repeats a task whose process or machine died."""

ANSWERS_WITHIN = 10
"""Seconds in which a cluster must let itself be reached."""


@dataclass(frozen=True)
class Cluster:
    """A Ray cluster, and what each task gets there.

    Attributes:
        address: `LOCAL`, "auto" for the cluster that this machine belongs to, or host:port of its first machine.
        device: "auto" for a GPU where the cluster has some, "cpu" or "cuda"; Ray chooses which GPU.
        cpus: CPUs of each task; its networks run on as many threads.
        plugins: files that define detectors.

    Raises:
        OodbenchError: Ray is not installed, or the address or the device is not valid.
    """

    address: str = LOCAL
    device: str = "auto"
    cpus: int = 1
    plugins: Sequence[Path] = ()

    def __post_init__(self) -> None:
        if find_spec("ray") is None:
            raise OodbenchError("--engine ray needs Ray, which is not installed: pip install 'oodbench[ray]'")
        if self.address not in (LOCAL, "auto") and not re.fullmatch(r"\S+:\d+", self.address):
            raise OodbenchError(f"--address {self.address!r} is not a cluster: choose {LOCAL}, auto, or HOST:PORT")
        if self.device not in ("auto", "cpu", "cuda"):
            raise OodbenchError(
                f"--device {self.device!r} with --engine ray: choose auto, cpu or cuda; Ray says which GPU"
            )


def on_ray(run_plan: RunPlan, cluster: Cluster, say: Say) -> list[str]:
    """Do what is missing as tasks: one a network that must be trained, then one a cell that waits for its network.

    Where attacks are checked in full, all cells of a suite and seed are one task. What a task has done is on disk at
    once, so a task that is repeated because its machine died does only what is missing.

    Args:
        run_plan: what is to be done; the folders in it must be the same on all machines.
        cluster: joined where this process has not joined one itself.
        say: told what is finished; what the tasks say is in Ray's logs.

    Returns:
        What failed, as `oodbench.running.sweep.in_turn`.

    Raises:
        OodbenchError: the cluster cannot be reached or has no room for a task.
        StorageError: results cannot be written.
    """
    import ray

    with _joined(cluster):
        device = _device(cluster, ray.cluster_resources())
        _require_room(cluster, device, [node["Resources"] for node in ray.nodes() if node["Alive"]])
        on_cluster = _with_threads(run_plan, cluster.cpus)
        tasks = _submit(units(on_cluster, cluster.plugins, device, split_always), cluster, device)
        say(f"{len(tasks)} tasks for a cluster of {_resources_text(ray.cluster_resources())}")
        waiting, failures = list(tasks), {}
        try:
            while waiting:
                with redirect_stdout(sys.stderr):  # where Ray tells of machines and processes that died
                    (done,), waiting = ray.wait(waiting, num_returns=1)
                task = tasks[done]
                failed = _outcome(done, task, say)
                say(f"[{len(tasks) - len(waiting)}/{len(tasks)}] {task.name}: {task.outcome_text(failed)}")
                failures[done] = task.label_failures(failed or (), run_plan)
        finally:
            for unfinished in waiting:
                ray.cancel(unfinished, force=True)
    return [failure for task in tasks for failure in failures[task]]


def _with_threads(run_plan: RunPlan, count: int) -> RunPlan:
    """The plan with `count` threads for each network."""
    requests = (seed_plan.request for seed_plan in run_plan.seeds)
    with_threads = (replace(request, machinery=replace(request.machinery, threads=count)) for request in requests)
    return RunPlan(
        tuple(SeedPlan(request, seed.suites) for request, seed in zip(with_threads, run_plan.seeds, strict=True))
    )


def _submit(todo: Sequence[Unit], cluster: Cluster, device: str) -> "dict[ObjectRef, Unit]":
    """Give every unit to the cluster as a task; return the units by their tasks."""
    import ray

    options: dict[str, Any] = {"num_cpus": cluster.cpus, "num_gpus": int(device == "cuda"), "max_retries": RETRIES}
    options["scheduling_strategy"] = "SPREAD"  # Ray fills one machine first otherwise
    work = {"trained": ray.remote(**options)(train), "scored": ray.remote(**options)(score)}
    tasks: list[ObjectRef] = []
    for unit in todo:
        after = [] if unit.after is None else [tasks[unit.after]]
        tasks.append(work[unit.doing].remote(unit.job, *after))
    return dict(zip(tasks, todo, strict=True))


def _outcome(done: "ObjectRef", unit: Unit, say: Say) -> list[str] | None:
    """The failures of a task that is finished; None if it was left out."""
    import ray

    try:
        failures: list[str] | None = ray.get(done)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, StorageError):
            raise StorageError(str(error.cause)) from error
        if not isinstance(error.cause, OodbenchError):  # not a user's mistake: with where it happened
            say(str(error))
        return [_note_failure(unit, error.cause)]
    except ray.exceptions.RayError as error:
        return [_note_failure(unit, error)]
    return failures


def _note_failure(unit: Unit, error: BaseException) -> str:
    """Note in a task's results what ended it, also on a machine without a GPU, and return that."""
    failure = unit.failure_text(error)
    note(replace(unit.job, device="cpu"), failure)
    return failure


@contextmanager
def _joined(cluster: Cluster) -> Iterator[None]:
    """Join the cluster, and leave it at the end; nothing changes if this process has joined one before."""
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
    """Refuse tasks that fit on no machine, for which Ray would wait for ever."""
    if not any(
        machine.get("CPU", 0) >= cluster.cpus and machine.get("GPU", 0) >= (device == "cuda") for machine in machines
    ):
        largest = max((int(machine.get("CPU", 0)) for machine in machines), default=0)
        gpu = " and a GPU" if device == "cuda" else ""
        raise OodbenchError(
            f"no node of the cluster has {cluster.cpus} CPUs{gpu} for a task, the largest has {largest}: lower --cpus"
        )


def _resources_text(resources: Mapping[str, float]) -> str:
    return f"{resources.get('CPU', 0):.0f} CPUs and {resources.get('GPU', 0):.0f} GPUs"
