"""Team: the processes of one run, as `torchrun` starts them, and how their results come together."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from oodbench.basics.errors import OodbenchError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

# torch is imported where there are several processes, or a GPU: whoever is alone and reads results does without.

PATIENCE = timedelta(days=2)
"""The time that processes wait for each other: one may train or judge alone, and `torchrun` ends all when one dies."""

LAST_WORDS = timedelta(seconds=30)
"""The time that a failed process waits for the first one to say why."""

OF_TORCHRUN = (
    "TORCHELASTIC_RUN_ID",
    "RANK",
    "LOCAL_RANK",
    "WORLD_SIZE",
    "LOCAL_WORLD_SIZE",
    "MASTER_ADDR",
    "MASTER_PORT",
)
"""Variables that `torchrun` gives to each process that it starts."""

T = TypeVar("T")


@dataclass(frozen=True)
class Team:
    """One process among those that work on the same run; alone unless it says otherwise.

    All of them take the same decisions in the same order: what only one may do or know (files of results) the first
    does for all, and a mistake that one meets all meet.

    Attributes:
        rank: of this process, 0 for the first.
        size: how many there are.
    """

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether it is the first process, which speaks and writes."""
        return self.rank == 0

    def share(self, count: int, unit: int = 1) -> slice:
        """The part of `count` things that is this process's: as many as the others', without gaps between them.

        Parts begin at multiples of `unit`, so that nobody's batches are other batches than a single process would
        make, unless there are too few things for that.
        """
        if count < self.size * unit:
            unit = 1
        start, stop = (min(count, round(count * rank / self.size / unit) * unit) for rank in (self.rank, self.rank + 1))
        return slice(start, count if self.rank == self.size - 1 else stop)

    def all(self, work: Callable[[], T]) -> list[T]:
        """Return to all what `work` gives in each process, in their order.

        Raises:
            OodbenchError: that of the first process that met one.
        """
        if self.size == 1:
            return [work()]
        from torch import distributed

        outcomes: list[Any] = [None] * self.size
        distributed.all_gather_object(outcomes, _try_work(work))
        return [_result_or_raise(outcome) for outcome in outcomes]

    def together(self, work: Callable[[], T]) -> T:
        """Return what `work` gives in this process, once all have done theirs.

        Raises:
            OodbenchError: that of the first process that met one.
        """
        outcome = _try_work(work)
        for error in self.all(lambda: outcome[1]):
            if error is not None:
                raise error
        result: T = outcome[0]
        return result

    def first(self, work: Callable[[], T]) -> T:
        """Return to all what `work` gives in the first process; the others do not do it.

        Raises:
            OodbenchError: it met one.
        """
        if self.size == 1:
            return work()
        from torch import distributed

        outcomes: list[Any] = [_try_work(work) if self.leads else None]
        distributed.broadcast_object_list(outcomes, src=0)
        result: T = _result_or_raise(outcomes[0])
        return result

    def mean(self, value: Tensor) -> Tensor:
        """The mean of everyone's `value`, a tensor of one shape."""
        if self.size == 1:
            return value
        from torch import distributed

        total = value.detach().clone()
        distributed.all_reduce(total)
        return total / self.size


ALONE = Team()


def _try_work(work: Callable[[], Any]) -> tuple[Any, OodbenchError | None]:
    try:
        return work(), None
    except OodbenchError as error:
        return None, error


def _result_or_raise(outcome: tuple[Any, OodbenchError | None]) -> Any:
    result, error = outcome
    if error is not None:
        raise error
    return result


def is_launched() -> bool:
    """Whether `torchrun` started this process, beside others or alone.

    Shells of SLURM and MPI export ranks and sizes as well, and nobody there waits for the others. What tells is the
    run's name, which `torch.distributed.is_torchelastic_launched` asks for, with all else that `torchrun` says.
    """
    return all(name in os.environ for name in OF_TORCHRUN)


def _is_follower() -> bool:
    return is_launched() and int(os.environ["RANK"]) > 0


def give_first_the_word() -> None:
    """Wait, in all processes but the first, until `torchrun` ends them after a mistake that all have met.

    One that failed sooner would have the first one ended before it has said anything. One that is still there after
    `LAST_WORDS` met a mistake of its own.
    """
    if _is_follower():
        time.sleep(LAST_WORDS.total_seconds())


@contextmanager
def quiet_followers() -> Iterator[None]:
    """Inside, of all processes only the first is heard. What ends one unexpectedly is still printed outside."""
    with ExitStack() as stack:
        if _is_follower():
            nowhere = stack.enter_context(Path(os.devnull).open("w", encoding="utf-8"))
            stack.enter_context(redirect_stdout(nowhere))
            stack.enter_context(redirect_stderr(nowhere))
        yield


@contextmanager
def join_team(device: torch.device) -> Iterator[tuple[Team, torch.device]]:
    """Join the team that this process belongs to, with a device of its own: the GPU of its local number, or the CPU.

    Raises:
        OodbenchError: there are more processes on this machine than GPUs, or one GPU was named for all.
    """
    if not is_launched():
        yield ALONE, device
        return
    from torch import distributed

    device = _own_device(device, int(os.environ["LOCAL_RANK"]), int(os.environ["LOCAL_WORLD_SIZE"]))
    if distributed.is_initialized():  # a notebook's or script's own group
        yield Team(distributed.get_rank(), distributed.get_world_size()), device
        return
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    distributed.init_process_group(backend, timeout=PATIENCE)
    try:
        yield Team(distributed.get_rank(), distributed.get_world_size()), device
    finally:
        distributed.destroy_process_group()


def _own_device(device: torch.device, number: int, processes: int) -> torch.device:
    if device.type != "cuda":
        return device
    if device.index is not None and processes > 1:
        raise OodbenchError(
            f"--device {device} would put {processes} processes on one GPU: say --device cuda, and each takes its own"
        )
    import torch

    gpus = torch.cuda.device_count()
    if number >= gpus:
        raise OodbenchError(
            f"torchrun started {processes} processes here and torch sees {gpus} GPUs: lower --nproc-per-node to "
            f"{gpus}, or say --device cpu"
        )
    torch.cuda.set_device(number)
    return torch.device("cuda", number)
