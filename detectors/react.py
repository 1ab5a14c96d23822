"""ReAct: energy of rectified features. Sun, Guo and Li 2021, arXiv:2111.12797."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from oodbench.detector import Detector
from oodbench.networks.network import Network, Representation

from .energy import energy
from .negativity import Negativity


class ReAct(Detector):
    r"""Energy of the logits after features are cut off above a percentile of the training set's.

    Made for features that are not negative: where large ones lie on both sides of zero, one side alone is cut off, and
    the method is refused.

    $$s(x) = \log \sum_k \exp \bigl(W \min(f, c) + b\bigr)_k, \qquad c \text{ a percentile of all training features}$$
    """

    name = "react"
    paper = "Sun, Guo and Li 2021, arXiv:2111.12797"
    reads_labels = False

    @dataclass(frozen=True)
    class Parameters:
        """Default of the paper.

        Attributes:
            percentile: of all training activations, above which features are cut off; above 0, at most 100.
        """

        percentile: float = 90.0

        def __post_init__(self) -> None:
            if not 0 < self.percentile <= 100:
                raise ValueError(f"percentile is {self.percentile}: choose above 0 and at most 100")

    parameters: Parameters

    def attach(self, network: Network, classes: int) -> None:
        """Forget what was seen before."""
        super().attach(network, classes)
        self._seen: list[Tensor] = []
        self._negativity = Negativity()

    def observe(self, representation: Representation, labels: Tensor) -> None:
        """Keep the activations."""
        self._negativity.add(representation.features)
        self._seen.append(representation.features.flatten().float().cpu())

    def settle(self) -> None:
        """The threshold c."""
        self._negativity.require_activations(self.name, self.network)
        self._threshold = float(np.percentile(torch.cat(self._seen).numpy(), self.parameters.percentile))
        self._seen = []

    def score_representation(self, representation: Representation) -> Tensor:
        """Energy of the last layer over min(f, c) (equations 1 and 3), also where features come in fewer bits."""
        head = self.network.head
        features = representation.features.clamp(max=self._threshold).to(head.weight.dtype)
        return energy(head(features)[:, : self.classes])
