"""Objective: how a method trains its network. Cross-entropy on the ID classes unless the method says otherwise."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from math import ceil
from typing import Any

import torch
from torch import Generator, Tensor
from torch.nn.functional import cross_entropy
from torch.optim import SGD, Optimizer

from oodbench.basics.freezing import frozen_parameters
from oodbench.basics.passes import Passes
from oodbench.images.resident import IDImages, OutlierPool, Selection
from oodbench.networks.network import Network
from oodbench.recipe import Recipe


@dataclass(frozen=True)
class Batch:
    """One step's data.

    Attributes:
        images: ID images, float (B, C, H, W) in [0, 1].
        labels: theirs, int64 (B,).
        outliers: float (M, C, H, W) in [0, 1].
        done: share of the training, or of its phase, that lies behind this step, from 0 to below 1.
    """

    images: Tensor
    labels: Tensor
    outliers: Tensor
    done: float = 0.0


@dataclass(frozen=True)
class Objective:
    """Cross-entropy on ID images alone.

    A method that trains otherwise makes a frozen dataclass of this: two detectors with equal objectives share one
    trained network, so every field must be something that changes the weights.

    Attributes:
        id_batch: images of the training set a step.
        outlier_batch: outliers a step; 0 for a method that streams none.
        reject_outputs: outputs the network has beyond the ID classes.
    """

    id_batch: int = 64
    outlier_batch: int = 0
    reject_outputs: int = 0

    def loss(self, network: Network, batch: Batch, generator: Generator) -> Tensor:
        """The scalar that one step minimises. `network` is in train mode; `generator` is on the CPU."""
        return cross_entropy(network(batch.images), batch.labels)

    def epoch_outliers(self, network: Network, pool: OutlierPool, id_count: int, generator: Generator) -> Selection:
        """The outliers of an epoch, or of one of its `choices_per_epoch` parts, over `id_count` ID images, in the order
        in which steps take `outlier_batch` of them.

        Here: a stream, consecutive images from one random place (the reference code of Chen et al. 2021 for whatever
        does not mine).
        """
        start = int(torch.randint(len(pool.images), (), generator=generator))
        return pool.consecutive(start, self.epoch_steps(id_count) * self.outlier_batch, generator)

    # The following methods are for objectives that change more than the loss; these here change nothing.

    @property
    def choices_per_epoch(self) -> int:
        """How often `epoch_outliers` is asked in an epoch, each time for the next part of its steps."""
        return 1

    @property
    def uses_outliers(self) -> bool:
        """True if the suite must have auxiliary outliers."""
        return self.outlier_batch > 0

    def phases(self) -> tuple["Objective", ...]:
        """The objectives that are trained one after the other, each by its own `recipe` with a fresh optimizer."""
        return (self,)

    def recipe(self, of_suite: Recipe) -> Recipe:
        """The recipe by which this objective is trained, as a phase: that of the suite."""
        return of_suite

    def epochs_in_all(self, of_suite: Recipe) -> int:
        """The number of epochs of the training, all phases together."""
        return sum(phase.recipe(of_suite).epochs for phase in self.phases())

    def adapt(self, network: Network, image_shape: tuple[int, int, int]) -> Network:
        """`network` with whatever else is trained or kept beside it; its parts must be the same in every process."""
        return network

    def training_set(self, id_images: IDImages, pool: OutlierPool | None, generator: Generator) -> IDImages:
        """The images and labels that epochs go through: the ID training set."""
        return id_images

    def initialise(
        self,
        network: Network,
        id_images: IDImages,
        pool: OutlierPool | None,
        augmentations: Sequence[str],
        generator: Generator,
    ) -> None:
        """Set in place what must be known before the first step; `augmentations` are those of ID images."""

    def parameter_groups(self, network: Network) -> list[dict[str, Any]]:
        """The optimizer's parameter groups; parameters that are in none are not trained.

        "lr" (at the start) and "weight_decay" are the recipe's where a group has none.
        """
        return [{"params": list(network.parameters())}]

    def optimizer(self, groups: list[dict[str, Any]], recipe: Recipe) -> Optimizer:
        """The optimizer of a phase, over complete parameter groups: SGD with Nesterov momentum."""
        return SGD(groups, lr=recipe.learning_rate, momentum=recipe.momentum, nesterov=recipe.momentum > 0)

    def after_step(self, network: Network) -> None:
        """Put parameters back into the range that they may have; called after each step."""

    def epoch_steps(self, id_count: int) -> int:
        """Steps an epoch over `id_count` images; the last batch may be smaller."""
        return ceil(id_count / self.id_batch)

    def epoch_passes(self, id_count: int) -> Passes:
        """The passes that one epoch over an ID training set of `id_count` images takes."""
        images = id_count + self.epoch_steps(id_count) * self.outlier_batch
        return Passes(images, images)

    @property
    def identity(self) -> str:
        """The class and its fields: two objectives that share it, and the code behind it, train alike."""
        values = ", ".join(f"{field.name}={getattr(self, field.name)!r}" for field in fields(self))
        return f"{type(self).__qualname__}({values})"


@contextmanager
def frozen(network: Network) -> Iterator[None]:
    """Evaluation mode and no gradients for weights inside, for attacks and mining in the middle of training."""
    training = network.training
    network.eval()
    try:
        with frozen_parameters(network.parameters()):
            yield
    finally:
        network.train(training)
