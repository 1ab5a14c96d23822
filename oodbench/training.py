"""The one training loop."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Generator
from torch.optim import SGD

from oodbench.errors import OodbenchError
from oodbench.files import write_atomic
from oodbench.images.augment import augment
from oodbench.images.resident import IDImages, OutlierPool, Selection
from oodbench.networks.network import Network, as_input
from oodbench.objective import Batch, Objective
from oodbench.progress import progress
from oodbench.randomness import torch_generator
from oodbench.suite import Recipe

VERSION = 2
"""Bumped when the same inputs would train to other weights, so that networks of an older loop are not taken for new."""


@dataclass(frozen=True)
class TrainingData:
    """What training sees, on the device: the ID training set, and outliers if any."""

    id: IDImages
    outliers: OutlierPool | None


def train(
    network: Network, objective: Objective, recipe: Recipe, data: TrainingData, seed: int, unfinished: Path
) -> None:
    """Train `network` in place, on the device where it and `data` are; it ends in evaluation mode.

    Every random number is a function of seed and epoch, and the state behind each epoch is kept in the file
    `unfinished`, so a training that was killed goes on where it was and ends with the same weights.

    Args:
        network: what `objective.adapt` made.
        objective: its phases are trained one after the other, each by the whole recipe; epochs keep counting.
        recipe: epochs, learning rate, augmentation.
        data: ID images and outliers.
        seed: of everything random.
        unfinished: file of the state; it stays behind for the caller to remove.

    Raises:
        OodbenchError: the loss is no longer a number.
    """
    phases = objective.phases()
    state = _read(unfinished)
    done = int(state["epochs"]) if state else 0
    if state:
        network.load_state_dict(state["network"])
    for number, phase in enumerate(phases):
        first = number * recipe.epochs
        epochs = range(max(done, first), first + recipe.epochs)
        if not epochs:
            continue
        if epochs.start == first:
            generator = torch_generator(seed, "initialisation", number)
            phase.initialise(network, data.id, data.outliers, recipe.augment, generator)
        images = phase.training_set(data.id, data.outliers, torch_generator(seed, "training set", number))
        optimizer = _optimizer(phase, network, recipe)
        if state and epochs.start > first:
            optimizer.load_state_dict(state["optimizer"])
        with progress("training", len(epochs) * len(images)) as advance:
            for epoch in epochs:
                _decay(optimizer, recipe, epoch - first)
                generator = torch_generator(seed, "training", epoch)
                for batch in _batches(network, phase, recipe, TrainingData(images, data.outliers), generator):
                    _step(network, phase, optimizer, batch, generator, epoch)
                    advance(len(batch.images))
                _keep(network, optimizer, epoch + 1, unfinished)
    network.eval()


def _optimizer(objective: Objective, network: Network, recipe: Recipe) -> SGD:
    groups = [
        {"lr": recipe.learning_rate, "weight_decay": recipe.weight_decay, **group}
        for group in objective.parameter_groups(network)
    ]
    for group in groups:
        group["initial_lr"] = group["lr"]
    return SGD(groups, lr=recipe.learning_rate, momentum=recipe.momentum, nesterov=recipe.momentum > 0)


def _decay(optimizer: SGD, recipe: Recipe, epoch: int) -> None:
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"] * 0.1 ** sum(epoch >= drop for drop in recipe.drops)


def _step(
    network: Network, objective: Objective, optimizer: SGD, batch: Batch, generator: Generator, epoch: int
) -> None:
    network.train()
    loss = objective.loss(network, batch, generator)
    if not torch.isfinite(loss):
        raise OodbenchError(
            f"training diverged in epoch {epoch}: the loss is {loss.item()}; "
            "lower it with --set learning_rate=..., or look at the training set"
        )
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    objective.after_step(network)


def _batches(
    network: Network, objective: Objective, recipe: Recipe, data: TrainingData, generator: Generator
) -> Iterator[Batch]:
    """One epoch: ID images in random order, augmented, beside the epoch's outliers in theirs."""
    none = data.id.images[:0]
    outliers = Selection(none, torch.empty(0, dtype=torch.int64))
    if data.outliers is not None and objective.outlier_batch:
        outliers = objective.epoch_outliers(network, data.outliers, len(data.id), generator)
    order = torch.randperm(len(data.id), generator=generator)
    beside = outliers.in_turn(max(1, objective.outlier_batch))
    for pixels, labels in data.id.in_turn(torch.split(order, objective.id_batch)):
        images = augment(pixels, recipe.augment, generator)
        yield Batch(as_input(images), labels, as_input(next(beside, none)))


def _keep(network: Network, optimizer: SGD, epochs_done: int, path: Path) -> None:
    state = {"epochs": epochs_done, "network": network.state_dict(), "optimizer": optimizer.state_dict()}
    content = io.BytesIO()
    torch.save(state, content)
    write_atomic(path, content.getvalue())


def _read(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state
