"""DICE: energy of the logits that the most contributing weights alone make. Sun and Li 2022, arXiv:2111.09805."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import linear

from oodbench.detector import Detector
from oodbench.networks.network import Network, Representation

from .energy import energy
from .negativity import Negativity


class DICE(Detector):
    r"""Energy of the logits after the weights that contribute least on ID images are taken out of the last layer.

    Made for features that are not negative: where much of them is, a mean says little about contributions (OpenOOD
    v1.5 reports an AUROC below 50 on Swin), and the method is refused.

    $$s(x) = \log \sum_k \exp \bigl((M \odot W) f + b\bigr)_k, \qquad M_{ki} = 1 \text{ where } W_{ki}\, \bar f_i
    \text{ exceeds its percentile, else } 0$$
    """

    name = "dice"
    paper = "Sun and Li 2022, arXiv:2111.09805"
    reads_labels = False

    @dataclass(frozen=True)
    class Parameters:
        """Default of the authors' code for CIFAR.

        Attributes:
            percentile: of all contributions, up to which weights are taken out; from 0, below 100.
        """

        percentile: float = 90.0

        def __post_init__(self) -> None:
            if not 0 <= self.percentile < 100:
                raise ValueError(f"percentile is {self.percentile}: choose from 0 to below 100")

    parameters: Parameters

    def attach(self, network: Network, classes: int) -> None:
        """Forget what was seen before."""
        super().attach(network, classes)
        self._negativity, self._count = Negativity(), 0
        self._sum: Tensor | None = None

    def observe(self, representation: Representation, labels: Tensor) -> None:
        """Running sum of the features."""
        self._negativity.add(representation.features)
        total = representation.features.sum(0, dtype=torch.float64)
        self._sum = total if self._sum is None else self._sum + total
        self._count += len(representation.features)

    def settle(self) -> None:
        """The last layer's weights without those of small contribution, mean feature times weight."""
        assert self._sum is not None
        self._negativity.require_activations(self.name, self.network)
        head = self.network.head
        weight = head.weight[: self.classes].detach().double()
        contributions = self._sum / self._count * weight
        threshold = np.percentile(contributions.cpu().numpy(), self.parameters.percentile)
        self._weight = torch.where(contributions > threshold, weight, 0)
        self._bias = None if head.bias is None else head.bias[: self.classes].detach().double()

    def score_representation(self, representation: Representation) -> Tensor:
        """logsumexp((M * W) f + b) with M the weights that stay."""
        return energy(linear(representation.features.double(), self._weight, self._bias))
