"""ROWL: open-world learning, a reject class and attacked training images. Sehwag et al. 2019, arXiv:1905.01726.

The training set is the ID set and, as one class more, as many outliers as a class has images. The code behind the
figures of Chen et al. 2021 attacks each image towards a wrong class, but keeps the clean image as the best: its loss
starts at +CE >= 0 while every attacked one stands at -CE <= 0. `rowl` trains as that code really does, on every image
twice; `rowl-fixed` trains with an attack that works.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Generator, Tensor
from torch.nn.functional import cross_entropy

from oodbench.attacks.training import TrainingAttack
from oodbench.basics.passes import Passes
from oodbench.detector import Published, Scores
from oodbench.images.resident import IDImages, OutlierPool, together
from oodbench.networks.bounds import LogitBounds
from oodbench.networks.network import Network, Representation
from oodbench.objective import Batch, Objective

from .atom import RejectClass, reject_margins


@dataclass(frozen=True)
class OpenWorld(Objective):
    """Cross-entropy over K + 1 classes, on each image as it is and as `disguised`."""

    id_batch: int = 128
    reject_outputs: int = 1

    @property
    def uses_outliers(self) -> bool:
        """As a class of the training set."""
        return True

    def training_set(self, id_images: IDImages, pool: OutlierPool | None, generator: Generator) -> IDImages:
        """The ID set and as many neighbouring outliers as a class has images on average, labelled K."""
        assert pool is not None  # no plan trains without
        classes = int(id_images.labels.max()) + 1
        start = int(torch.randint(len(pool.images), (), generator=generator))
        outliers = pool.as_they_are(start, len(id_images) // classes)
        labels = id_images.labels.new_full((len(outliers),), classes)
        return IDImages(together(id_images.images, outliers), torch.cat([id_images.labels, labels]))

    def loss(self, network: Network, batch: Batch, generator: Generator) -> Tensor:
        """CE(images) + CE(disguised images), in one forward pass."""
        disguised = self.disguised(network, batch, generator)
        logits, disguised_logits = network(torch.cat([batch.images, disguised])).tensor_split(2)
        return cross_entropy(logits, batch.labels) + cross_entropy(disguised_logits, batch.labels)

    def disguised(self, network: Network, batch: Batch, generator: Generator) -> Tensor:
        """The images themselves: what the published attack comes to."""
        return batch.images

    def epoch_passes(self, id_count: int) -> Passes:
        """Every image twice; one class more than there are ID images for."""
        return Passes(2, 2) * id_count


@dataclass(frozen=True)
class AttackedOpenWorld(OpenWorld):
    """Each image attacked towards a random wrong class.

    Attributes:
        attack: how.
    """

    attack: TrainingAttack = TrainingAttack()

    def disguised(self, network: Network, batch: Batch, generator: Generator) -> Tensor:
        """Images where the network believes most in a wrong one of the K + 1 classes, drawn anew each step."""
        outputs = network.head.out_features
        shift = torch.randint(1, outputs, batch.labels.shape, generator=generator).to(batch.labels.device)
        wrong = (batch.labels + shift) % outputs
        return self.attack.perturb(
            lambda logits: -cross_entropy(logits, wrong, reduction="none"), network, batch.images, generator
        )

    def epoch_passes(self, id_count: int) -> Passes:
        """The steps and the attack on every image."""
        return super().epoch_passes(id_count) + self.attack.passes() * id_count


class ROWL(RejectClass):
    r"""A network with a reject class, whose decision is the argmax; trained as published, without a working attack.

    $$s(x) = \max_{k \le K} z_k - z_{K+1}$$
    """

    name = "rowl"
    paper = "Sehwag et al. 2019, arXiv:1905.01726"
    operating_point = -0.5

    def objective(self) -> OpenWorld:
        """Every image twice."""
        return OpenWorld()

    def score_representation(self, representation: Representation) -> Tensor:
        """Margin of the likeliest ID class over the reject class: below 0 the image is rejected."""
        return reject_margins(representation.logits, self.classes).amax(1)

    def upper_bound(self, bounds: LogitBounds) -> Tensor:
        """The most that any class's logit can lie above the reject class's."""
        return bounds.differences[:, : self.classes, self.classes].amax(1)

    def predict(self, representation: Representation) -> Tensor:
        """The likeliest of all K + 1: K means rejected, and counts as a wrong class, as published."""
        return representation.logits.argmax(1)

    def published(self, representation: Representation) -> Published | None:
        """The decision; the code of Chen et al. 2021 searches corruptions by -p of the reject class, in float32."""
        margin = self.score_representation(representation)
        decision = torch.where(margin < 0, -1.0, 0.0)
        return Published(decision, -representation.logits.float().softmax(1)[:, self.classes])

    @classmethod
    def as_published(cls, scores: Scores) -> Scores:
        """The decision: -1 where rejected, else 0."""
        return np.where(scores < 0, -1.0, 0.0)


class ROWLFixed(ROWL):
    r"""ROWL with training attacks that work.

    $$s(x) = \max_{k \le K} z_k - z_{K+1}$$
    """

    name = "rowl-fixed"
    Parameters = TrainingAttack
    parameters: TrainingAttack

    def objective(self) -> AttackedOpenWorld:
        """Every image, and every image attacked."""
        return AttackedOpenWorld(attack=self.parameters)
