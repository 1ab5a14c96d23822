"""MixOE: patches of outliers pasted into ID images, with labels mixed alike. Zhang et al. 2023, arXiv:2106.03917.

Constants are those of OpenOOD v1.5: the network is fine-tuned, one mixture a step, cutting and pasting (CutMix).
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Generator, Tensor
from torch.nn.functional import cross_entropy

from oodbench.networks.network import Network
from oodbench.objective import Batch

from .finetuning import FineTuning, FineTuningParameters
from .msp import MSP

Box = tuple[int, int, int, int]
"""Top, left, bottom and right of a patch; the last two lie outside."""


@dataclass(frozen=True)
class MixedOutliers(FineTuning):
    """Cross-entropy on ID images plus `weight` times that on mixtures with outliers.

    Attributes:
        alpha: of Beta(alpha, beta), from which the share of an image that stays ID is drawn.
        beta: the other.
        weight: of the mixtures in the loss.
    """

    outlier_batch: int = 128
    alpha: float = 0.1
    beta: float = 1.0
    weight: float = 1.0

    def loss(self, network: Network, batch: Batch, generator: Generator) -> Tensor:
        """CE(ID) + weight * CE(mixtures to share * label + (1 - share) * uniform), each in a pass of its own."""
        count = min(len(batch.images), len(batch.outliers))
        box = self.patch((batch.images.shape[2], batch.images.shape[3]), generator)
        mixed, share = paste(batch.images[:count], batch.outliers[:count], box)
        log_p = network(mixed).log_softmax(1)
        own = log_p.gather(1, batch.labels[:count, None])[:, 0]
        mixture = -(share * own + (1 - share) * log_p.mean(1)).mean()
        loss: Tensor = cross_entropy(network(batch.images), batch.labels) + self.weight * mixture
        return loss

    def patch(self, size: tuple[int, int], generator: Generator) -> Box:
        """Where outliers are pasted: around a random pixel, so much of an image of `size` as was drawn, cut off at
        its ends.
        """
        seed = int(torch.randint(2**62, (), generator=generator))
        stays = np.random.default_rng(seed).beta(self.alpha, self.beta)
        height, width = (int(side * (1 - stays) ** 0.5) for side in size)
        row, column = (int(torch.randint(side, (), generator=generator)) for side in size)
        top, left = row - height // 2, column - width // 2
        bottom, right = row + height // 2, column + width // 2
        return max(top, 0), max(left, 0), min(bottom, size[0]), min(right, size[1])


def paste(images: Tensor, outliers: Tensor, box: Box) -> tuple[Tensor, float]:
    """Images (N, C, H, W) with the pixels of `outliers` in the box, and the share of pixels that stayed."""
    top, left, bottom, right = box
    mixed = images.clone()
    mixed[:, :, top:bottom, left:right] = outliers[:, :, top:bottom, left:right]
    return mixed, 1 - (bottom - top) * (right - left) / (images.shape[2] * images.shape[3])


class MixOE(MSP):
    r"""A plain network fine-tuned on mixtures of ID images and outliers: scored as MSP.

    $$\min_\theta\; \mathbb{E}_{\text{ID}}\bigl[-\log p_y\bigr] + w\, \mathbb{E}_{\text{ID, outliers, }
    \lambda}\Bigl[-\lambda \log p_y(\tilde x) - \tfrac{1 - \lambda}{K} \textstyle\sum_k \log p_k(\tilde x)\Bigr], \qquad
    s(x) \text{ as MSP}$$

    where the share $\lambda$ of $\tilde x$ is ID image and the rest a patch of an outlier.
    """

    name = "mixoe"
    paper = "Zhang et al. 2023 (WACV), arXiv:2106.03917"

    @dataclass(frozen=True)
    class Parameters(FineTuningParameters):
        """Defaults of OpenOOD v1.5.

        Attributes:
            epochs: of the fine-tuning, 1 or more.
            learning_rate: at its start, above 0.
            alpha: of Beta(alpha, beta), the distribution of the share of an image that stays ID; above 0.
            beta: above 0.
            weight: of the mixtures in the loss.
        """

        alpha: float = 0.1
        beta: float = 1.0
        weight: float = 1.0

        def __post_init__(self) -> None:
            super().__post_init__()
            if not (self.alpha > 0 and self.beta > 0):
                raise ValueError(f"alpha is {self.alpha}, beta {self.beta}: both must be above 0")

    parameters: Parameters

    def objective(self) -> MixedOutliers:
        """Plain training, then mixtures."""
        p = self.parameters
        return MixedOutliers(
            epochs=p.epochs, learning_rate=p.learning_rate, alpha=p.alpha, beta=p.beta, weight=p.weight
        )
