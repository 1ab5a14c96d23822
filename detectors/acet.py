"""ACET: Outlier Exposure with half of the outliers attacked. Hein, Andriushchenko and Bitterwolf 2019."""

from dataclasses import dataclass

from torch import Generator, Tensor

from oodbench.attacks.training import TrainingAttack
from oodbench.basics.passes import Passes
from oodbench.networks.network import Network

from .msp import MSP, cross_entropy_to_uniform
from .oe import OutlierExposure


@dataclass(frozen=True)
class AttackedExposure(OutlierExposure):
    """Outlier Exposure over outliers whose second half is attacked towards a confident prediction.

    Attributes:
        attack: how.
    """

    id_batch: int = 128
    weight: float = 1.0
    attack: TrainingAttack = TrainingAttack()

    def harden(self, network: Network, outliers: Tensor, generator: Generator) -> Tensor:
        """The first half as it is, the second half where the network is most confident."""
        return self.attack.on_second_half(cross_entropy_to_uniform, network, outliers, generator)

    def epoch_passes(self, id_count: int) -> Passes:
        """The steps, and the attack on half of the outliers."""
        victims = self.epoch_steps(id_count) * (self.outlier_batch - self.outlier_batch // 2)
        return super().epoch_passes(id_count) + self.attack.passes() * victims


class ACET(MSP):
    r"""Outlier Exposure under attack: scored as MSP.

    $$\min_\theta\; \mathbb{E}_{\text{ID}}\bigl[-\log p_y\bigr] + \lambda\, \mathbb{E}_{\text{outliers}}\Bigl[
    \max_{\lVert \delta \rVert_\infty \le \epsilon} -\tfrac1K \textstyle\sum_k \log p_k(x + \delta)\Bigr], \qquad s(x)
    \text{ as MSP}$$
    """

    name = "acet"
    paper = "Hein et al. 2019, arXiv:1812.05720"

    @dataclass(frozen=True)
    class Parameters:
        """Defaults of the reference code of Chen et al. 2021.

        Attributes:
            weight: of the outlier term in the loss.
            epsilon: radius of the attack during training, in 1/255.
            step: of that attack, in 1/255.
            steps: of that attack.
        """

        weight: float = 1.0
        epsilon: int = 8
        step: int = 2
        steps: int = 5

    parameters: Parameters

    def objective(self) -> AttackedExposure:
        """Cross-entropy with the outlier term over clean and attacked outliers."""
        p = self.parameters
        return AttackedExposure(weight=p.weight, attack=TrainingAttack(p.epsilon, p.step, p.steps))
