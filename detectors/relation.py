"""Relation: how much of the training set an image is related to, by features and predictions. Kim et al. 2023."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from oodbench.basics.errors import OodbenchError
from oodbench.basics.gradient import PerImage
from oodbench.detector import Detector
from oodbench.networks.network import Network, Representation

SLOPE = 0.0005
"""How far around the threshold its gradient is spread, in units of a relation."""


class Relation(Detector):
    """Sum over ID training images of the relation to each: cosine of the features times agreement of the predictions.

    The authors score outliers by one over that sum, which orders alike.
    """

    name = "relation"
    paper = "Kim, Yun and Song 2023, arXiv:2301.12321"
    reads_labels = False

    @dataclass(frozen=True)
    class Parameters:
        """Defaults of the authors' code for OOD detection.

        Attributes:
            power: t, to which relations are raised, from 1; the authors hold 1 to be best for OOD detection.
            threshold: relations up to which count for nothing, from 0, below 1.
            bank: share of the training images that are kept to compare with, drawn by a fixed seed; above 0, at
                most 1. An image takes 4 (D + K) bytes: all of CIFAR-10 on DenseNet 70 MB, all of ImageNet on ResNet-50
                16 GB.
        """

        power: float = 1.0
        threshold: float = 0.03
        bank: float = 1.0

        def __post_init__(self) -> None:
            if self.power < 1 or not 0 <= self.threshold < 1 or not 0 < self.bank <= 1:
                raise ValueError(
                    f"power is {self.power}, threshold {self.threshold} and bank {self.bank}: choose a power from 1, a "
                    "threshold from 0 to below 1, and a bank above 0 and at most 1"
                )

    parameters: Parameters

    def attach(self, network: Network, classes: int) -> None:
        """Forget what was seen before."""
        super().attach(network, classes)
        self._draws = np.random.default_rng(0)
        self._seen: list[tuple[Tensor, Tensor]] = []

    def observe(self, representation: Representation, labels: Tensor) -> None:
        """Keep features and predictions of those images that are drawn."""
        features, predictions = self._nodes(representation)
        drawn = self._draws.random(len(features)) < self.parameters.bank
        rows = torch.from_numpy(np.flatnonzero(drawn)).to(features.device)
        self._seen.append((features[rows], predictions[rows]))

    def settle(self) -> None:
        """All of them as two matrices."""
        self._features, self._predictions = (torch.cat(parts) for parts in zip(*self._seen, strict=True))
        self._seen = []
        if not len(self._features):
            raise OodbenchError(
                f"{self.name}: a share of {self.parameters.bank} keeps none of the ID training images: raise it with "
                f"--set {self.name}.bank=..., or give more images"
            )

    def score_representation(self, representation: Representation) -> Tensor:
        """sum_j r_j^t of the relations r_j above the threshold, r_j = max(0, cos(f, f_j)) <p, p_j>.

        The sum jumps wherever a relation crosses the threshold, and the many small jumps of a large bank are part of
        its slope. So the gradient is that of the sum behind a threshold which lets through by degrees.
        """
        relations, threshold = self._relations(representation), self.parameters.threshold
        powers = relations**self.parameters.power
        exact = torch.where(relations > threshold, powers, 0).sum(1, dtype=torch.float64)
        if threshold == 0 or not powers.requires_grad:
            return exact
        sloping = (powers * ((relations - threshold) / SLOPE).sigmoid()).sum(1, dtype=torch.float64)
        return exact.detach() + (sloping - sloping.detach())

    def surrogates(self) -> Mapping[str, PerImage]:
        """The sum of all relations: where none is above the threshold, the score is flat."""
        return {"all relations": self._of_all}

    def _of_all(self, images: Tensor) -> Tensor:
        relations = self._relations(self.network.represent(images))
        return (relations**self.parameters.power).sum(1, dtype=torch.float64)

    def _nodes(self, representation: Representation) -> tuple[Tensor, Tensor]:
        """Features (N, D) of length 1 and softmax (N, K), float32."""
        predictions = representation.logits[:, : self.classes].float().softmax(1)
        return normalize(representation.features.float()), predictions

    def _relations(self, representation: Representation) -> Tensor:
        """To every training image that is kept, (N, M)."""
        features, predictions = self._nodes(representation)
        return (features @ self._features.T).clamp(min=0) * (predictions @ self._predictions.T)
