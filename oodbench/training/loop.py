"""The one training loop."""

import io
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain
from math import ceil, nan
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from oodbench.basics.errors import OodbenchError
from oodbench.basics.files import write_atomic
from oodbench.basics.progress import Advance, progress
from oodbench.basics.randomness import drawing, torch_generator
from oodbench.basics.team import ALONE, Team
from oodbench.images.augment import augment, noisy
from oodbench.images.resident import IDImages, OutlierPool
from oodbench.networks.compute import repeatable, training_precision
from oodbench.networks.network import Network, as_input
from oodbench.networks.precision import EXACT, Compute
from oodbench.objective import Batch, Objective
from oodbench.recipe import Recipe

UNKNOWN = "an unknown machine"
"""Where a training began whose file is of an earlier version."""


@dataclass(frozen=True)
class TrainingData:
    """What training sees, on the device: the ID training set, and outliers if any."""

    id: IDImages
    outliers: OutlierPool | None


@dataclass(frozen=True)
class History:
    """How a training came about, over all calls that had a part in it.

    Attributes:
        places: `where` of each, in their order: a training may go on elsewhere.
        seconds: of the epochs that came out of it; NaN where a part of them was not counted.
    """

    places: tuple[str, ...]
    seconds: float


def train(
    network: Network,
    objective: Objective,
    recipe: Recipe,
    data: TrainingData,
    seed: int,
    unfinished: Path,
    compute: Compute = EXACT,
    team: Team = ALONE,
    where: str = "",
) -> History:
    """Train `network` in place, on the device where it and `data` are; it ends in evaluation mode.

    Every random number is a function of seed and epoch, and the state behind each epoch is kept in the file
    `unfinished`, so a training that was killed goes on where it was and ends with the same weights.

    A team shares each step's images and averages gradients. On GPUs it shares batch norm's statistics as well, so a
    step is what it would be in one process, up to rounding and to what is drawn at random; on CPUs each process has
    the statistics of its own images, as torch synchronises them on GPUs only.

    Args:
        network: what `objective.adapt` made.
        objective: its phases are trained one after the other, each by its own recipe; epochs keep counting.
        recipe: the suite's: epochs, learning rate, augmentation.
        data: ID images and outliers.
        seed: of everything random.
        unfinished: file of the state; it stays behind for the caller to remove.
        compute: precision.
        team: the processes that train it together; all get the same data.
        where: what machine this is, for people.

    Returns:
        Where it was trained, and how long.

    Raises:
        OodbenchError: the loss is no longer a number, or a step does not fit into the GPU's memory.
    """
    phases = objective.phases()
    state = team.first(lambda: _read(unfinished))
    done = int(state["epochs"]) if state else 0
    places = tuple(dict.fromkeys([*(state.get("where", [UNKNOWN]) if state else []), where]))
    began, before = time.monotonic(), float(state.get("seconds", nan)) if state else 0.0

    def history() -> History:
        return History(places, before + time.monotonic() - began)

    if state:
        network.load_state_dict(state["network"])
    with repeatable(), training_precision(network, compute):
        behind = 0
        for number, phase in enumerate(phases):
            own = phase.recipe(recipe)
            first, behind = behind, behind + own.epochs
            epochs = range(max(done, first), behind)
            if not epochs:
                continue
            if epochs.start == first:
                generator = torch_generator(seed, "initialisation", number)
                phase.initialise(network, data.id, data.outliers, own.augment, generator)
            images = phase.training_set(data.id, data.outliers, torch_generator(seed, "training set", number))
            optimizer = _optimizer(phase, network, own)
            if state and epochs.start > first:
                optimizer.load_state_dict(state["optimizer"])
            cost = phase.epoch_passes(len(data.id)).both / len(images)
            advancing = progress("training", len(epochs) * len(images), passes=cost)
            with _still_but_for(optimizer, network), advancing as advance:
                work = _Work(network, phase, own, TrainingData(images, data.outliers), seed, team)
                for epoch in epochs:
                    work.epoch(epoch, epoch - first, optimizer, advance)
                    team.first(partial(_keep, network, optimizer, epoch + 1, history(), unfinished))
    network.eval()
    return history()


class _Loss(nn.Module):
    """What a step minimises, as a module of the network: DistributedDataParallel wraps modules."""

    def __init__(self, network: Network, objective: Objective) -> None:
        super().__init__()
        self.network, self.objective = network, objective

    def forward(self, batch: Batch, generator: Generator) -> Tensor:
        """A scalar."""
        return self.objective.loss(self.network, batch, generator)


