"""Energy fine-tuning: energies pushed beyond a margin on ID images and outliers. Liu et al. 2020, arXiv:2010.03759."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn.functional import cross_entropy

from oodbench.networks.network import Network
from oodbench.objective import Batch

from .energy import Energy
from .finetuning import FineTuning, FineTuningParameters


@dataclass(frozen=True)
class BoundedEnergy(FineTuning):
    """Cross-entropy plus `weight` times squared hinges on the energy E = -logsumexp(z).

    Attributes:
        weight: of the hinges in the loss.
        m_in: ID images are to have less energy than this.
        m_out: outliers are to have more energy than this.
    """

    outlier_batch: int = 256
    weight: float = 0.1
    m_in: float = -25.0
    m_out: float = -7.0

    def loss(self, network: Network, batch: Batch, generator: Generator) -> Tensor:
        """CE(ID) + weight * (mean relu(E_in - m_in)^2 + mean relu(m_out - E_out)^2); both share batch statistics."""
        logits = network(torch.cat([batch.images, batch.outliers]))
        id_logits, outlier_logits = logits.split([len(batch.images), len(batch.outliers)])
        too_high = (-id_logits.logsumexp(1) - self.m_in).relu().square().mean()
        too_low = (self.m_out + outlier_logits.logsumexp(1)).relu().square().mean()
        loss: Tensor = cross_entropy(id_logits, batch.labels) + self.weight * (too_high + too_low)
        return loss


class EnergyFT(Energy):
    r"""A plain network fine-tuned with outliers for its energy, by which it is scored.

    $$\min_\theta\; \mathbb{E}_{\text{ID}}\bigl[-\log p_y + \lambda \max(0, E - m_{\text{in}})^2\bigr] + \lambda\,
    \mathbb{E}_{\text{outliers}}\bigl[\max(0, m_{\text{out}} - E)^2\bigr], \quad E = -\log \sum_k e^{z_k}, \qquad s(x) =
    -E$$
    """

    name = "energy-ft"
    paper = "Liu et al. 2020, arXiv:2010.03759"

    @dataclass(frozen=True)
    class Parameters(FineTuningParameters, Energy.Parameters):
        """Defaults of the authors' code. Margins go by the network: they lie between its energies on both sides.

        Attributes:
            temperature: T of the score, above 0; training knows 1 only.
            epochs: of the fine-tuning, 1 or more.
            learning_rate: at its start, above 0.
            weight: of the energy term in the loss.
            m_in: energy below which ID images are left alone.
            m_out: energy above which outliers are left alone, more than `m_in`.
        """

        weight: float = 0.1
        m_in: float = -25.0
        m_out: float = -7.0

        def __post_init__(self) -> None:
            FineTuningParameters.__post_init__(self)
            Energy.Parameters.__post_init__(self)
            if not self.m_in < self.m_out:
                raise ValueError(
                    f"m_in is {self.m_in} and m_out {self.m_out}: energies are negative, and lower for ID images, so "
                    "choose m_in below m_out"
                )

    parameters: Parameters

    def objective(self) -> BoundedEnergy:
        """Plain training, then both hinges."""
        p = self.parameters
        return BoundedEnergy(
            epochs=p.epochs, learning_rate=p.learning_rate, weight=p.weight, m_in=p.m_in, m_out=p.m_out
        )
