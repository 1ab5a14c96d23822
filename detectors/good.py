"""GOOD: outliers are trained with a bound of their confidence in place of an attack. Bitterwolf et al. 2020.

The bound is by intervals (IBP) over an L-infinity ball, and holds whatever an attack does: the task `certified` shows
what it guarantees. Loss, order of outliers and schedule are those of the authors' code for MNIST; the optimizer is the
suite's, and balls are cut to [0, 1], which theirs are not.

Their networks have no batch norm. With it, boxes are normalised by the mean and the variance of the images that pass
beside them, and gradients go through both (so auto_LiRPA does: its mode "forward", and Shi et al. 2021,
arXiv:2103.17268). By running statistics, the bound would be of another network than the one that learns the classes,
and the two part: trained so on CIFAR-10, networks came to tell classes by the statistics of a batch, and to give the
same logits to all images by the running ones.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from math import floor
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy
from torch.nn.modules.batchnorm import _BatchNorm

from oodbench.basics.passes import Passes
from oodbench.networks.bounds import Box
from oodbench.networks.network import Network
from oodbench.objective import Batch, Objective
from oodbench.recipe import Recipe

from .msp import MSP

WEIGHT_RAMP = (2 / 420, 100 / 420)
"""Where the weight of the outlier term begins to rise, and for how long it does: shares of the training."""

RADIUS_RAMP = (10 / 420, 120 / 420)
"""The same for the radius."""


@dataclass(frozen=True)
class BoundedExposure(Objective):
    """Cross-entropy on ID images plus `weight` times a penalty on how far apart outliers' logits can be.

    Both the weight and the radius rise evenly from nothing over the first third of the training.

    Attributes:
        weight: kappa.
        epsilon: radius of the L-infinity ball, in 1/255.
        quantile: share of a batch's outliers, those with the lowest bounds, that are trained by their bounds; the
            others are trained as they are.
        epochs: of the training; 0 for as many as the suite says.
    """

    id_batch: int = 128
    outlier_batch: int = 128
    weight: float = 1.0
    epsilon: int = 3
    quantile: float = 0.8
    epochs: int = 0

    def loss(self, network: Network, batch: Batch, generator: Generator) -> Tensor:
        """CE(ID) + weight * mean over outliers of log(1 + d^2 / 2), d being what lies between two logits at most."""
        with batch_statistics(network) as statistics:
            logits = network(torch.cat([batch.images, batch.outliers]))
        id_logits, outlier_logits = logits.split([len(batch.images), len(batch.outliers)])
        classes = logits.shape[1]
        spread = outlier_logits.amax(1) - outlier_logits.amin(1)
        radius = self.epsilon / 255 * ramp(batch.done, *RADIUS_RAMP)
        bound = largest_spread(network, batch.outliers, radius, classes, statistics)
        lowest = bound.argsort()[: floor(self.quantile * len(bound))]
        bounded = torch.zeros_like(bound, dtype=torch.bool)
        bounded[lowest] = True
        apart = torch.where(bounded, bound, spread)
        undecided = (apart**2 / 2).log1p().mean()
        return cross_entropy(id_logits, batch.labels) + self.weight * ramp(batch.done, *WEIGHT_RAMP) * undecided

    def recipe(self, of_suite: Recipe) -> Recipe:
        """The suite's, stretched to `epochs`."""
        if not self.epochs:
            return of_suite
        drops = tuple(round(drop * self.epochs / of_suite.epochs) for drop in of_suite.drops)
        return replace(of_suite, epochs=self.epochs, drops=drops)

    def epoch_passes(self, id_count: int) -> Passes:
        """The steps, and two passes more for the bounds of outliers: of the middle and of the width of a box."""
        bounds = 2 * self.epoch_steps(id_count) * self.outlier_batch
        return super().epoch_passes(id_count) + Passes(bounds, bounds)


def ramp(done: float, start: float, length: float) -> float:
    """From 0 up to `start` evenly to 1 at `start` + `length`, when `done` of the training is done; shares."""
    return min(max(done - start, 0.0) / length, 1.0)


