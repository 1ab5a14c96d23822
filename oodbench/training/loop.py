"""The one training loop."""

import io
import time
from collections.abc import Iterator
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
from oodbench.basics.freezing import frozen_parameters
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
"""Place of a training that was begun by an earlier version, whose file does not say where."""


@dataclass(frozen=True)
class TrainingData:
    """The images that training sees, on the device: the ID training set, and outliers if any."""

    id: IDImages
    outliers: OutlierPool | None


@dataclass(frozen=True)
class History:
    """Where a training took place and how long it took, over all calls of `train` that it was done in.

    Attributes:
        places: `where` of each call, in their order: an interrupted training may go on elsewhere.
        seconds: that all epochs took; NaN where a part of them was not timed.
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

    Every random number is a function of seed and epoch, and the state after each epoch is kept in the file
    `unfinished`, so a training that was killed goes on where it was and ends with the same weights.

    A team shares each step's images and averages gradients. On GPUs it shares batch norm's statistics as well, so a
    step is what it would be in one process, up to rounding and to what is drawn at random; on CPUs each process has
    the statistics of its own images, as torch synchronises them on GPUs only.

    Args:
        network: as `objective.adapt` returns it.
        objective: its phases are trained one after the other, each by its own recipe; epochs keep counting.
        recipe: of the suite: epochs, learning rate, augmentation.
        data: ID images and outliers.
        seed: of everything random.
        unfinished: file of the state; the caller removes it.
        compute: precision.
        team: the processes that train it together; all get the same data.
        where: name of this machine, for people.

    Returns:
        Where it was trained, and how long that took.

    Raises:
        OodbenchError: the loss is not finite, or a step does not fit into the GPU's memory.
    """
    phases = objective.phases()
    state = team.first(lambda: _read_state(unfinished))
    done = int(state["epochs"]) if state else 0
    places = tuple(dict.fromkeys([*(state.get("where", [UNKNOWN]) if state else []), where]))
    began, before = time.monotonic(), float(state.get("seconds", nan)) if state else 0.0

    def history() -> History:
        return History(places, before + time.monotonic() - began)

    if state:
        network.load_state_dict(state["network"])
    with repeatable(), training_precision(network, compute):
        end = 0
        for number, phase in enumerate(phases):
            phase_recipe = phase.recipe(recipe)
            first, end = end, end + phase_recipe.epochs
            epochs = range(max(done, first), end)
            if not epochs:
                continue
            if epochs.start == first:
                generator = torch_generator(seed, "initialisation", number)
                phase.initialise(network, data.id, data.outliers, phase_recipe.augment, generator)
            images = phase.training_set(data.id, data.outliers, torch_generator(seed, "training set", number))
            optimizer = _optimizer(phase, network, phase_recipe)
            if state and epochs.start > first:
                optimizer.load_state_dict(state["optimizer"])
            cost = phase.epoch_passes(len(data.id)).both / len(images)
            advancing = progress("training", len(epochs) * len(images), passes=cost)
            with frozen_parameters(_untrained_parameters(optimizer, network)), advancing as advance:
                training = _PhaseTraining(network, phase, phase_recipe, TrainingData(images, data.outliers), seed, team)
                for epoch in epochs:
                    training.epoch(epoch, epoch - first, optimizer, advance)
                    team.first(partial(_keep, network, optimizer, epoch + 1, history(), unfinished))
    network.eval()
    return history()


class _Loss(nn.Module):
    """The loss that a step minimises, as a module around the network: DistributedDataParallel wraps modules."""

    def __init__(self, network: Network, objective: Objective) -> None:
        super().__init__()
        self.network, self.objective = network, objective

    def forward(self, batch: Batch, generator: Generator) -> Tensor:
        """The loss of a batch, a scalar."""
        return self.objective.loss(self.network, batch, generator)


class _PhaseTraining:
    """The training of one phase in one process of a team."""

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
        """Do all steps of an epoch.

        Args:
            epoch: counted over all phases; the seeds of random draws depend on it.
            done: epochs of this phase that lie behind it; the learning rate depends on them.
            optimizer: of the phase.
            advance: told the number of each step's images.

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
                    # The rate is taken at the middle of the step, because at its beginning the first step of a warm-up
                    # would have a learning rate of 0.
                    _set_rate(optimizer, self.recipe.rate(done + (step + 0.5) / steps))
                    loss = self._step(optimizer, batch, own)
                    # The loss of the step before this one is checked: to read this one's would wait for the device.
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
        """Do one step; return the mean loss of all processes, (), without waiting for the device."""
        self.network.train()
        loss: Tensor = self.loss(batch, generator)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        self.objective.after_step(self.network)
        return self.team.mean(loss.detach())

    def _batches(self, done: int, shared: Generator, own: Generator) -> Iterator[Batch]:
        """The batches of one epoch: ID images in random order, augmented, and the epoch's outliers in their own order.

        Args:
            done: epochs of this phase that lie behind it.
            shared: draws what all processes must agree on.
            own: draws what concerns the images of this process alone.
        """
        data, objective = self.data, self.objective
        none = data.id.images[:0]
        # The first outliers are chosen before anything else is drawn, and before the first step.
        chosen = self._outliers(shared)
        first = next(chosen, none)
        outliers = chain([first], chosen)
        order = torch.randperm(len(data.id), generator=shared)
        steps = [self._own_rows(rows) for rows in torch.split(order, objective.id_batch)]
        for step, (pixels, labels) in enumerate(data.id.in_turn(steps)):
            names = self.recipe.augment
            images = noisy(as_input(augment(pixels, names, own)), names, own)
            share_done = (done + step / len(steps)) / self.recipe.epochs
            yield Batch(images, labels, noisy(as_input(next(outliers, none)), names, own), share_done)

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
            yield from chosen.in_groups([self._own_rows(rows) for rows in positions if len(rows)])

    def _own_rows(self, rows: Tensor) -> Tensor:
        """The rows of a step's images that this process takes: every n-th of them, so each half is shared evenly.

        Where there are fewer images than processes, some take the same one: a step without images has no loss.
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


def _untrained_parameters(optimizer: Optimizer, network: Network) -> list[nn.Parameter]:
    """The parameters that the optimizer does not train: a team would wait in vain for their gradients."""
    trained = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    return [parameter for parameter in network.parameters() if id(parameter) not in trained]


def _set_rate(optimizer: Optimizer, share: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"] * share


def _keep(network: Network, optimizer: Optimizer, epochs_done: int, history: History, path: Path) -> None:
    """Write the state of a training to a file."""
    state = {"epochs": epochs_done, "network": network.state_dict(), "optimizer": optimizer.state_dict()}
    state |= {"where": list(history.places), "seconds": history.seconds}
    content = io.BytesIO()
    torch.save(state, content)
    write_atomic(path, content.getvalue())


def epochs_done(unfinished: Path) -> int:
    """The number of epochs that an interrupted training has behind it; 0 where none was begun.

    Raises:
        OodbenchError: its state cannot be read.
    """
    state = _read_state(unfinished)
    return int(state["epochs"]) if state else 0


def _read_state(path: Path) -> dict[str, Any] | None:
    """The state of an interrupted training; None where there is no file."""
    if not path.is_file():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        if not (isinstance(state, dict) and state.keys() >= {"epochs", "network", "optimizer"}):
            raise ValueError("it holds something else")
    except Exception as error:  # torch raises nearly anything on a damaged file
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise OodbenchError(
            f"{path} is not the whole state of a training that was interrupted ({reason}): bring it over once more, or "
            "move it elsewhere, and the training begins anew"
        ) from error
    return state
