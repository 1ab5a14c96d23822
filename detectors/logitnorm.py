"""LogitNorm: cross-entropy of logits of one length. Wei et al. 2022, arXiv:2205.09310.

Where the loss does not see how long the logits are, a network cannot lower it by growing them on all images alike.
"""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn.functional import cross_entropy

from oodbench.networks.network import Network
from oodbench.objective import Batch, Objective

from .msp import MSP

TINY = 1e-7
"""Added to the length, which may be 0."""


@dataclass(frozen=True)
class NormalisedLogits(Objective):
    """Cross-entropy of z / (|z| temperature).

    Attributes:
        temperature: tau.
    """

    id_batch: int = 128
    temperature: float = 0.04

    def loss(self, network: Network, batch: Batch, generator: Generator) -> Tensor:
        """CE(ID images), whose logits have length 1 / temperature."""
        logits = network(batch.images)
        lengths = torch.linalg.vector_norm(logits, dim=1, keepdim=True) + TINY
        return cross_entropy(logits / lengths / self.temperature, batch.labels)


class LogitNorm(MSP):
    r"""Trained on normalised logits; scored as MSP of the logits as they come, as the authors do.

    $$\min_\theta\; \mathbb{E}_{\text{ID}}\Bigl[-\log \operatorname{softmax}_y \frac{z}{\tau \lVert z \rVert}\Bigr],
    \qquad s(x) \text{ as MSP}$$
    """

    name = "logitnorm"
    paper = "Wei et al. 2022, arXiv:2205.09310"

    @dataclass(frozen=True)
    class Parameters:
        """Default of the paper for CIFAR-10.

        Attributes:
            temperature: tau, above 0.
        """

        temperature: float = 0.04

        def __post_init__(self) -> None:
            if not self.temperature > 0:
                raise ValueError(f"temperature is {self.temperature}: choose a number above 0")

    parameters: Parameters

    def objective(self) -> NormalisedLogits:
        """Logits of one length."""
        return NormalisedLogits(temperature=self.parameters.temperature)
