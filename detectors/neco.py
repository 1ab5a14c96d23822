"""NECO: the part of the features that lies in the principal space of ID features. Ben Ammar et al. 2024."""

from dataclasses import dataclass

import torch
from torch import Tensor

from oodbench.basics.errors import OodbenchError
from oodbench.detector import Detector
from oodbench.networks.network import Network, Representation

CONSTANT = 1e-12
"""A feature whose variance is a smaller share of its mean square did not vary, up to rounding."""


class NECO(Detector):
    r"""Share of the standardised features' length that lies in their principal space, times the largest logit.

    The largest logit weighs as in the paper; where it is negative, the product turns round, and `weight` = "none"
    leaves it out.

    $$s(x) = \frac{\lVert P g \rVert_2}{\lVert g \rVert_2}\, \max_k z_k, \qquad g = (f - \bar f) / \sigma, \quad P
    \text{ onto the principal space of } g$$
    """

    name = "neco"
    paper = "Ben Ammar et al. 2024 (ICLR), arXiv:2310.06823"
    reads_labels = False

    @dataclass(frozen=True)
    class Parameters:
        """The authors choose the principal space by hand for each network; its share of variance is maha-norm's.

        maha-norm is the code of Mueller and Hein 2025, arXiv:2505.18032, which scores dozens of networks with NECO.

        Attributes:
            dimensions: of the principal space; none given means as many as `variance` takes.
            variance: share of the standardised features' variance that it explains; above 0, below 1.
            weight: "maxlogit", or "none" as the authors' code has it for ResNet. For DeiT and Swin that code divides by
                the length of the features before they are standardised, which is not done here.
        """

        dimensions: int | None = None
        variance: float = 0.9
        weight: str = "maxlogit"

        def __post_init__(self) -> None:
            if self.dimensions is not None and self.dimensions < 1:
                raise ValueError(f"dimensions is {self.dimensions}: choose 1 or more")
            if not 0 < self.variance < 1:
                raise ValueError(f"variance is {self.variance}: choose a number between 0 and 1")
            if self.weight not in ("maxlogit", "none"):
                raise ValueError(f"weight is {self.weight!r}: choose 'maxlogit' or 'none'")

    parameters: Parameters

    def attach(self, network: Network, classes: int) -> None:
        """Forget what was seen before."""
        super().attach(network, classes)
        self._count = 0
        self._sums: tuple[Tensor, Tensor] | None = None

    def observe(self, representation: Representation, labels: Tensor) -> None:
        """Running sums of the features and their products."""
        features = representation.features.double()
        sums = features.sum(0), features.T @ features
        self._sums = sums if self._sums is None else (self._sums[0] + sums[0], self._sums[1] + sums[1])
        self._count += len(features)

    def settle(self) -> None:
        """Mean, deviation and principal space; a feature that never varied is left unscaled, as scikit-learn does."""
        assert self._sums is not None
        self._mean = self._sums[0] / self._count
        covariance = self._sums[1] / self._count - self._mean[:, None] * self._mean
        variance = covariance.diagonal()
        live = variance > CONSTANT * (self._sums[1].diagonal() / self._count)
        if not live.any():
            raise OodbenchError(f"{self.name}: no feature varies over the {self._count} ID training images; give more")
        self._deviation = torch.where(live, variance, 1).sqrt()
        correlation = torch.where(live[:, None] & live, covariance, 0) / self._deviation[:, None] / self._deviation
        values, vectors = torch.linalg.eigh(correlation)
        explained = values.flip(0).clamp(min=0).cumsum(0)
        dimensions = self.parameters.dimensions or 1 + int((explained < self.parameters.variance * explained[-1]).sum())
        if dimensions >= int(live.sum()):
            raise OodbenchError(
                f"{self.name}: the principal space has {dimensions} dimensions and {int(live.sum())} features vary: "
                f"nothing lies outside; lower it with --set {self.name}.dimensions=..."
            )
        self._principal = vectors[:, -dimensions:]

    def score_representation(self, representation: Representation) -> Tensor:
        """||P f|| / ||f|| of standardised features f, times max_k z_k."""
        features = (representation.features.double() - self._mean) / self._deviation
        length = torch.linalg.vector_norm(features, dim=1).clamp(min=1e-12)
        share: Tensor = torch.linalg.vector_norm(features @ self._principal, dim=1) / length
        if self.parameters.weight == "none":
            return share
        return share * representation.logits[:, : self.classes].double().amax(1)
