"""OpenMax: the probability of an unknown class, by how extreme images are for the known ones. Bendale & Boult 2016."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy.optimize import brentq
from scipy.special import expit
from torch import Tensor

from oodbench.basics.errors import OodbenchError
from oodbench.detector import Detector, Scores
from oodbench.networks.network import Network, Representation

LARGEST_EXPONENT = 50.0
"""Of the logarithm of (d / lambda)^kappa: the Weibull distribution is 1 long before, and its gradient stays finite."""


class OpenMax(Detector):
    r"""Log-odds of the known classes after the likeliest ones have given part of their logits to an unknown one.

    Each class has a Weibull distribution of how far its own training images lie from its mean logits; the further an
    image lies, the more of the class's logit goes over. Tails are fitted by maximum likelihood, in the two-parameter
    form over distances as they are. libmr, which the authors use and which builds no more, fits the same tails after
    moving them by a constant of its own; so does what pytorch-ood has in its place, and scores order nearly alike.

    $$s(x) = \log \frac{1 - P_0}{P_0}, \qquad P_0 = \operatorname{softmax}\bigl(\textstyle\sum_k z_k \omega_k,\; z_1
    (1 - \omega_1), \dots, z_K (1 - \omega_K)\bigr)_0, \quad \omega_k = \frac{\alpha - r_k}{\alpha}\, F_k\bigl(\lVert
    z - \mu_k \rVert_2\bigr)$$
    """

    name = "openmax"
    paper = "Bendale and Boult 2016 (CVPR), arXiv:1511.06233"

    @dataclass(frozen=True)
    class Parameters:
        """Defaults of OpenOOD v1.5; the authors take the same tail, and 10 of the 1,000 classes of ImageNet.

        Attributes:
            tail: largest distances of each class that its distribution is fitted to, 2 or more; the end of a
                distribution only where a class has many more images than that.
            alpha: classes that give part of their logits away, the likeliest ones; more than there are means all.
        """

        tail: int = 20
        alpha: int = 3

        def __post_init__(self) -> None:
            if self.tail < 2 or self.alpha < 1:
                raise ValueError(
                    f"tail is {self.tail} and alpha {self.alpha}: choose a tail of 2 or more, an alpha of 1 or more"
                )

    parameters: Parameters

    def attach(self, network: Network, classes: int) -> None:
        """Forget what was seen before."""
        super().attach(network, classes)
        self._seen: list[tuple[Tensor, Tensor]] = []

    def observe(self, representation: Representation, labels: Tensor) -> None:
        """Keep the logits of images that are recognised."""
        self._device = representation.logits.device
        right = self.predict(representation) == labels
        self._seen.append((representation.logits[right, : self.classes].double().cpu(), labels[right].cpu()))

    def settle(self) -> None:
        """Mean logits of each class, and the Weibull distribution of the largest distances to them (algorithm 1)."""
        logits, labels = (torch.cat(parts) for parts in zip(*self._seen, strict=True))
        self._seen = []
        self._require_tails(torch.bincount(labels, minlength=self.classes))
        means, fitted = [], []
        for label in range(self.classes):
            mine = logits[labels == label]
            means.append(mine.mean(0))
            distances = torch.linalg.vector_norm(mine - means[-1], dim=1)
            fitted.append(self._fit(label, distances.topk(self.parameters.tail).values.numpy()))
        self._means = torch.stack(means).to(self._device)
        self._shape, self._scale = torch.tensor(fitted, dtype=torch.float64, device=self._device).T

    def score_representation(self, representation: Representation) -> Tensor:
        """log((1 - P) / P) of the unknown class's probability P (algorithm 2)."""
        logits = representation.logits[:, : self.classes].double()
        given = logits * self._shares(logits)
        return (logits - given).logsumexp(1) - given.sum(1)

    @classmethod
    def as_published(cls, scores: Scores) -> Scores:
        """-P of the unknown class, in float32."""
        return -np.asarray(expit(-scores), np.float32).astype(np.float64)

    def _shares(self, logits: Tensor) -> Tensor:
        """Of each class's logit that goes to the unknown class, (N, K): less with each rank, none from `alpha` on."""
        distances = torch.cdist(logits, self._means, compute_mode="donot_use_mm_for_euclid_dist").clamp(min=1e-12)
        exponents = (self._shape * (distances / self._scale).log()).clamp(max=LARGEST_EXPONENT)
        extreme = -torch.expm1(-exponents.exp())
        alpha = min(self.parameters.alpha, self.classes)
        ranks = torch.arange(alpha, dtype=logits.dtype, device=logits.device)
        weights = ((alpha - ranks) / alpha).expand(len(logits), alpha)
        return extreme * torch.zeros_like(logits).scatter(1, logits.topk(alpha, dim=1).indices, weights)

    def _require_tails(self, counts: Tensor) -> None:
        """OodbenchError that names the classes with fewer recognised images than a tail takes."""
        short = torch.nonzero(counts < self.parameters.tail).flatten().tolist()
        if short:
            named = ", ".join(f"{label} ({int(counts[label])})" for label in short[:10])
            raise OodbenchError(
                f"{self.name}: {len(short)} of {self.classes} classes have fewer than {self.parameters.tail} ID "
                f"training images that the network recognises: class {named}{', ...' if len(short) > 10 else ''}; give "
                f"more images, or lower it with --set {self.name}.tail=..."
            )

    def _fit(self, label: int, tail: npt.NDArray[np.float64]) -> tuple[float, float]:
        try:
            return weibull(tail)
        except ValueError as error:
            raise OodbenchError(
                f"{self.name}: the {len(tail)} images of class {label} that lie furthest from its mean {error}: give "
                f"other images, or raise --set {self.name}.tail=..."
            ) from error


def weibull(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Shape kappa and scale lambda of the Weibull distribution under which positive `values` (M,) are likeliest.

    The likelihood's derivative has one root in kappa (Farnum and Booth 1997), which is bracketed and found.

    Raises:
        ValueError: all values are the same, or one is not positive, so that no distribution is likeliest; or one is not
            finite.
    """
    if not np.isfinite(values).all():
        raise ValueError("are at no finite distance from it")
    if values.min() <= 0 or np.ptp(values) <= 1e-9 * values.max():
        raise ValueError("are all equally far from it, or lie on it")
    logs = np.log(values / values.max())

    def slope(shape: float) -> float:
        """Falls to zero at the likeliest shape; the largest value counts 1, so nothing overflows."""
        weights = np.exp(shape * logs)
        return float(1 / shape + logs.mean() - (weights * logs).sum() / weights.sum())

    low, high = 1e-3, 1.0
    while slope(high) > 0:
        low, high = high, 2 * high
    shape = float(brentq(slope, low, high, rtol=1e-12))
    return shape, float(values.max() * np.exp(shape * logs).mean() ** (1 / shape))
