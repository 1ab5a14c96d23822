"""K+1-AT: adversarial training over K + 1 classes, outliers being the last; RODEO's recipe. Mirzaei et al. 2024.

RODEO (ICML 2024) makes outliers by editing ID images with a diffusion model. This is its training with the outliers
that a suite has: ATOM without mining, which attacks ID images as well. Loss and attack are those of the authors'
notebook. The optimizer is the suite's, where the notebook takes Adam.
"""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn.functional import cross_entropy

from oodbench.attacks.training import TrainingAttack
from oodbench.basics.passes import Passes
from oodbench.networks.network import Network
from oodbench.objective import Batch, Objective

from .at import away_from_label
from .atom import OutlierClass


@dataclass(frozen=True)
class AttackedClasses(Objective):
    """Cross-entropy over K + 1 classes, every image attacked by its own.

    A batch holds as many outliers as ID images, 128 together.

    Attributes:
        attack: how.
    """

    outlier_batch: int = 64
    reject_outputs: int = 1
    attack: TrainingAttack = TrainingAttack(epsilon=8, step=2, steps=10)

    def loss(self, network: Network, batch: Batch, generator: Generator) -> Tensor:
        """CE(attacked images), the mean over ID images and outliers alike."""
        images = torch.cat([batch.images, batch.outliers])
        rejected = batch.labels.new_full((len(batch.outliers),), network.head.out_features - 1)
        labels = torch.cat([batch.labels, rejected])
        return cross_entropy(network(away_from_label(self.attack, network, images, labels, generator)), labels)

    def epoch_passes(self, id_count: int) -> Passes:
        """The steps, and the attack on every image."""
        images = id_count + self.epoch_steps(id_count) * self.outlier_batch
        return super().epoch_passes(id_count) + self.attack.passes() * images


class KPlusOneAT(OutlierClass):
    r"""Adversarially trained to tell K classes and outliers apart; scored as ATOM, by what the last output lacks.

    $$\min_\theta\; \mathbb{E}_{\text{ID, outliers}}\Bigl[\max_{\lVert \delta \rVert_\infty \le \epsilon} -\log p_y(x +
    \delta)\Bigr], \quad y = K + 1 \text{ of outliers}, \qquad s(x) = \log \frac{1 - p_{K+1}}{p_{K+1}}$$
    """

    name = "kplus1-at"
    paper = "Mirzaei et al. 2024 (ICML), 'RODEO: Robust Outlier Detection via Exposing Adaptive Outliers'"
    grid = None  # type: ignore[assignment]  # no parameter is chosen by training again

    @dataclass(frozen=True)
    class Parameters(TrainingAttack):
        """Of the attack; those of the authors' notebook, whose step is 2.5 epsilon / steps.

        Attributes:
            epsilon: radius of the attack during training, in 1/255.
            step: of that attack, in 1/255.
            steps: of that attack.
        """

        epsilon: int = 8
        step: int = 2
        steps: int = 10

    parameters: Parameters

    def objective(self) -> AttackedClasses:
        """All images attacked."""
        p = self.parameters
        return AttackedClasses(attack=TrainingAttack(p.epsilon, p.step, p.steps))
