"""VOS: outliers drawn in feature space, and a regression that tells them by their energy. Du et al. 2022.

A Gaussian for each class, with one covariance, follows the features while the network trains; what lies furthest out
among many draws from it is a virtual outlier. A logistic regression on the energy must tell these from ID images. Its
loss reaches the last layer through the virtual outliers, and all layers through the ID images. (OpenOOD v1.5 detaches
the energy, so that there nothing but the regression learns.)
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from scipy.special import gammaincinv
from torch import Generator, Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, normalize

from oodbench.networks.network import Network, Representation
from oodbench.objective import Batch, Objective

from .energy import Energy

RIDGE = 1e-4
"""Added to each variance, as the authors do."""


class VOSNetwork(Network):
    """A classifier with moments of its features and the regression beside it; logits and features are the classifier's.

    Args:
        base_model: the classifier.
    """

    counts: Tensor
    sums: Tensor
    products: Tensor

    def __init__(self, base_model: Network) -> None:
        super().__init__()
        classes, dimensions = base_model.head.out_features, base_model.head.in_features
        self.base_model = base_model
        self.register_buffer("counts", torch.zeros(classes))
        self.register_buffer("sums", torch.zeros(classes, dimensions))
        self.register_buffer("products", torch.zeros(dimensions, dimensions))
        self.log_weights = nn.Parameter(torch.zeros(classes))
        self.slope = nn.Parameter(torch.ones(()))
        self.offset = nn.Parameter(torch.zeros(()))

    @property
    def head(self) -> nn.Linear:
        """The classifier's."""
        return self.base_model.head

    def represent(self, images: Tensor) -> Representation:
        """The classifier's representation."""
        return self.base_model.represent(images)

    def taps(self, images: Tensor) -> Iterator[Tensor]:
        """The classifier's taps."""
        return self.base_model.taps(images)

    def follow(self, features: Tensor, labels: Tensor, memory: int) -> None:
        """Take features (B, D) and labels (B,) into the moments, and forget as much, so that about `memory` images of
        each class count.
        """
        features, classes = features.detach().float(), len(self.counts)
        kept = max(0.0, 1 - len(labels) / (classes * memory))
        self.counts.mul_(kept).add_(torch.bincount(labels, minlength=classes))
        self.sums.mul_(kept).index_add_(0, labels, features)
        self.products.mul_(kept).add_(features.T @ features)

    def gaussians(self) -> tuple[Tensor, Tensor]:
        """Means (C, D) of the classes seen so far, and the triangle (D, D) of their common covariance; float64."""
        seen = self.counts > 0
        counts, sums = self.counts[seen].double(), self.sums[seen].double()
        means = sums / counts[:, None]
        return means, triangle((self.products.double() - means.T @ sums) / counts.sum())

    def id_log_odds(self, logits: Tensor) -> Tensor:
        """Of the regression on the weighted energy, (N,) of logits (N, K)."""
        return self.slope * (logits.float() + self.log_weights).logsumexp(1) + self.offset


def triangle(covariance: Tensor) -> Tensor:
    """Lower triangle L with L L^T = `covariance` (D, D) plus a ridge, which is larger where rounding has left that
    indefinite; NaN where no ridge helps.
    """
    factor: Tensor = covariance
    ridge = RIDGE * torch.eye(len(covariance)).to(covariance)
    for power in range(10):
        factor, wrong = torch.linalg.cholesky_ex(covariance + 10**power * ridge)
        if not wrong:
            return factor
    return torch.full_like(factor, torch.nan)


def outermost(means: Tensor, factor: Tensor, select: int, candidates: int, generator: Generator) -> Tensor:
    """The `select` least likely of `candidates` draws from each Gaussian (C * select, D).

    They are drawn directly: of whitened draws the directions are uniform, and the squared lengths the largest of
    `candidates` chi-squared numbers, whose shares below them fall one after the other by U^(1/n), U^(1/(n-1)), ...
    """
    classes, dimensions = means.shape
    uniform = torch.rand(classes, select, generator=generator, dtype=torch.float64)
    below = (uniform ** (1 / (candidates - torch.arange(select, dtype=torch.float64)))).cumprod(1)
    lengths = torch.from_numpy(2 * gammaincinv(dimensions / 2, below.numpy())).sqrt()
    directions = normalize(torch.randn(classes, select, dimensions, generator=generator, dtype=torch.float64), dim=2)
    whitened = (lengths[:, :, None] * directions).to(means)
    return (means[:, None] + whitened @ factor.T).flatten(0, 1)


