"""OE, Outlier Exposure: MSP of a network trained to be undecided on outliers. Hendrycks et al. 2019."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn.functional import cross_entropy

from oodbench.networks.network import Network
from oodbench.objective import Batch, Objective

from .msp import MSP, cross_entropy_to_uniform


@dataclass(frozen=True)
class OutlierExposure(Objective):
    """Cross-entropy on ID images plus `weight` times cross-entropy to uniform on outliers, in one forward pass."""

    outlier_batch: int = 128
    weight: float = 0.5

    def loss(self, network: Network, batch: Batch, generator: Generator) -> Tensor:
        """CE(ID) + weight * U(outliers); ID and outliers share batch statistics."""
        outliers = self.harden(network, batch.outliers, generator)
        logits = network(torch.cat([batch.images, outliers]))
        id_logits, outlier_logits = logits.split([len(batch.images), len(outliers)])
        undecided = cross_entropy_to_uniform(outlier_logits).mean()
        return cross_entropy(id_logits, batch.labels) + self.weight * undecided

    def harden(self, network: Network, outliers: Tensor, generator: Generator) -> Tensor:
        """The outliers of a step as they are trained on: unchanged here."""
        return outliers


class OE(MSP):
    r"""Outlier Exposure: scored as MSP.

    $$\min_\theta\; \mathbb{E}_{\text{ID}}\bigl[-\log p_y\bigr] + \lambda\,
    \mathbb{E}_{\text{outliers}}\Bigl[-\tfrac1K \textstyle\sum_k \log p_k\Bigr], \qquad s(x) \text{ as MSP}$$
    """

    name = "oe"
    paper = "Hendrycks et al. 2019, arXiv:1812.04606"

    @dataclass(frozen=True)
    class Parameters:
        """Defaults of the paper.

        Attributes:
            weight: of the outlier term in the loss.
        """

        weight: float = 0.5

    parameters: Parameters

    def objective(self) -> OutlierExposure:
        """Cross-entropy with the outlier term."""
        return OutlierExposure(weight=self.parameters.weight)
