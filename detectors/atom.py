"""ATOM: Adversarial Training with informative Outlier Mining. Chen et al. 2021, arXiv:2006.15207.

The network has one output beyond the K classes, for outliers. Every epoch a large window of auxiliary outliers is
ranked by the network itself, those it finds hard (but not the very hardest) become the epoch's outliers, half of them
are attacked, and both halves are trained towards the extra output. Constants are those of the authors' code.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import expit
from torch import Generator, Tensor
from torch.nn.functional import cross_entropy

from oodbench.attacks.training import TrainingAttack
from oodbench.basics.gradient import PerImage
from oodbench.basics.passes import Passes
from oodbench.detector import Detector, Published, Scores
from oodbench.images.resident import OutlierPool, Selection
from oodbench.networks.bounds import LogitBounds
from oodbench.networks.network import Network, Representation, as_input, batch_size
from oodbench.objective import Batch, Objective, frozen

POOL_FACTOR = 4
"""Candidates ranked for each outlier wanted."""


def id_log_odds(logits: Tensor) -> Tensor:
    """log((1 - p) / p) of the extra (last) output's probability p, float64; logits (N, K+1) to (N,)."""
    logits = logits.double()
    return logits[:, :-1].logsumexp(1) - logits[:, -1]


def cross_entropy_to_outlier(logits: Tensor) -> Tensor:
    """-log p of the extra (last) output; logits (N, K+1) to (N,)."""
    return logits.logsumexp(1) - logits[:, -1]


def most_informative(outlier_ness: Tensor, wanted: int, q: float) -> Tensor:
    """Positions (wanted,) of the outliers to train on.

    The first 4 * wanted candidates are ordered from what looks most like ID (section 4 of the paper); the share q at
    that end is left out, since it may hold images that really are ID, and the next `wanted` are taken.

    Args:
        outlier_ness: (M,) any increasing function of the outlier probability, M >= 4 * wanted.
        wanted: how many to take.
        q: from 0 (the hardest) to 0.75 (the easiest).
    """
    candidates = POOL_FACTOR * wanted
    skipped = int(q * candidates)
    return outlier_ness[:candidates].argsort(stable=True)[skipped : skipped + wanted]


@dataclass(frozen=True)
class MinedOutliers(Objective):
    """Cross-entropy over K + 1 outputs, with mined outliers as the last class.

    Attributes:
        q: where mining starts, as a share of the ranked candidates; see `most_informative`.
        weight: of the outlier term (beta in the paper).
        minings: how often an epoch mines, each time for the next part of its steps.
    """

    outlier_batch: int = 128
    reject_outputs: int = 1
    q: float = 0.125
    weight: float = 1.0
    minings: int = 1

    def epoch_outliers(self, network: Network, pool: OutlierPool, id_count: int, generator: Generator) -> Selection:
        """Mined outliers, two for each ID image, shuffled, augmented once."""
        wanted = self._wanted(id_count)
        candidates = _candidates(pool, POOL_FACTOR * wanted, generator)
        size = batch_size(pool.images.device, pool.images.shape[-1])
        with frozen(network), torch.no_grad():
            # Log-odds order images as the probability does, without the ties that float32 makes near 1.
            id_likeness = pool.measured(candidates, lambda some: id_log_odds(network(as_input(some))), size, "mining")
        mined = most_informative(-id_likeness, wanted, self.q)
        return candidates[mined[torch.randperm(wanted, generator=generator)]]

    @property
    def choices_per_epoch(self) -> int:
        """One for each mining."""
        return self.minings

    def loss(self, network: Network, batch: Batch, generator: Generator) -> Tensor:
        """CE(ID) + weight * CE(outliers to the last output); both share batch statistics."""
        outliers = self.harden(network, batch.outliers, generator)
        logits = network(torch.cat([batch.images, outliers]))
        id_logits, outlier_logits = logits.split([len(batch.images), len(outliers)])
        rejection = cross_entropy_to_outlier(outlier_logits).mean() if len(outliers) else logits.new_zeros(())
        return cross_entropy(id_logits, batch.labels) + self.weight * rejection

    def harden(self, network: Network, outliers: Tensor, generator: Generator) -> Tensor:
        """The outliers of a step as they are trained on: unchanged here."""
        return outliers

    def epoch_passes(self, id_count: int) -> Passes:
        """Ranking the candidates, then the steps."""
        wanted = self._wanted(id_count)
        return Passes(forward=POOL_FACTOR * wanted) + Passes(1, 1) * (id_count + wanted)

    def _wanted(self, id_count: int) -> int:
        return id_count * self.outlier_batch // self.id_batch


