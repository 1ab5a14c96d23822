"""NCI: how near the features lie to the weights of the predicted class, and how large they are. Liu and Qin 2025."""

from dataclasses import dataclass

import torch
from torch import Tensor

from oodbench.detector import Detector
from oodbench.networks.network import Network, Representation


class NCI(Detector):
    r"""Projection of the predicted class's weights onto the centred features' direction, plus a share of their L1 norm.

    Under neural collapse the features of ID images, seen from their common mean, point along their class's weights,
    and those of OOD images lie near the origin.

    $$s(x) = \frac{\langle w_{\hat y},\, f - \bar f \rangle}{\lVert f - \bar f \rVert_2} + \alpha \lVert f \rVert_1$$
    """

    name = "nci"
    paper = "Liu and Qin 2025 (CVPR), arXiv:2311.01479"
    reads_labels = False

    @dataclass(frozen=True)
    class Parameters:
        """Default of OpenOOD v1.5, whose entry is the authors'; they choose it on OOD images, from 1e-4 to 0.1.

        Attributes:
            alpha: weight of the L1 norm, from 0.
        """

        alpha: float = 1e-4

        def __post_init__(self) -> None:
            if self.alpha < 0:
                raise ValueError(f"alpha is {self.alpha}: choose a number from 0")

    parameters: Parameters

    def attach(self, network: Network, classes: int) -> None:
        """Forget what was seen before."""
        super().attach(network, classes)
        self._sum: Tensor | None = None
        self._count = 0

    def observe(self, representation: Representation, labels: Tensor) -> None:
        """Running sum of the features."""
        total = representation.features.sum(0, dtype=torch.float64)
        self._sum = total if self._sum is None else self._sum + total
        self._count += len(representation.features)

    def settle(self) -> None:
        """The mean mu of the features, and the last layer's weights."""
        assert self._sum is not None
        self._mean = self._sum / self._count
        self._weight = self.network.head.weight[: self.classes].detach().double()

    def score_representation(self, representation: Representation) -> Tensor:
        """<w_c, f - mu> / ||f - mu||_2 + alpha ||f||_1, c the predicted class."""
        features = representation.features.double()
        centred = features - self._mean
        towards = (self._weight[self.predict(representation)] * centred).sum(1)
        length = torch.linalg.vector_norm(centred, dim=1).clamp(min=1e-12)
        score: Tensor = towards / length + self.parameters.alpha * features.abs().sum(1)
        return score
