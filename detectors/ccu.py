"""CCU: certified certainty on the uncertain. Meinke and Hein 2020, arXiv:1909.12180.

Two Gaussian mixtures in pixel space, one of ID images and one of outliers, say how far an image is from either; where
it is nearer to the outliers, the classifier's posterior goes to uniform. The constants are those of the code behind the
figures of Chen et al. 2021 (arXiv:2006.15207), which scored and attacked the classifier alone: that is `ccu-msp`, to be
compared with published rows. `ccu` scores the whole posterior.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import log, pi
from typing import Any

import numpy as np
import torch
from sklearn.cluster import KMeans
from torch import Generator, Tensor, nn
from torch.nn.functional import logsigmoid, nll_loss

from oodbench.basics.errors import OodbenchError
from oodbench.basics.passes import Passes
from oodbench.basics.progress import progress
from oodbench.detector import Detector
from oodbench.images import augment
from oodbench.images.resident import IDImages, OutlierPool
from oodbench.networks.network import Network, Representation, as_input
from oodbench.objective import Batch, Objective

from .msp import MSP, log_odds_of_largest

METRIC_IMAGES = 50_000
"""ID images that the metric is taken from."""

MOST_DIMENSIONS = 64 * 64 * 3
"""Of an image: the metric's matrix has this many rows and columns, 1.2 GB in double precision."""

OUT_IMAGES = 401 * 50
"""Outliers that their mixture is fitted to, from the front of the set."""

EM_STEPS = 100
EM_TOLERANCE = 1e-3
EM_VARIANCE_FLOOR = 1e-3
"""Added to each variance, as scikit-learn's mixture of the time did by default; the code does not say."""


class Metric(nn.Module):
    """d(x, y) = ||diag(s)^-1/2 V (x - y)||, with V and s from the principal components of ID images.

    Args:
        dimensions: D, of flattened images.
    """

    whitener: Tensor
    singular: Tensor

    def __init__(self, dimensions: int) -> None:
        super().__init__()
        self.register_buffer("whitener", torch.eye(dimensions))  # diag(s)^-1/2 V
        self.register_buffer("singular", torch.ones(dimensions))

    def fit(self, images: Tensor) -> None:
        """Components and singular values (not their squares) of centred images (N, D); values floored at 1e-6 of the
        largest.
        """
        images = images.double()
        centred = images - images.mean(0)
        squares, vectors = torch.linalg.eigh(centred.T @ centred)
        singular = squares.flip(0).clamp(min=0).sqrt()
        singular = singular.clamp(min=float(singular[0]) / 1e6)
        self.singular.copy_(singular)
        self.whitener.copy_(vectors.flip(1).T / singular.sqrt()[:, None])

    def whiten(self, images: Tensor) -> Tensor:
        """Flattened images (N, D) to where the metric is Euclidean."""
        return images @ self.whitener.T

    def log_volume(self) -> Tensor:
        """(D / 2) log 2 pi + (1 / 2) sum log s: what a Gaussian's log density loses in this metric."""
        return len(self.singular) / 2 * log(2 * pi) + self.singular.log().sum() / 2


class Mixture(nn.Module):
    """Spherical Gaussians of equal weight, in the metric.

    Means are kept whitened. They learn as if they were kept in pixel space: a step of SGD there moves the whitened mean
    by diag(s)^-1/2 V V^T diag(s)^-1/2 = diag(1/s) times its own gradient, so that factor is put on the gradient, and no
    step has to whiten them.

    Args:
        components: how many.
        dimensions: D, of flattened images.
    """

    def __init__(self, components: int, dimensions: int) -> None:
        super().__init__()
        self.mu = nn.Parameter(torch.zeros(components, dimensions))
        self.logvar = nn.Parameter(torch.zeros(components))

    def log_densities(self, whitened: Tensor, metric: Metric) -> Tensor:
        """Each component's log density with its weight (N, components), of whitened images (N, D)."""
        fixed = self.mu.detach()
        centres = fixed + (self.mu - fixed) / metric.singular
        squares = whitened.square().sum(1, keepdim=True) - 2 * whitened @ centres.T + centres.square().sum(1)
        dimensions = whitened.shape[1]
        spread = dimensions / 2 * self.logvar + squares.clamp(min=0) / (2 * self.logvar.exp())
        return -log(len(self.logvar)) - spread - metric.log_volume()

    def fit(self, images: Tensor, metric: Metric, generator: Generator) -> None:
        """EM from k-means in the metric, weights fixed; then all variances become their mean."""
        whitened = metric.whiten(images)
        if len(whitened) < len(self.logvar):
            raise OodbenchError(
                f"ccu fits {len(self.logvar)} Gaussians and has {len(whitened)} images to fit them to: give more, or "
                "lower it with --set components=..."
            )
        means, variances = expectation_maximisation(whitened, len(self.logvar), generator)
        with torch.no_grad():
            self.mu.copy_(means)
            self.logvar.fill_(float(variances.mean().log()))