class _Work:
    """One phase of training, as one process of a team sees it."""

    def __init__(
        self, network: Network, objective: Objective, recipe: Recipe, data: TrainingData, seed: int, team: Team
    ) -> None:
        self.network, self.objective, self.recipe, self.data = network, objective, recipe, data
        self.seed, self.team = seed, team
        self.loss: nn.Module = _Loss(network, objective)
        if team.size > 1:
            if data.id.labels.is_cuda:
                nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
            self.loss = DistributedDataParallel(self.loss)

    def epoch(self, epoch: int, done: int, optimizer: Optimizer, advance: Advance) -> None:
        """All steps of an epoch.

        Args:
            epoch: counted over all phases; what is drawn at random depends on it.
            done: epochs of this phase that lie behind it; the learning rate depends on them.
            optimizer: of the phase.
            advance: told of each step's images.

        Raises:
            OodbenchError: as `train`.
        """
        shared = torch_generator(self.seed, "training", epoch)
        own = shared if self.team.size == 1 else torch_generator(self.seed, "training", epoch, self.team.rank)
        steps = self.objective.epoch_steps(len(self.data.id))
        last: Tensor | None = None
        # Layers that draw, such as dropout, do so from torch's own generators.
        layers = drawing(self.data.id.labels.device, self.seed, "layers", epoch, self.team.rank)
        try:
            with layers:
                for step, batch in enumerate(self._batches(done, shared, own)):
                    # Half a step is done, as it were: the first one of a warm-up would have no rate at all.
                    _set_rate(optimizer, self.recipe.rate(done + (step + 0.5) / steps))
                    loss = self._step(optimizer, batch, own)
                    # The step before this one: to look at it does not keep the device waiting for this one's work.
                    _refuse_divergence(last, epoch)
                    last = loss
                    advance(len(batch.images) * self.team.size)
        except torch.OutOfMemoryError as error:
            if self.team.size > 1:
                raise  # the others wait for this process: only its end lets torchrun end them
            raise OodbenchError(
                "a training step does not fit into the GPU's memory, and a smaller one would train to something else: "
                "share it among several GPUs with torchrun, try --precision bf16, or use --device cpu"
            ) from error
        _refuse_divergence(last, epoch)

    def _step(self, optimizer: Optimizer, batch: Batch, generator: Generator) -> Tensor:
        """The mean loss of all processes, (); nothing waits for it."""
        self.network.train()
        loss: Tensor = self.loss(batch, generator)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        self.objective.after_step(self.network)
        return self.team.mean(loss.detach())

    def _batches(self, done: int, shared: Generator, own: Generator) -> Iterator[Batch]:
        """One epoch: ID images in random order, augmented, beside the epoch's outliers in theirs.

        Args:
            done: epochs of this phase that lie behind it.
            shared: draws what all processes must agree on.
            own: draws what concerns this one's images.
        """
        data, objective = self.data, self.objective
        none = data.id.images[:0]
        # The first outliers are chosen before anything else is drawn, and before the first step.
        beside = self._outliers(shared)
        first = next(beside, none)
        outliers = chain([first], beside)
        order = torch.randperm(len(data.id), generator=shared)
        steps = [self._mine(rows) for rows in torch.split(order, objective.id_batch)]
        for step, (pixels, labels) in enumerate(data.id.in_turn(steps)):
            names = self.recipe.augment
            images = noisy(as_input(augment(pixels, names, own)), names, own)
            behind = (done + step / len(steps)) / self.recipe.epochs
            yield Batch(images, labels, noisy(as_input(next(outliers, none)), names, own), behind)

    def _outliers(self, shared: Generator) -> Iterator[Tensor]:
        """The outliers of each step, uint8; those of each part of the epoch are chosen when its first step is due."""
        pool, objective = self.data.outliers, self.objective
        if pool is None or not objective.outlier_batch:
            return
        count = len(self.data.id)
        part = ceil(objective.epoch_steps(count) / objective.choices_per_epoch) * objective.id_batch
        for begin in range(0, count, part):
            chosen = objective.epoch_outliers(self.network, pool, min(part, count - begin), shared)
            positions = torch.split(torch.arange(len(chosen)), objective.outlier_batch)
            yield from chosen.in_groups([self._mine(rows) for rows in positions if len(rows)])

    def _mine(self, rows: Tensor) -> Tensor:
        """The part of a step's images that is this process's: every so-manieth, so each half of them is shared alike.

        Where there are fewer images than processes, some look at the same one: a step without images has no loss.
        """
        rank, size = self.team.rank, self.team.size
        return rows[rank::size] if len(rows) >= size else rows[rank % len(rows)][None]


def _refuse_divergence(loss: Tensor | None, epoch: int) -> None:
    if loss is not None and not torch.isfinite(loss):
        raise OodbenchError(
            f"training diverged in epoch {epoch}: the loss is {loss.item()}; "
            "lower it with --set learning_rate=..., or look at the training set"
        )


def _optimizer(objective: Objective, network: Network, recipe: Recipe) -> Optimizer:
    groups = [
        {"lr": recipe.learning_rate, "weight_decay": recipe.weight_decay, **group}
        for group in objective.parameter_groups(network)
    ]
    for group in groups:
        group["initial_lr"] = group["lr"]
    return objective.optimizer(groups, recipe)


@contextmanager
def _still_but_for(optimizer: Optimizer, network: Network) -> Iterator[None]:
    """No gradients for what the optimizer does not train: processes of a team would wait for these in vain."""
    trained = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    still = [each for each in network.parameters() if each.requires_grad and id(each) not in trained]
    for parameter in still:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in still:
            parameter.requires_grad_(True)


def _set_rate(optimizer: Optimizer, share: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"] * share


def _keep(network: Network, optimizer: Optimizer, epochs_done: int, history: History, path: Path) -> None:
    state = {"epochs": epochs_done, "network": network.state_dict(), "optimizer": optimizer.state_dict()}
    state |= {"where": list(history.places), "seconds": history.seconds}
    content = io.BytesIO()
    torch.save(state, content)
    write_atomic(path, content.getvalue())


def epochs_done(unfinished: Path) -> int:
    """Epochs that are behind a training which was interrupted; 0 where none was begun.

    Raises:
        OodbenchError: its state cannot be read.
    """
    state = _read(unfinished)
    return int(state["epochs"]) if state else 0


def _read(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        if not (isinstance(state, dict) and state.keys() >= {"epochs", "network", "optimizer"}):
            raise ValueError("it holds something else")
    except Exception as error:  # torch raises nearly anything on a damaged file
        said = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise OodbenchError(
            f"{path} is not the whole state of a training that was interrupted ({said}): bring it over once more, or "
            "move it elsewhere, and the training begins anew"
        ) from error
    return state
