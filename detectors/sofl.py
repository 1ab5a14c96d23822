"""SOFL: self-supervised outlier features. Mohseni et al. 2020, in the constants of the code of Chen et al. 2021.

The network has R reject outputs beyond the K classes. It is first trained on ID images alone, then again from a fresh
learning rate with outliers, each labelled with the reject class the network itself prefers.
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import expit
from torch import Generator, Tensor
from torch.nn.functional import cross_entropy

from oodbench.detector import Detector, Published, Scores
from oodbench.networks.bounds import LogitBounds
from oodbench.networks.network import Network, Representation
from oodbench.objective import Batch, Objective


@dataclass(frozen=True)
class PseudoLabelled(Objective):
    """Cross-entropy on ID images plus `weight` times that on outliers with the network's own reject labels."""

    outlier_batch: int = 320
    weight: float = 5.0

    def loss(self, network: Network, batch: Batch, generator: Generator) -> Tensor:
        """CE(ID) + weight * CE(outliers to their pseudo-labels); both share batch statistics."""
        logits = network(torch.cat([batch.images, batch.outliers]))
        id_logits, outlier_logits = logits.split([len(batch.images), len(batch.outliers)])
        labels = self.pseudo_labels(outlier_logits.detach(), generator)
        return cross_entropy(id_logits, batch.labels) + self.weight * cross_entropy(outlier_logits, labels)

    def pseudo_labels(self, logits: Tensor, generator: Generator) -> Tensor:
        """The preferred of all outputs where it is a reject class, else a random reject class; (M,)."""
        preferred, outputs = logits.argmax(1), logits.shape[1]
        classes = outputs - self.reject_outputs
        drawn = torch.randint(classes, outputs, preferred.shape, generator=generator).to(preferred.device)
        return torch.where(preferred >= classes, preferred, drawn)


@dataclass(frozen=True)
class OutlierFeatures(Objective):
    """Both trainings, one after the other.

    Attributes:
        weight: of the outlier term in the second.
    """

    reject_outputs: int = 5
    weight: float = 5.0

    @property
    def uses_outliers(self) -> bool:
        """In the second training."""
        return True

    def phases(self) -> tuple[Objective, ...]:
        """Plain cross-entropy over all outputs, then with pseudo-labelled outliers."""
        return (
            Objective(reject_outputs=self.reject_outputs),
            PseudoLabelled(reject_outputs=self.reject_outputs, weight=self.weight),
        )


def id_log_odds(logits: Tensor, classes: int) -> Tensor:
    """log((1 - p) / p) of the probability p of all outputs from `classes` on, float64; logits (N, K+R) to (N,)."""
    logits = logits.double()
    return logits[:, :classes].logsumexp(1) - logits[:, classes:].logsumexp(1)


class SOFL(Detector):
    r"""A network with several reject outputs, scored by what it does not give to them.

    $$\min_\theta\; \mathbb{E}_{\text{ID}}\bigl[-\log p_y\bigr] + \lambda\, \mathbb{E}_{\text{outliers}}\bigl[-\log
    p_{\tilde y}\bigr], \qquad s(x) = \log \frac{1 - r}{r}, \quad r = \textstyle\sum_{k > K} p_k$$
    """

    name = "sofl"
    paper = "Mohseni et al. 2020, AAAI, 'Self-Supervised Learning for Generalizable Out-of-Distribution Detection'"

    @dataclass(frozen=True)
    class Parameters:
        """Defaults of the code of Chen et al. 2021.

        Attributes:
            reject: number of reject outputs.
            weight: of the outlier term in the loss.
        """

        reject: int = 5
        weight: float = 5.0

        def __post_init__(self) -> None:
            if self.reject < 1:
                raise ValueError(f"reject is {self.reject}: choose 1 or more reject outputs")

    parameters: Parameters

    def objective(self) -> OutlierFeatures:
        """Two trainings."""
        return OutlierFeatures(reject_outputs=self.parameters.reject, weight=self.parameters.weight)

    def score_representation(self, representation: Representation) -> Tensor:
        """log((1 - p) / p) of all reject outputs' probability p: the order of the published -p, without saturation."""
        return id_log_odds(representation.logits, self.classes)

    def targets(self, images: Tensor) -> Tensor:
        """Log-odds of each class against all reject outputs."""
        logits: Tensor = self.network(images).double()
        return logits[:, : self.classes] - logits[:, self.classes :].logsumexp(1, keepdim=True)

    def upper_bound(self, bounds: LogitBounds) -> Tensor:
        """Logsumexp over the classes of the most that each can lie above all reject outputs together."""
        return (-(-bounds.differences[:, : self.classes, self.classes :]).logsumexp(2)).logsumexp(1)

    def published_objective(self, images: Tensor) -> Tensor:
        """-log of the reject outputs' probability, which rises with the score."""
        logits: Tensor = self.network(images)
        return -logits.log_softmax(1)[:, self.classes :].logsumexp(1)

    def published(self, representation: Representation) -> Published | None:
        """-p of the reject outputs, summed of a softmax in float32."""
        printed = -representation.logits.float().softmax(1)[:, self.classes :].sum(1)
        return Published(printed, printed)

    @classmethod
    def as_published(cls, scores: Scores) -> Scores:
        """-p of the reject outputs, in float32."""
        return -np.asarray(expit(-scores), np.float32).astype(np.float64)
