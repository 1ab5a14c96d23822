"""ALOE: adversarial training on ID images and on outliers at once. Chen et al. 2020, arXiv:2003.09711.

`aoe` and `adv` are what its authors compare it with, one part less each: attacked ID images beside clean outliers, and
attacked ID images alone. (ACET leaves out another part: it attacks outliers and no ID image.) Constants are those of
the authors' code. Its attack runs in train mode, keeps the last iterate, and truncates its random start, which leaves
none at the default radius of 1/255. Here it runs in evaluation mode, starts anywhere in the ball and keeps the best
iterate, as all training attacks here do.
"""

from dataclasses import dataclass, replace

from torch import Generator, Tensor

from oodbench.attacks.training import TrainingAttack
from oodbench.basics.passes import Passes
from oodbench.networks.network import Network
from oodbench.objective import Batch

from .at import AttackedTraining, away_from_label
from .msp import MSP, cross_entropy_to_uniform
from .oe import OutlierExposure

SLIGHT = TrainingAttack(epsilon=1, step=1, steps=2)
"""The attack that the authors' code trains with by default, and that the paper tests with."""


@dataclass(frozen=True)
class AttackedInliers(OutlierExposure):
    """Outlier Exposure over ID images that are attacked by their label, and outliers as they are.

    Attributes:
        attack: how.
    """

    attack: TrainingAttack = SLIGHT

    def loss(self, network: Network, batch: Batch, generator: Generator) -> Tensor:
        """CE(attacked ID) + weight * U(outliers); both share batch statistics."""
        attacked = away_from_label(self.attack, network, batch.images, batch.labels, generator)
        return super().loss(network, replace(batch, images=attacked), generator)

    def epoch_passes(self, id_count: int) -> Passes:
        """The steps, and the attack on every ID image."""
        return super().epoch_passes(id_count) + self.attack.passes() * id_count


@dataclass(frozen=True)
class AttackedBoth(AttackedInliers):
    """The same with all outliers attacked as well, towards a confident prediction."""

    def harden(self, network: Network, outliers: Tensor, generator: Generator) -> Tensor:
        """Outliers where the network is most confident."""
        return self.attack.perturb(cross_entropy_to_uniform, network, outliers, generator)

    def epoch_passes(self, id_count: int) -> Passes:
        """The steps, and the attack on every image."""
        return super().epoch_passes(id_count) + self.attack.passes() * (self.epoch_steps(id_count) * self.outlier_batch)


class ALOE(MSP):
    r"""Adversarial learning with inlier and outlier exposure: scored as MSP.

    $$\min_\theta\; \mathbb{E}_{\text{ID}}\Bigl[\max_{\lVert \delta \rVert_\infty \le \epsilon} -\log p_y(x +
    \delta)\Bigr] + \lambda\, \mathbb{E}_{\text{outliers}}\Bigl[\max_{\lVert \delta \rVert_\infty \le \epsilon}
    -\tfrac1K \textstyle\sum_k \log p_k(x + \delta)\Bigr], \qquad s(x) \text{ as MSP}$$
    """

    name = "aloe"
    paper = "Chen et al. 2020, arXiv:2003.09711"

    @dataclass(frozen=True)
    class Parameters(TrainingAttack):
        """Defaults of the authors' code, whose radius is small.

        Attributes:
            epsilon: radius of the attacks during training, in 1/255.
            step: of these attacks, in 1/255.
            steps: of these attacks.
            weight: of the outlier term in the loss.
        """

        epsilon: int = 1
        step: int = 1
        steps: int = 2
        weight: float = 0.5

        @property
        def attack(self) -> TrainingAttack:
            """The attack alone."""
            return TrainingAttack(self.epsilon, self.step, self.steps)

    parameters: Parameters

    def objective(self) -> AttackedInliers:
        """Both attacked."""
        return AttackedBoth(weight=self.parameters.weight, attack=self.parameters.attack)


class AOE(ALOE):
    r"""ALOE with clean outliers.

    $$\min_\theta\; \mathbb{E}_{\text{ID}}\Bigl[\max_{\lVert \delta \rVert_\infty \le \epsilon} -\log p_y(x +
    \delta)\Bigr] + \lambda\, \mathbb{E}_{\text{outliers}}\Bigl[-\tfrac1K \textstyle\sum_k \log p_k\Bigr], \qquad s(x)
    \text{ as MSP}$$
    """

    name = "aoe"

    def objective(self) -> AttackedInliers:
        """ID images attacked, outliers not."""
        return AttackedInliers(weight=self.parameters.weight, attack=self.parameters.attack)


class ADV(MSP):
    r"""ALOE without outliers: what `at` is, in ALOE's batches and constants.

    $$\min_\theta\; \mathbb{E}_{\text{ID}}\Bigl[\max_{\lVert \delta \rVert_\infty \le \epsilon} -\log p_y(x +
    \delta)\Bigr], \qquad s(x) \text{ as MSP}$$
    """

    name = "adv"
    paper = "Chen et al. 2020, arXiv:2003.09711"

    @dataclass(frozen=True)
    class Parameters(TrainingAttack):
        """Defaults of the authors' code.

        Attributes:
            epsilon: radius of the attack during training, in 1/255.
            step: of that attack, in 1/255.
            steps: of that attack.
        """

        epsilon: int = 1
        step: int = 1
        steps: int = 2

    parameters: Parameters

    def objective(self) -> AttackedTraining:
        """Attacked ID images alone."""
        p = self.parameters
        return AttackedTraining(id_batch=64, attack=TrainingAttack(p.epsilon, p.step, p.steps))
