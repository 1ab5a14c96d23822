"""VRA: energy of features of which small ones are dropped and large ones cut off. Xu et al. 2023, arXiv:2302.11716."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import linear

from oodbench.basics.gradient import PerImage
from oodbench.detector import Detector
from oodbench.networks.network import Network, Representation

from .energy import energy
from .negativity import Negativity


class VRA(Detector):
    r"""Energy of the logits after each feature is set to zero below one of its percentiles and cut off above another.

    The paper's VRA, as its authors' code has it. OpenOOD v1.5 raises what lies below the low percentile to that
    percentile instead, and pytorch-ood does the same.

    $$s(x) = \log \sum_k \exp \bigl(W f' + b\bigr)_k, \qquad f'_i = 0 \text{ where } f_i < a_i \text{, else }
    \min(f_i, c_i)$$
    """

    name = "vra"
    paper = "Xu et al. 2023, arXiv:2302.11716"
    reads_labels = False

    @dataclass(frozen=True)
    class Parameters:
        """Defaults of the authors' code for CIFAR-10.

        Attributes:
            low: percentile of a feature's training values, below which it is dropped; from 0, below `high`.
            high: percentile above which it is cut off; at most 100.
        """

        low: float = 60.0
        high: float = 90.0

        def __post_init__(self) -> None:
            if not 0 <= self.low < self.high <= 100:
                raise ValueError(f"low is {self.low} and high {self.high}: choose 0 <= low < high <= 100")

    parameters: Parameters

    def attach(self, network: Network, classes: int) -> None:
        """Forget what was seen before."""
        super().attach(network, classes)
        self._negativity = Negativity()
        self._seen: list[Tensor] = []

    def observe(self, representation: Representation, labels: Tensor) -> None:
        """Keep the features."""
        self._negativity.add(representation.features)
        self._seen.append(representation.features.float().cpu())

    def settle(self) -> None:
        """Two thresholds for each feature."""
        self._negativity.require_activations(self.name, self.network)
        limits = np.percentile(torch.cat(self._seen).numpy(), [self.parameters.low, self.parameters.high], axis=0)
        head = self.network.head
        self._low, self._high = torch.from_numpy(limits).to(head.weight.device, torch.float64)
        self._seen = []

    def score_representation(self, representation: Representation) -> Tensor:
        """Energy of the last layer over the features as they are rectified."""
        features = representation.features.double()
        return self._energy(torch.minimum(torch.where(features < self._low, 0, features), self._high))

    def surrogates(self) -> Mapping[str, PerImage]:
        """Energy of the features as they are: it still has a gradient where all of them are dropped or cut off."""
        return {"not rectified": lambda images: self._energy(self.network.represent(images).features.double())}

    def _energy(self, features: Tensor) -> Tensor:
        head = self.network.head
        bias = None if head.bias is None else head.bias.double()
        return energy(linear(features, head.weight.double(), bias)[:, : self.classes])
