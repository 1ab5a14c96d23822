"""AT: adversarial training of the classifier, without outliers. Madry et al. 2018, arXiv:1706.06083.

The network of the rows called AT in later comparisons. Other scores read it as well: train it with `at`, then give its
file to them by `--checkpoint`.
"""

from dataclasses import dataclass

from torch import Generator, Tensor
from torch.nn.functional import cross_entropy

from oodbench.attacks.training import TrainingAttack
from oodbench.basics.passes import Passes
from oodbench.networks.network import Network
from oodbench.objective import Batch, Objective

from .msp import MSP


def away_from_label(
    attack: TrainingAttack, network: Network, images: Tensor, labels: Tensor, generator: Generator
) -> Tensor:
    """Images (N, C, H, W) where the network believes least in their `labels`, int64 (N,)."""
    return attack.perturb(lambda logits: cross_entropy(logits, labels, reduction="none"), network, images, generator)


@dataclass(frozen=True)
class AttackedTraining(Objective):
    """Cross-entropy on ID images attacked by their label, and on nothing else (equation 2.1 of Madry et al.).

    Attributes:
        attack: how.
    """

    id_batch: int = 128
    attack: TrainingAttack = TrainingAttack(epsilon=8, step=2, steps=7)

    def loss(self, network: Network, batch: Batch, generator: Generator) -> Tensor:
        """CE(attacked ID images)."""
        attacked = away_from_label(self.attack, network, batch.images, batch.labels, generator)
        return cross_entropy(network(attacked), batch.labels)

    def epoch_passes(self, id_count: int) -> Passes:
        """The steps, and the attack on every image."""
        return super().epoch_passes(id_count) + self.attack.passes() * id_count


class AT(MSP):
    r"""Adversarial training: scored as MSP.

    $$\min_\theta\; \mathbb{E}_{\text{ID}}\Bigl[\max_{\lVert \delta \rVert_\infty \le \epsilon} -\log p_y(x +
    \delta)\Bigr], \qquad s(x) \text{ as MSP}$$
    """

    name = "at"
    paper = "Madry et al. 2018, arXiv:1706.06083"

    @dataclass(frozen=True)
    class Parameters(TrainingAttack):
        """Of the attack; the paper's for CIFAR-10.

        Attributes:
            epsilon: radius of the attack during training, in 1/255.
            step: of that attack, in 1/255.
            steps: of that attack.
        """

        epsilon: int = 8
        step: int = 2
        steps: int = 7

    parameters: Parameters

    def objective(self) -> AttackedTraining:
        """Attacked ID images alone."""
        p = self.parameters
        return AttackedTraining(attack=TrainingAttack(p.epsilon, p.step, p.steps))