@dataclass(frozen=True)
class AttackedOutliers(MinedOutliers):
    """Mined outliers, the second half of each batch attacked towards ID while the network stands in eval mode.

    Attributes:
        attack: how.
    """

    attack: TrainingAttack = TrainingAttack()

    def harden(self, network: Network, outliers: Tensor, generator: Generator) -> Tensor:
        """The first half as it is, the second half where the network sees the least of an outlier."""
        return self.attack.on_second_half(cross_entropy_to_outlier, network, outliers, generator)

    def epoch_passes(self, id_count: int) -> Passes:
        """Mining and steps, and the attack on half of the outliers."""
        return super().epoch_passes(id_count) + self.attack.passes() * (self._wanted(id_count) // 2)


def _candidates(pool: OutlierPool, count: int, generator: Generator) -> Selection:
    """`count` consecutive outliers from a random place; a window that has gone once round starts elsewhere."""
    size = len(pool.images)
    windows = []
    while count > 0:
        start = int(torch.randint(pool.mined_from, size, (), generator=generator))
        windows.append(torch.arange(start, start + min(count, size)) % size)
        count -= size
    return pool.picked(torch.cat(windows), generator)


@dataclass(frozen=True)
class MiningParameters:
    """What NTOM and ATOM share; defaults of the authors' code.

    Attributes:
        q: 0 to 0.75, where mining starts among the ranked candidates.
        weight: of the outlier term in the loss.
        minings: how often an epoch ranks candidates anew. The authors' once suits millions of outliers. Of a small set
            the same few are mined over and over within an epoch, while the network forgets the others.
    """

    q: float = 0.125
    weight: float = 1.0
    minings: int = 1

    def __post_init__(self) -> None:
        if self.minings < 1:
            raise ValueError(f"minings is {self.minings}, but an epoch mines at least once")
        if not 0 <= self.q <= 0.75:
            raise ValueError(f"q is {self.q}, but mining takes a quarter of its candidates: choose 0 to 0.75")


def reject_margins(logits: Tensor, classes: int) -> Tensor:
    """z_k - z_reject of each of the K `classes`, float64; logits (N, K + 1) to (N, K)."""
    logits = logits.double()
    return logits[:, :classes] - logits[:, classes:]


def reject_ratio(logits: Tensor, classes: int) -> Tensor:
    """max_k (z_k - z_reject) over the spread of the three largest logits, (N,): like DLR, arXiv:2003.01690."""
    ranked = logits.double().sort(1, descending=True).values
    return reject_margins(logits, classes).amax(1) / (ranked[:, 0] - ranked[:, min(2, classes)] + 1e-12)


class RejectClass(Detector):
    """A network with K + 1 outputs, the last of which rejects: what attacks on its score may climb."""

    def targets(self, images: Tensor) -> Tensor:
        """Margin of each class's logit over the outlier class's."""
        return reject_margins(self.network(images), self.classes)

    def surrogates(self) -> Mapping[str, PerImage]:
        """A ratio of margins, which does not care how large the logits are."""
        return {"ratio": lambda images: reject_ratio(self.network(images), self.classes)}

    def published_objective(self, images: Tensor) -> Tensor:
        """Cross-entropy to the outlier class, which rises with the score."""
        return cross_entropy_to_outlier(self.network(images))


class OutlierClass(RejectClass):
    """A network with K + 1 outputs, scored by what it does not give to the last one."""

    grid = ("q", (0.0, 0.125, 0.25, 0.5, 0.75))

    def upper_bound(self, bounds: LogitBounds) -> Tensor:
        """Logsumexp of the most that each class's logit can lie above the outlier class's."""
        return bounds.differences[:, : self.classes, self.classes].logsumexp(1)

    def score_representation(self, representation: Representation) -> Tensor:
        """log((1 - p) / p) of the outlier class's probability p: the order of the paper's -p, without saturation."""
        return id_log_odds(representation.logits)

    def published(self, representation: Representation) -> Published | None:
        """-p of the outlier class, of a softmax in float32."""
        printed = -representation.logits.float().softmax(1)[:, -1]
        return Published(printed, printed)

    @classmethod
    def as_published(cls, scores: Scores) -> Scores:
        """-p of the outlier class, in float32."""
        return -np.asarray(expit(-scores), np.float32).astype(np.float64)


class ATOM(OutlierClass):
    r"""Adversarial training with informative outlier mining.

    $$\min_\theta\; \mathbb{E}_{\text{ID}}\bigl[-\log p_y\bigr] + \beta\, \mathbb{E}_{\text{mined outliers}}\Bigl[
    \max_{\lVert \delta \rVert_\infty \le \epsilon} -\log p_{K+1}(x + \delta)\Bigr], \qquad s(x) = \log \frac{1 -
    p_{K+1}}{p_{K+1}}$$
    """

    name = "atom"
    paper = "Chen et al. 2021, arXiv:2006.15207"

    @dataclass(frozen=True)
    class Parameters(MiningParameters):
        """Defaults of the authors' code for CIFAR-10.

        Attributes:
            epsilon: radius of the attack during training, in 1/255.
            step: of that attack, in 1/255.
            steps: of that attack.
        """

        epsilon: int = 8
        step: int = 2
        steps: int = 5

    parameters: Parameters

    def objective(self) -> Objective:
        """Mined outliers, half of them attacked."""
        p = self.parameters
        attack = TrainingAttack(p.epsilon, p.step, p.steps)
        return AttackedOutliers(q=p.q, weight=p.weight, minings=p.minings, attack=attack)