@contextmanager
def batch_statistics(network: Network) -> Iterator[dict[str, Tensor]]:
    """Inside, note the mean and the variance by which each batch norm of a network in training normalises a batch.

    Yields:
        Both of each, (channels,), with their gradients, under the names of the buffers of running statistics. Of the
        images of this process alone, where a team trains.
    """
    noted: dict[str, Tensor] = {}
    with ExitStack() as hooks:
        for name, part in network.named_modules():
            if isinstance(part, _BatchNorm) and part.running_mean is not None:

                def note(part: nn.Module, given: tuple[Tensor, ...], name: str = name) -> None:
                    if part.training:
                        channels = given[0].float().transpose(0, 1).flatten(1)
                        noted[f"{name}.running_mean"] = channels.mean(1)
                        noted[f"{name}.running_var"] = channels.var(1, correction=0)

                hooks.callback(part.register_forward_pre_hook(note).remove)
        yield noted


class _Features(nn.Module):
    """The features of a network as a module's output, for `functional_call`."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Any) -> Any:
        """Of images, or of boxes around them."""
        return self.network.represent(images).features


def largest_spread(
    network: Network, images: Tensor, radius: float, classes: int, statistics: dict[str, Tensor]
) -> Tensor:
    """A bound of max z - min z over the first `classes` logits z, (N,), in L-infinity balls around `images`.

    The difference of two logits is bounded as one function of the features. The network computes as in evaluation,
    but by other statistics, and gradients reach its weights.

    Args:
        network: of operations that boxes go through, see `oodbench.networks.bounds`.
        images: (N, C, H, W) in [0, 1].
        radius: in units of [0, 1] pixel space.
        classes: K.
        statistics: what batch norms normalise by, as `batch_statistics` gives it.
    """
    box = Box.between((images - radius).clamp(min=0), (images + radius).clamp(max=1))
    given = {f"network.{name}": value for name, value in statistics.items()}
    training = network.training
    network.eval()
    try:
        features: Any = functional_call(_Features(network), given, (box,))
    finally:
        network.train(training)
    weight, bias = network.head.weight[:classes], network.head.bias[:classes]
    center = features.center @ weight.T + bias
    apart = (weight[:, None] - weight[None]).abs()
    reach = torch.einsum("nd,jkd->njk", features.radius, apart)
    bound: Tensor = (center[:, :, None] - center[:, None] + reach).flatten(1).amax(1)
    return bound


class GOOD(MSP):
    r"""Trained so that outliers keep a low confidence wherever they are moved within a ball; scored as MSP.

    $$\min_\theta\; \mathbb{E}_{\text{ID}}\bigl[-\log p_y\bigr] + \kappa\, \mathbb{E}_{\text{outliers}}\Bigl[
    \log\bigl(1 + \tfrac12 \max_{k, l} \overline{(z_k - z_l)}^2\bigr)\Bigr], \qquad s(x) \text{ as MSP}$$

    The bar is an upper bound over the ball. For the outliers with the highest bounds, all but a share q of a batch, the
    logits of the outlier itself stand in its place.
    """

    name = "good"
    paper = "Bitterwolf et al. 2020, arXiv:2007.08473"
    grid = ("quantile", (0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 1.0))

    @dataclass(frozen=True)
    class Parameters:
        """Defaults of the authors' code for CIFAR-10, whose radius is 0.01, in whole levels.

        Attributes:
            weight: kappa, of the outlier term in the loss; 0.3 on MNIST.
            epsilon: radius of the ball during training, in 1/255; 76 on MNIST.
            quantile: q, the share of outliers that are trained by their bounds.
            epochs: of the training, which takes longer than others; 0 for as many as the suite says.
        """

        weight: float = 1.0
        epsilon: int = 3
        quantile: float = 0.8
        epochs: int = 0

        def __post_init__(self) -> None:
            if not 0 <= self.epsilon <= 255 or not 0 <= self.quantile <= 1 or self.weight < 0 or self.epochs < 0:
                raise ValueError(
                    f"epsilon is {self.epsilon}, quantile {self.quantile}, weight {self.weight}, epochs {self.epochs}: "
                    "choose epsilon from 0 to 255, a share of the outliers from 0 to 1, and 0 or more of the others"
                )

    parameters: Parameters

    def objective(self) -> BoundedExposure:
        """Cross-entropy with the bounded outlier term."""
        p = self.parameters
        return BoundedExposure(weight=p.weight, epsilon=p.epsilon, quantile=p.quantile, epochs=p.epochs)