def expectation_maximisation(points: Tensor, components: int, generator: Generator) -> tuple[Tensor, Tensor]:
    """Means (components, D) and variances (components,) of spherical Gaussians of equal, fixed weight.

    At most 100 rounds, until the mean log-likelihood gains less than 1e-3.
    """
    seed = int(torch.randint(2**31, (), generator=generator))
    kmeans = KMeans(components, n_init=1, random_state=seed).fit(points.cpu().numpy())
    means = torch.from_numpy(kmeans.cluster_centers_).to(points)
    variances = points.var(0, correction=0).mean().expand(components).clone() + EM_VARIANCE_FLOOR
    dimensions = points.shape[1]
    squares = points.square().sum(1)
    likelihood = -torch.inf
    with progress("fitting a mixture", EM_STEPS * len(points)) as advance:
        for _ in range(EM_STEPS):
            distances = (squares[:, None] - 2 * points @ means.T + means.square().sum(1)).clamp(min=0).double()
            log_densities = -dimensions / 2 * variances.double().log() - distances / (2 * variances.double())
            gained, likelihood = -likelihood, float(log_densities.logsumexp(1).mean())
            gained += likelihood
            shares = log_densities.softmax(1).to(points)
            weights = shares.sum(0).clamp(min=10 * torch.finfo(points.dtype).eps)
            means = shares.T @ points / weights[:, None]
            spread = (shares.T @ squares) / weights - means.square().sum(1)
            variances = spread.clamp(min=0) / dimensions + EM_VARIANCE_FLOOR
            advance(len(points))
            if gained < EM_TOLERANCE:
                break
    return means, variances


