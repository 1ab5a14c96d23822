"""Mahalanobis: distances to class Gaussians in several layers, weighed by a logistic regression. Lee et al. 2018.

Constants and tuning are those of the reference code of Chen et al. 2021 (arXiv:2006.15207).
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from scipy.special import expit
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegressionCV
from torch import Tensor
from torch.nn.functional import cross_entropy

from oodbench.basics.errors import OodbenchError
from oodbench.basics.gradient import PerImage, gradient_through, value_and_gradient
from oodbench.basics.passes import Passes
from oodbench.basics.progress import progress
from oodbench.detector import Detector, Scores, Tuning, TuningImages
from oodbench.metrics import evaluate
from oodbench.networks.network import Representation, as_input, batch_size

from .odin import step_direction

MAGNITUDES = (0.0, 0.01, 0.005, 0.002, 0.0014, 0.001, 0.0005)
"""What is tried, in this order; the first of the best wins."""

NOISE = 0.05
"""Step of the perturbed ID images that stand in for OOD images, in units of [0, 1] pixel space."""


class Gaussians:
    """Class means and one covariance for all classes, from running sums in float64.

    Args:
        classes: K.
        dimensions: D, of the feature vectors.
        device: of the feature vectors.
    """

    def __init__(self, classes: int, dimensions: int, device: torch.device) -> None:
        self.counts = torch.zeros(classes, dtype=torch.float64, device=device)
        self.sums = torch.zeros(classes, dimensions, dtype=torch.float64, device=device)
        self.products = torch.zeros(dimensions, dimensions, dtype=torch.float64, device=device)

    def add(self, vectors: Tensor, labels: Tensor) -> None:
        """Take in feature vectors (B, D) and their labels (B,)."""
        vectors = vectors.double()
        self.counts += torch.bincount(labels, minlength=len(self.counts))
        self.sums.index_add_(0, labels, vectors)
        self.products += vectors.T @ vectors

    @property
    def means(self) -> Tensor:
        """Class means (K, D)."""
        return self.sums / self.counts[:, None]

    @property
    def mean(self) -> Tensor:
        """Mean of all vectors (1, D)."""
        return self.sums.sum(0, keepdim=True) / self.counts.sum()

    @property
    def freedom(self) -> int:
        """Independent vectors behind `within`."""
        return int(self.counts.sum()) - len(self.counts)

    def within(self) -> Tensor:
        """Maximum-likelihood covariance of the vectors around their class means (D, D)."""
        return (self.products - (self.counts[:, None] * self.means).T @ self.means) / self.counts.sum()

    def total(self) -> Tensor:
        """Maximum-likelihood covariance of the vectors around their common mean (D, D)."""
        return self.products / self.counts.sum() - self.mean.T @ self.mean

    def require_every_class(self, name: str) -> None:
        """OodbenchError that names the classes of which nothing was seen."""
        if (self.counts == 0).any():
            empty = torch.nonzero(self.counts == 0).flatten().tolist()
            raise OodbenchError(
                f"{name}: no ID training image is of class {', '.join(map(str, empty))}: give more images"
            )


def whitening(covariance: Tensor, freedom: int, what: str) -> Tensor:
    """W (D, D) with W W^T the pseudo-inverse of `covariance`, so that distances are Euclidean behind it.

    Directions that never varied (dead channels, channels that copy others) count for nothing.

    Args:
        covariance: (D, D).
        freedom: independent vectors it was estimated from.
        what: it is of, for messages.

    Raises:
        OodbenchError: it is singular because there were fewer vectors than dimensions that vary, or none varies.
    """
    deviation = covariance.diagonal().clamp(min=0).sqrt()
    live = deviation > 0
    scale = deviation[live]
    values, vectors = torch.linalg.eigh(covariance[live][:, live] / scale[:, None] / scale)
    if not len(values):
        raise OodbenchError(f"{what}: no feature varies over the ID training images; leave these features out")
    if freedom < len(values):
        raise OodbenchError(
            f"{what}: the covariance of {len(values)} features is singular, estimated from {max(freedom, 0)} degrees "
            "of freedom (ID training images less classes): give more images, or leave these features out"
        )
    known = values > len(values) * torch.finfo(values.dtype).eps
    whitener = torch.zeros_like(covariance)
    rows, columns = live.nonzero(), live.nonzero()[known].T
    whitener[rows, columns] = vectors[:, known] / values[known].sqrt() / scale[:, None]
    return whitener


def squared_distances(vectors: Tensor, means: Tensor, whitener: Tensor) -> Tensor:
    """Mahalanobis distances, squared, of vectors (N, D) to means (K, D): (N, K), float64."""
    whitened, centres = (vectors.double() - means[0]) @ whitener, (means - means[0]) @ whitener
    cross = whitened @ centres.T
    return (whitened.square().sum(1, keepdim=True) - 2 * cross + centres.square().sum(1)).clamp(min=0)


def pooled(tap: Tensor) -> Tensor:
    """A feature map (N, C, H, W) averaged over space: (N, C)."""
    return tap.flatten(2).mean(2)


class Mahalanobis(Detector):
    r"""Class-conditional Gaussians over the network's taps, combined by a logistic regression.

    Each tap sees images after a step towards its nearest class. The score is differentiable through the steps as ODIN's
    is: their direction is piecewise constant.

    pytorch-ood 0.4.0 scores one layer, by half the squared distance itself and with a covariance that is a sum over
    images; no regression follows.

    $$s(x) = -\operatorname{logit} P_{\text{OOD}}, \qquad \operatorname{logit} P_{\text{OOD}} = \beta_0 + \sum_l
    \beta_l M_l(x), \qquad M_l(x) = -\tfrac12 \min_c\, (f_l - \mu_{l,c})^\top \Sigma_l^{-1} (f_l - \mu_{l,c})$$
    """

    name = "mahalanobis"
    paper = "Lee et al. 2018, arXiv:1807.03888"

    @dataclass(frozen=True)
    class Parameters:
        """Defaults of the reference code of Chen et al. 2021.

        Attributes:
            magnitude: of the step, in units of [0, 1] pixel space; tuned where none is given.
            taps: of the network, counted from 0; none named means all.
            tuning: "heldout", or "id-test" as the reference did, which leaks test images.
            negatives: what stands in for OOD images in tuning: "perturbed" ID images (the reference), or "outliers".
        """

        magnitude: float | None = None
        taps: tuple[int, ...] = ()
        tuning: str = "heldout"
        negatives: str = "perturbed"

        def __post_init__(self) -> None:
            Tuning(self.tuning)
            if self.negatives not in ("perturbed", "outliers"):
                raise ValueError(f"negatives is {self.negatives!r}: choose 'perturbed' or 'outliers'")
            if self.magnitude is not None and self.magnitude < 0:
                raise ValueError(f"magnitude is {self.magnitude}: choose 0 or more")

    parameters: Parameters

    def tuning(self) -> Tuning:
        """Held-out ID images, for the regression in any case."""
        # As if every tap took a whole pass, for four taps: an upper bound.
        passes = Passes(1 + 4 * len(MAGNITUDES), 4)
        return Tuning(self.parameters.tuning, outliers=self.parameters.negatives == "outliers", passes=passes)

    def own_passes(self) -> Passes:
        """A step for each of four taps, as if every tap took a whole pass."""
        return Passes(4, 4)

    def attach(self, network: Any, classes: int) -> None:
        """Forget what was seen before."""
        super().attach(network, classes)
        self._seen: dict[int, Gaussians] = {}

    def observe(self, representation: Representation, labels: Tensor) -> None:
        """Running sums for every tap."""
        for tap in self._chosen(len(representation.taps)):
            vectors = pooled(representation.taps[tap])
            if tap not in self._seen:
                self._seen[tap] = Gaussians(self.classes, vectors.shape[1], vectors.device)
            self._seen[tap].add(vectors, labels)

    def settle(self) -> None:
        """Means and whitening of every tap."""
        self._layers = {}
        for tap, gaussians in self._seen.items():
            gaussians.require_every_class(self.name)
            whitener = whitening(gaussians.within(), gaussians.freedom, f"{self.name}, tap {tap}")
            self._layers[tap] = (gaussians.means, whitener)

    def tune(self, images: TuningImages) -> Mapping[str, Any]:
        """Fit the regression on one half, for each magnitude; keep the one with the lowest FPR@95 on the other."""
        if len(images.id) < 20:
            raise OodbenchError(f"{self.name}: {len(images.id)} ID images to tune on; 20 are the least, 1000 are usual")
        magnitudes = MAGNITUDES if self.parameters.magnitude is None else (self.parameters.magnitude,)
        positives = self._tuning_scores(self._batches(images.id), magnitudes)
        negatives = self._tuning_scores(self._negatives(images), magnitudes)
        trials = [_trial(of_id, of_ood) for of_id, of_ood in zip(positives, negatives, strict=True)]
        best = min(range(len(trials)), key=lambda number: trials[number].fpr95)  # the first of equals
        chosen, self._magnitude = trials[best], magnitudes[best]
        self._weights, self._bias = torch.from_numpy(chosen.weights).to(images.labels.device), chosen.bias
        return {
            "negatives": self.parameters.negatives,
            "magnitude": self._magnitude,
            "weights": self._weights.tolist(),
            "bias": self._bias,
            "fpr95": chosen.fpr95,
            "tried": {str(magnitude): trial.fpr95 for magnitude, trial in zip(magnitudes, trials, strict=True)},
        }

    def score(self, images: Tensor) -> Tensor:
        """Minus the regression's log-odds of OOD, (N,)."""
        self._when_fitted()
        return -self._log_odds(torch.stack(self._layer_scores(images, self._magnitude), 1))

    def score_shared(self, images: Tensor, representation: Representation) -> Tensor:
        """The steps' directions are the shared pass's gradients; a stepped image takes a pass more, up to its tap."""
        if not self.needs_graph():
            return self.score_representation(representation)
        directions = self._directions(images, representation.taps)
        return -self._log_odds(torch.stack(self._layer_scores(images, self._magnitude, directions), 1))

    def needs_graph(self) -> bool:
        """Where it steps; tuning often decides against it."""
        self._when_fitted()
        return self._magnitude > 0

    def score_representation(self, representation: Representation) -> Tensor:
        """Possible without steps only, which need passes of their own."""
        if self.needs_graph():
            raise TypeError(f"{self.name} scores images, not representations: it steps first")
        return -self._log_odds(torch.stack(self._confidences(representation.taps), 1))

    def targets(self, images: Tensor) -> Tensor:
        """Minus the log-odds of OOD with every tap's distance to one class, without the steps, (N, K)."""
        found = self._taps(images)
        distances = [squared_distances(pooled(found[tap]), *self._layers[tap]) for tap in self._layers]
        return -(torch.stack([-0.5 * each for each in distances], 2) @ self._weights + self._bias)

    def surrogates(self) -> Mapping[str, PerImage]:
        """The same score without the steps, which bend the gradient."""
        return {"without steps": lambda images: -self._log_odds(torch.stack(self._layer_scores(images, 0.0), 1))}

    def published_objective(self, images: Tensor) -> Tensor:
        """log(1 + exp(1 - 2 P)) of the regression's P(OOD) without the steps, in the network's precision.

        The attack of Chen et al. 2021, who give P and 1 - P to a cross-entropy as if they were logits, P written out as
        here. In float32 it is flat where P rounds to 1 (log-odds from 17 on), its gradient is zero from 104 on, and
        not a number below -88.
        """
        scores = torch.stack(self._layer_scores(images, 0.0), 1)
        log_odds = self._log_odds(scores).to(images.dtype)
        probability = 1 / (1 + torch.exp(-log_odds))
        return torch.log1p(torch.exp(1 - 2 * probability))

    @classmethod
    def as_published(cls, scores: Scores) -> Scores:
        """-P(OOD) in float32."""
        return -np.asarray(expit(-scores), np.float32).astype(np.float64)

    def _chosen(self, found: int) -> tuple[int, ...]:
        """Which of the network's taps count."""
        wanted = self.parameters.taps or tuple(range(found))
        for tap in wanted or (0,):
            if not 0 <= tap < found:
                raise OodbenchError(
                    f"{self.name} wants tap {tap} and {type(self.network).__name__} has {found}: "
                    f"--set {self.name}.taps=[...] counts from 0"
                )
        return wanted

    def _taps(self, images: Tensor) -> list[Tensor]:
        """The network's feature maps, up to the deepest that counts."""
        return list(islice(self.network.taps(images), max(self._layers) + 1))

    def _confidences(self, taps: Sequence[Tensor]) -> list[Tensor]:
        """Per tap that counts, minus half the squared distance to the nearest class (N,)."""
        return [self._confidence(taps[tap], tap) for tap in self._layers]

    def _confidence(self, feature_map: Tensor, tap: int) -> Tensor:
        return -0.5 * squared_distances(pooled(feature_map), *self._layers[tap]).amin(1)

    def _directions(self, images: Tensor, taps: Sequence[Tensor]) -> list[Tensor]:
        """Per tap that counts, where the distance to the nearest class grows: +-1, the shape of `images`.

        `taps` are computed from `images`, with the graph between them.
        """
        with torch.enable_grad():
            return [step_direction(-gradient_through(each, images)) for each in self._confidences(taps)]

    def _directions_at(self, images: Tensor) -> list[Tensor]:
        """The same, by a pass of its own."""
        images = images.detach().requires_grad_()
        with torch.enable_grad():
            taps = self._taps(images)
        return self._directions(images, taps)

    def _layer_scores(self, images: Tensor, magnitude: float, directions: Sequence[Tensor] = ()) -> list[Tensor]:
        """Per tap, the confidence (N,) at images stepped for that tap."""
        if magnitude == 0:
            return self._confidences(self._taps(images))
        scores = []
        for tap, direction in zip(self._layers, directions or self._directions_at(images), strict=True):
            feature_map = next(islice(self.network.taps(images - magnitude * direction), tap, None))
            scores.append(self._confidence(feature_map, tap))
        return scores

    def _log_odds(self, layer_scores: Tensor) -> Tensor:
        return layer_scores @ self._weights + self._bias

    def _batches(self, pixels: Tensor) -> list[Tensor]:
        return [as_input(part) for part in torch.split(pixels, batch_size(pixels.device, pixels.shape[-1]))]

    def _negatives(self, images: TuningImages) -> list[Tensor]:
        """What stands in for OOD images, in batches."""
        if self.parameters.negatives == "outliers":
            return self._batches(images.outliers)
        batches = self._batches(images.id)
        labels = torch.split(images.labels, [len(batch) for batch in batches])
        return [self._perturbed(*part) for part in zip(batches, labels, strict=True)]

    def _perturbed(self, images: Tensor, labels: Tensor) -> Tensor:
        """ID images a step up the loss of their own label, clipped to [0, 1]: stand-ins for OOD images."""
        _, gradient = value_and_gradient(
            lambda some: cross_entropy(self.network(some)[:, : self.classes], labels, reduction="none"), images
        )
        return (images + NOISE * step_direction(gradient)).clamp(0, 1)

    def _tuning_scores(self, parts: Sequence[Tensor], magnitudes: Sequence[float]) -> list[npt.NDArray[np.float64]]:
        """For every magnitude, scores (N, taps); the directions are the same for all."""
        rows: list[list[Tensor]] = [[] for _ in magnitudes]
        with progress(f"tuning {self.name}", sum(map(len, parts))) as advance:
            for images in parts:
                directions = self._directions_at(images)
                with torch.no_grad():
                    for row, magnitude in zip(rows, magnitudes, strict=True):
                        row.append(torch.stack(self._layer_scores(images, magnitude, directions), 1).cpu())
                advance(len(images))
        return [torch.cat(row).numpy() for row in rows]


class _Trial(NamedTuple):
    """Weights and bias of the log-odds of OOD, and what they gave on images they were not fitted to."""

    weights: npt.NDArray[np.float64]
    bias: float
    fpr95: float


def _trial(id_scores: npt.NDArray[np.float64], ood_scores: npt.NDArray[np.float64]) -> _Trial:
    """Fit P(OOD) to the first halves of tap scores (N, taps), try it on the second halves.

    By scikit-learn's cross-validated regression with its defaults, scores unscaled.
    """
    id_half, ood_half = len(id_scores) // 2, len(ood_scores) // 2
    labels = np.repeat([0, 1], [id_half, ood_half])
    with warnings.catch_warnings():
        # Raw distances make lbfgs stop at its limit of steps; the reference takes what it has got by then.
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", FutureWarning)
        fitted = LogisticRegressionCV().fit(np.r_[id_scores[:id_half], ood_scores[:ood_half]], labels)
    weights, bias = np.asarray(fitted.coef_[0], np.float64), float(fitted.intercept_[0])
    kept, passed = (-(scores @ weights + bias) for scores in (id_scores[id_half:], ood_scores[ood_half:]))
    return _Trial(weights, bias, float(evaluate(kept, passed, "published")["fpr95"]))
