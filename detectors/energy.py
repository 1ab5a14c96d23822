"""Energy: the logsumexp of the logits. Liu et al. 2020, arXiv:2010.03759."""

from dataclasses import dataclass

from torch import Tensor

from oodbench.detector import Detector
from oodbench.networks.bounds import LogitBounds
from oodbench.networks.network import Representation


class Energy(Detector):
    r"""The negative free energy of the K class logits.

    $$s(x) = T \log \sum_k \exp\bigl(z_k(x) / T\bigr)$$
    """

    name = "energy"
    paper = "Liu et al. 2020, arXiv:2010.03759"

    @dataclass(frozen=True)
    class Parameters:
        """Defaults of the paper.

        Attributes:
            temperature: T, above 0.
        """

        temperature: float = 1.0

        def __post_init__(self) -> None:
            if self.temperature <= 0:
                raise ValueError(f"temperature is {self.temperature}: choose a number above 0")

    parameters: Parameters

    def score_representation(self, representation: Representation) -> Tensor:
        """T logsumexp(z / T), the paper's -E (equation 4)."""
        return energy(representation.logits[:, : self.classes], self.parameters.temperature)

    def upper_bound(self, bounds: LogitBounds) -> Tensor:
        """The energy of the highest logits."""
        return energy(bounds.high[:, : self.classes], self.parameters.temperature)


def energy(logits: Tensor, temperature: float = 1.0) -> Tensor:
    """T logsumexp(z / T) of logits (N, K): (N,), float64."""
    return temperature * (logits.double() / temperature).logsumexp(1)
