"""The one training loop."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor
from torch.optim import SGD

from oodbench.errors import OodbenchError
from oodbench.files import write_atomic
from oodbench.images.augment import augment
from oodbench.networks.network import Network, as_input
from oodbench.objective import Batch, Objective, OutlierPool
from oodbench.progress import progress
from oodbench.randomness import torch_generator
from oodbench.suite import Recipe

VERSION = 1
"""Bumped when the same inputs would train to other weights, so that networks of an older loop are not taken for new."""


@dataclass(frozen=True)
class TrainingData:
    """What training sees, on the device: ID `images` uint8 (N, C, H, W), `labels` int64 (N,), and outliers if any."""

    images: Tensor
    labels: Tensor
    outliers: OutlierPool | None


def train(
    network: Network, objective: Objective, recipe: Recipe, data: TrainingData, seed: int, unfinished: Path
) -> None:
    """Train `network` in place, on the device where it and `data` are; it ends in evaluation mode.

    Every random number is a function of seed and epoch, and the state behind each epoch is kept in the file
    `unfinished`, so a training that was killed goes on where it was and ends with the same weights.

    Raises:
        OodbenchError: the loss is no longer a number.
    """
    optimizer = SGD(
        network.parameters(),
        lr=recipe.learning_rate,
        momentum=recipe.momentum,
        nesterov=recipe.momentum > 0,
        weight_decay=recipe.weight_decay,
    )
    done = _resume(network, optimizer, unfinished)
    with progress("training", (recipe.epochs - done) * len(data.images)) as advance:
        for epoch in range(done, recipe.epochs):
            for group in optimizer.param_groups:
                group["lr"] = recipe.learning_rate * 0.1 ** sum(epoch >= drop for drop in recipe.drops)
            generator = torch_generator(seed, "training", epoch)
            for batch in _batches(network, objective, recipe, data, generator):
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
                advance(len(batch.images))
            _keep(network, optimizer, epoch + 1, unfinished)
    network.eval()


def _batches(
    network: Network, objective: Objective, recipe: Recipe, data: TrainingData, generator: Generator
) -> Iterator[Batch]:
    """One epoch: ID images in random order, augmented, beside the epoch's outliers in theirs."""
    count = len(data.images)
    outliers = data.images[:0]
    if data.outliers is not None and objective.outlier_batch:
        outliers = objective.epoch_outliers(network, data.outliers, count, generator)
    order = torch.randperm(count, generator=generator).to(data.images.device)
    for step, chosen in enumerate(torch.split(order, objective.id_batch)):
        images = augment(data.images[chosen], recipe.augment, generator)
        beside = outliers[step * objective.outlier_batch : (step + 1) * objective.outlier_batch]
        yield Batch(as_input(images), data.labels[chosen], as_input(beside))


def _keep(network: Network, optimizer: SGD, epochs_done: int, path: Path) -> None:
    state = {"epochs": epochs_done, "network": network.state_dict(), "optimizer": optimizer.state_dict()}
    content = io.BytesIO()
    torch.save(state, content)
    write_atomic(path, content.getvalue())


def _resume(network: Network, optimizer: SGD, path: Path) -> int:
    if not path.is_file():
        return 0
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    network.load_state_dict(state["network"])
    optimizer.load_state_dict(state["optimizer"])
    return int(state["epochs"])
