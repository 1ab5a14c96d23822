"""Relation: how much of the training set an image is related to, by features and predictions. Kim et al. 2023."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from oodbench.basics.errors import OodbenchError
from oodbench.basics.gradient import PerImage
from oodbench.detector import Detector
from oodbench.networks.network import Network, Representation

from .drawing import Drawn, require_share

SLOPE = 0.0005
"""How far around the threshold its gradient is spread, in units of a relation."""


class Relation(Detector):
    r"""Sum over ID training images of the relation to each: cosine of the features times agreement of the predictions.

    The authors score outliers by one over that sum, which orders alike.

    $$s(x) = \sum_j r_j^{\,t}\, [r_j > \tau], \qquad r_j = \max\bigl(0, \cos(f, f_j)\bigr)\, \langle p, p_j \rangle
    \text{ over training images } j$$
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
            bank: share of the ID training images to compare with, above 0, at most 1. An image takes 4 (D + K) bytes:
                all of CIFAR-10 on DenseNet 70 MB, all of ImageNet on ResNet-50 16 GB, twice that while they are joined.
            seed: of the draw of that share.
        """

        power: float = 1.0
        threshold: float = 0.03
        bank: float = 1.0
        seed: int = 0

        def __post_init__(self) -> None:
            if not self.power >= 1 or not 0 <= self.threshold < 1:
                raise ValueError(
                    f"power is {self.power} and threshold {self.threshold}: choose a power from 1, and a threshold "
                    "from 0 to below 1"
                )
            require_share(self.bank)

    parameters: Parameters

    def attach(self, network: Network, classes: int) -> None:
        """Forget what was seen before."""
        super().attach(network, classes)
        self._drawn = Drawn(self.parameters.bank, self.parameters.seed)

    def observe(self, representation: Representation, labels: Tensor) -> None:
        """Keep features and predictions of the share that is drawn."""
        self._drawn.add(torch.cat(self._nodes(representation), 1))

    def settle(self) -> None:
        """All of them as two matrices."""
        rows = self._drawn.rows()
        del self._drawn  # the bank is all that is left to hold
        if not len(rows):
            raise OodbenchError(
                f"{self.name}: a share of {self.parameters.bank} keeps none of the ID training images: raise it with "
                f"--set {self.name}.bank=..., or give more images"
            )
        self._features, self._predictions = rows[:, : -self.classes], rows[:, -self.classes :]

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

    def published_objective(self, images: Tensor) -> Tensor:
        """The sum of all relations, to the power t, which neither jumps nor is flat; the paper attacks nothing."""
        return self._of_all(images)

    def surrogates(self) -> Mapping[str, PerImage]:
        """The same, for whoever climbs everything."""
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