@dataclass(frozen=True)
class VirtualOutliers(Objective):
    """Cross-entropy, and from some point on `weight` times the regression's, of ID images against virtual outliers.

    Attributes:
        weight: of the regression in the loss.
        start: share of the training before it counts.
        memory: images of each class that the Gaussians go by, the latest weighing most.
        select: virtual outliers a class and step.
        candidates: draws of which these are the least likely.
    """

    id_batch: int = 128
    weight: float = 0.1
    start: float = 0.4
    memory: int = 1000
    select: int = 1
    candidates: int = 10_000

    def adapt(self, network: Network, image_shape: tuple[int, int, int]) -> Network:
        """The classifier with moments and regression beside it."""
        return VOSNetwork(network)

    def loss(self, network: Network, batch: Batch, generator: Generator) -> Tensor:
        """CE(ID) + weight * BCE(regression: ID images against virtual outliers)."""
        assert isinstance(network, VOSNetwork)
        representation = network.represent(batch.images)
        network.follow(representation.features, batch.labels, self.memory)
        loss = cross_entropy(representation.logits, batch.labels)
        if batch.done < self.start:
            # Several processes average gradients, and each parameter must have one.
            return loss + 0 * network.id_log_odds(representation.logits.detach()).sum()
        return loss + self.weight * self.uncertainty(network, representation.logits, generator)

    def uncertainty(self, network: VOSNetwork, logits: Tensor, generator: Generator) -> Tensor:
        """Of the regression that is to say 1 of ID images, by their logits (B, K), and 0 of virtual outliers."""
        drawn = outermost(*network.gaussians(), self.select, self.candidates, generator)
        virtual = network.head(drawn.float())
        log_odds = network.id_log_odds(torch.cat([logits, virtual]))
        truth = torch.cat([log_odds.new_ones(len(logits)), log_odds.new_zeros(len(virtual))])
        return binary_cross_entropy_with_logits(log_odds, truth)


class VOS(Energy):
    r"""Trained against virtual outliers; scored by the energy of the logits, as the authors do on CIFAR.

    $$\min_\theta\; \mathbb{E}_{\text{ID}}\bigl[-\log p_y\bigr] + w\, \mathbb{E}\Bigl[-\log \sigma\bigl(\pm (a E_w +
    b)\bigr)\Bigr], \quad E_w = \log \sum_k w_k e^{z_k}, \qquad s(x) = T \log \sum_k e^{z_k / T}$$

    with plus for ID images and minus for virtual outliers.
    """

    name = "vos"
    paper = "Du et al. 2022, arXiv:2202.01197"

    @dataclass(frozen=True)
    class Parameters(Energy.Parameters):
        """Defaults of the authors' code, which keeps a queue of images where this forgets evenly.

        Attributes:
            temperature: T of the score, above 0; training knows 1 only.
            weight: of the regression in the loss.
            start: share of the training before it counts, from 0 to below 1.
            memory: images of each class that the Gaussians go by.
            select: virtual outliers a class and step.
            candidates: draws of which these are the least likely.
        """

        weight: float = 0.1
        start: float = 0.4
        memory: int = 1000
        select: int = 1
        candidates: int = 10_000

        def __post_init__(self) -> None:
            super().__post_init__()
            if not 0 <= self.start < 1:
                raise ValueError(f"start is {self.start}: it is a share of the training, from 0 to below 1")
            if self.memory < 1 or not 1 <= self.select <= self.candidates:
                raise ValueError(
                    f"memory is {self.memory}, select {self.select}, candidates {self.candidates}: choose 1 or more of "
                    "each, and no more to select than candidates"
                )

    parameters: Parameters

    def objective(self) -> VirtualOutliers:
        """Classifier and regression together."""
        p = self.parameters
        return VirtualOutliers(
            weight=p.weight, start=p.start, memory=p.memory, select=p.select, candidates=p.candidates
        )