class CCUNetwork(Network):
    """A classifier with the two mixtures beside it; logits and features are the classifier's.

    Args:
        base_model: the classifier.
        image_shape: (C, H, W) of the images.
        components: of each mixture.

    Raises:
        OodbenchError: images are so large that their metric, a square matrix, would fill the memory.
    """

    def __init__(self, base_model: Network, image_shape: tuple[int, int, int], components: int) -> None:
        super().__init__()
        dimensions = int(np.prod(image_shape))
        if dimensions > MOST_DIMENSIONS:
            raise OodbenchError(
                f"ccu measures distances between pixels, and {image_shape[1]} x {image_shape[2]} images have "
                f"{dimensions:,} of them where {MOST_DIMENSIONS:,} are bearable: leave ccu out, or take smaller images"
            )
        self.base_model = base_model
        self.metric = Metric(dimensions)
        self.mm = Mixture(components, dimensions)
        self.mm_out = Mixture(components, dimensions)

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

    def log_likelihoods(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Log p(x | ID) and log p(x | outlier), each (N,), of images (N, C, H, W)."""
        whitened = self.metric.whiten(images.flatten(1))
        of_id, of_outliers = (mixture.log_densities(whitened, self.metric) for mixture in (self.mm, self.mm_out))
        return of_id.logsumexp(1), of_outliers.logsumexp(1)


def log_posterior(logits: Tensor, of_id: Tensor, of_outliers: Tensor) -> Tensor:
    """Log p(y | x), (N, K): the softmax where ID is likelier, uniform where outliers are; equation 2, lambda = 1.

    Args:
        logits: of the classifier (N, K).
        of_id: log p(x | ID), (N,).
        of_outliers: log p(x | outlier), (N,).
    """
    confident = logits.log_softmax(1) + of_id[:, None]
    uniform = (of_outliers - log(logits.shape[1]))[:, None].expand_as(confident)
    return torch.logaddexp(confident, uniform) - torch.logaddexp(of_id, of_outliers)[:, None]


@dataclass(frozen=True)
class CertifiedUncertainty(Objective):
    """Likelihood of ID images and their labels, of outliers and uniform labels, under classifier and mixtures.

    Attributes:
        components: of each mixture.
        mixture_learning_rate: of means and variances; their weight decay is 0.
    """

    outlier_batch: int = 50
    components: int = 100
    mixture_learning_rate: float = 1e-5

    def adapt(self, network: Network, image_shape: tuple[int, int, int]) -> Network:
        """The classifier with mixtures beside it."""
        return CCUNetwork(network, image_shape, self.components)

    def initialise(
        self,
        network: Network,
        id_images: IDImages,
        pool: OutlierPool | None,
        augmentations: Sequence[str],
        generator: Generator,
    ) -> None:
        """Metric and ID mixture from one augmented pass over ID images, the other from the first outliers."""
        assert isinstance(network, CCUNetwork) and pool is not None  # adapt and the plan see to it
        order = torch.randperm(len(id_images), generator=generator).to(id_images.labels.device)
        shuffled = id_images.images[order[:METRIC_IMAGES]]
        seen = as_input(augment.augment(shuffled, augmentations, generator)).flatten(1)
        network.metric.fit(seen)
        network.mm.fit(seen, network.metric, generator)
        outliers = pool.consecutive(0, min(OUT_IMAGES, len(pool.images)), generator)
        network.mm_out.fit(as_input(outliers.all()).flatten(1), network.metric, generator)

    def loss(self, network: Network, batch: Batch, generator: Generator) -> Tensor:
        """Half the loss on ID images plus half that on outliers; both share batch statistics."""
        assert isinstance(network, CCUNetwork)
        count = len(batch.images)
        images = torch.cat([batch.images, batch.outliers])
        of_id, of_outliers = network.log_likelihoods(images)
        posterior = log_posterior(network(images), of_id, of_outliers)
        likelihood = torch.logaddexp(of_id, of_outliers) - log(2)
        loss = nll_loss(posterior[:count], batch.labels) - likelihood[:count].mean()
        if len(batch.outliers):
            loss = loss - posterior[count:].mean() - likelihood[count:].mean()
        return loss / 2

    def parameter_groups(self, network: Network) -> list[dict[str, Any]]:
        """The classifier by the recipe, the mixtures far more slowly."""
        assert isinstance(network, CCUNetwork)
        mixtures = [*network.mm.parameters(), *network.mm_out.parameters()]
        slow = {"params": mixtures, "lr": self.mixture_learning_rate, "weight_decay": 0.0}
        return [{"params": list(network.base_model.parameters())}, slow]

    def after_step(self, network: Network) -> None:
        """Keep every outlier Gaussian at least four times as wide (in variance) as the widest ID one."""
        assert isinstance(network, CCUNetwork)
        with torch.no_grad():
            network.mm_out.logvar.clamp_(min=float(network.mm.logvar.max()) + log(4))


class CCU(Detector):
    r"""The largest probability of the whole posterior, mixtures included.

    $$s(x) = \log \frac{p - 1/K}{1 - p}, \qquad p = w \max_k m_k + \frac{1 - w}{K}, \quad w = \frac{p(x \mid
    \text{ID})}{p(x \mid \text{ID}) + p(x \mid \text{outlier})}$$
    """

    name = "ccu"
    paper = "Meinke and Hein 2020, arXiv:1909.12180"

    @dataclass(frozen=True)
    class Parameters:
        """Default of the code of Chen et al. 2021.

        Attributes:
            components: Gaussians in each mixture.
        """

        components: int = 100

        def __post_init__(self) -> None:
            if self.components < 1:
                raise ValueError(f"components is {self.components}: choose 1 or more Gaussians")

    parameters: Parameters

    def objective(self) -> CertifiedUncertainty:
        """Classifier and mixtures together."""
        return CertifiedUncertainty(components=self.parameters.components)

    def settle(self) -> None:
        """Make sure of the mixtures."""
        if not isinstance(self.network, CCUNetwork):
            raise OodbenchError(
                f"{self.name} needs the mixtures that are trained with its network and the checkpoint has none: "
                "take ccu-msp, or train without --checkpoint"
            )
        self._mixtures = self.network

    def score(self, images: Tensor) -> Tensor:
        """log((p - 1/K) / (1 - p)) of the posterior's largest p, (N,), float64.

        It orders images as p does, without the ties that p makes at 1 and at 1/K, where most outliers end up.
        """
        return self._score_logits(images, self.network(images))

    def score_shared(self, images: Tensor, representation: Representation) -> Tensor:
        """The logits are there; the mixtures look at the images."""
        return self._score_logits(images, representation.logits)

    def _score_logits(self, images: Tensor, logits: Tensor) -> Tensor:
        of_id, of_outliers = self._mixtures.log_likelihoods(images)
        return excess_log_odds(logits, (of_id - of_outliers).double())

    def own_passes(self) -> Passes:
        """The mixtures cost more than a pass of a small network and less than one of a large network."""
        return Passes(forward=1)

    def score_representation(self, representation: Representation) -> Tensor:
        """Not possible: the mixtures see pixels."""
        raise TypeError("ccu scores images, not representations: its mixtures see pixels")


def excess_log_odds(logits: Tensor, id_log_odds: Tensor) -> Tensor:
    """log((p - 1/K) / (1 - p)) of p = w m + (1 - w) / K, m the largest of softmax(logits): (N,), float64.

    Args:
        logits: (N, K).
        id_log_odds: log(w / (1 - w)), (N,).
    """
    odds = log_odds_of_largest(logits)
    classes = logits.shape[1]
    # m - 1/K = m (1 - 1/(K m)), and log m = logsigmoid(odds).
    excess = logsigmoid(odds) + torch.log1p(-torch.exp(-log(classes) - logsigmoid(odds)).clamp(max=1 - 1e-15))
    unsure = torch.logaddexp(
        logsigmoid(id_log_odds) + logsigmoid(-odds), logsigmoid(-id_log_odds) + log(1 - 1 / classes)
    )
    return excess + logsigmoid(id_log_odds) - unsure


class CCUMSP(MSP):
    r"""The largest softmax probability of CCU's classifier: what the published rows called CCU show.

    $$s(x) = \max_k m_k(x) \text{, as its log-odds: the classifier without its mixtures}$$
    """

    name = "ccu-msp"
    paper = "Meinke and Hein 2020, arXiv:1909.12180, as scored by Chen et al. 2021"
    Parameters = CCU.Parameters
    parameters: CCU.Parameters

    def objective(self) -> CertifiedUncertainty:
        """The same network as `ccu`."""
        return CertifiedUncertainty(components=self.parameters.components)
