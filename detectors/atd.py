"""ATD: a discriminator over the features of a robust network. Azizmalayeri et al. 2022, arXiv:2209.15246.

The network is first trained adversarially, or given, and then left as it is. A discriminator learns to tell attacked ID
images by their features from attacked outliers and from features that a generator makes up. The constants are those of
the authors' code, which differs in three things. Its generator never learns, since the discriminator is shown what it
makes without a gradient; here it does. It keeps the epoch that is best on its outliers; here the last one counts. And
its backbones were trained with data that no suite here has (HAT); here they are trained as those of `at`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.special import expit
from torch import Generator, Tensor, nn
from torch.func import functional_call
from torch.nn.functional import binary_cross_entropy_with_logits, softplus
from torch.optim import Adam, Optimizer

from oodbench.attacks.training import TrainingAttack
from oodbench.basics.errors import OodbenchError
from oodbench.basics.passes import Passes
from oodbench.detector import Detector, Scores
from oodbench.images.resident import IDImages, OutlierPool
from oodbench.networks.network import Network, Representation
from oodbench.objective import Batch, Objective, frozen
from oodbench.recipe import Recipe

from .at import AttackedTraining

WIDTH = 64
"""Channels that the layers of discriminator and generator have multiples of."""

NOISE = 100
"""Numbers that the generator makes features of."""

DEVIATION = 0.02
"""Of all weights in the beginning."""

BACKBONES = ("trained", "given")


def discriminator(features: int) -> nn.Sequential:
    """Features (N, D) to log-odds (N, 1) of ID images."""
    widths, layers = [8 * WIDTH, 4 * WIDTH, 2 * WIDTH, WIDTH], list[nn.Module]()
    for seen, made in zip([features, *widths], widths, strict=False):
        norm = [nn.BatchNorm1d(made)] if layers else []
        layers += [nn.Linear(seen, made, bias=False), *norm, nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, nn.Linear(WIDTH, 1, bias=False))


def generator_of(features: int) -> nn.Sequential:
    """Noise (N, 100) to features (N, D)."""
    widths, layers = [8 * WIDTH, 4 * WIDTH, 2 * WIDTH, 4 * WIDTH], list[nn.Module]()
    for seen, made in zip([NOISE, *widths], widths, strict=False):
        layers += [nn.Linear(seen, made, bias=False), nn.BatchNorm1d(made), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(widths[-1], features))


class ATDNetwork(Network):
    """A classifier with discriminator and generator beside it; logits and features are the classifier's.

    Args:
        base_model: the classifier.
    """

    def __init__(self, base_model: Network) -> None:
        super().__init__()
        self.base_model = base_model
        dimensions = base_model.head.in_features
        self.discriminator, self.generator = discriminator(dimensions), generator_of(dimensions)

    @property
    def head(self) -> nn.Linear:
        """The classifier's."""
        return self.base_model.head

    def represent(self, images: Tensor) -> Representation:
        """The classifier's representation."""
        return self.base_model.represent(images)

    def taps(self, images: Tensor) -> Iterator[Tensor]:
        """The classifier's taps."""
        return self.base_model.taps(images)

    def id_log_odds(self, features: Tensor) -> Tensor:
        """What the discriminator says of features (N, D): (N,)."""
        found: Tensor = self.discriminator(features)[:, 0]
        return found

    def draw(self, generator: Generator) -> None:
        """Weights of discriminator and generator as they are in the beginning: normal, biases 0."""
        with torch.no_grad():
            for part in (*self.discriminator.modules(), *self.generator.modules()):
                if isinstance(part, nn.Linear | nn.BatchNorm1d):
                    mean = float(isinstance(part, nn.BatchNorm1d))
                    drawn = torch.randn(part.weight.shape, generator=generator)
                    part.weight.copy_(mean + DEVIATION * drawn)
                    if part.bias is not None:
                        part.bias.zero_()


@dataclass(frozen=True)
class Hardening(AttackedTraining):
    """Adversarial training of the classifier, as `at` does it."""

    def parameter_groups(self, network: Network) -> list[dict[str, Any]]:
        """The classifier's."""
        return [{"params": list(_whole(network).base_model.parameters())}]


@dataclass(frozen=True)
class AttackedDiscriminator(Objective):
    """A discriminator and a generator against each other, over a classifier that stays as it is.

    Attributes:
        attack: on ID images and on outliers, against classifier and discriminator together.
        hardening: of the classifier, before; None for one that is given.
        alpha: weight of outliers against features that are made up.
        epochs: of this, after the classifier's.
        learning_rate: of the generator.
        discriminator_rate: of the discriminator, as a share of the generator's.
        beta1: of Adam.
    """

    id_batch: int = 128
    outlier_batch: int = 128
    attack: TrainingAttack = TrainingAttack(epsilon=8, step=2, steps=10)
    hardening: TrainingAttack | None = TrainingAttack(epsilon=8, step=2, steps=7)
    alpha: float = 0.5
    epochs: int = 20
    learning_rate: float = 1e-4
    discriminator_rate: float = 1 / 1.5
    beta1: float = 0.5

    def phases(self) -> tuple[Objective, ...]:
        """The classifier, unless it is given, then the discriminator."""
        return (Hardening(attack=self.hardening), self) if self.hardening else (self,)

    def recipe(self, of_suite: Recipe) -> Recipe:
        """Few epochs at one small rate.

        Raises:
            OodbenchError: a classifier is said to be given, and the suite's training starts from none.
        """
        if self.hardening is None and not of_suite.start:
            raise OodbenchError(
                "atd.backbone is 'given', and no network is: name its file with --set start=FILE, or leave backbone "
                "out, so that one is trained"
            )
        return Recipe(epochs=self.epochs, learning_rate=self.learning_rate, weight_decay=0.0, augment=of_suite.augment)

    def adapt(self, network: Network, image_shape: tuple[int, int, int]) -> Network:
        """The classifier with discriminator and generator beside it."""
        return ATDNetwork(network)

    def initialise(
        self,
        network: Network,
        id_images: IDImages,
        pool: OutlierPool | None,
        augmentations: Sequence[str],
        generator: Generator,
    ) -> None:
        """Draw discriminator and generator."""
        _whole(network).draw(generator)

    def loss(self, network: Network, batch: Batch, generator: Generator) -> Tensor:
        """Cross-entropy of the discriminator: attacked ID images + alpha outliers + (1 - alpha) made-up features; and
        of the generator, which wants its own to be taken for ID.

        Both step at once. Neither's gradient reaches the other, and none reaches the classifier.
        """
        whole = _whole(network)
        of_id = self.features(whole, batch.images, 1.0, generator)
        of_outliers = self.features(whole, batch.outliers, -1.0, generator)
        # At least two: batch norm has no statistics of one.
        noise = torch.randn(max(2, len(of_id)), NOISE, generator=generator).to(of_id)
        made: Tensor = whole.generator(noise)
        log_odds = whole.id_log_odds(torch.cat([of_id, of_outliers, made.detach()]))
        id_odds, outlier_odds, made_odds = log_odds.tensor_split([len(of_id), len(log_odds) - len(made)])
        told = binary_cross_entropy_with_logits(id_odds, torch.ones_like(id_odds))
        told = told + (1 - self.alpha) * softplus(made_odds).mean()
        if len(of_outliers):
            told = told + self.alpha * softplus(outlier_odds).mean()
        return told + self.taken_for_id(whole, made)

    def features(self, whole: ATDNetwork, images: Tensor, sign: float, generator: Generator) -> Tensor:
        """Features (N, D) of images that are attacked to look like the other side: `sign` is 1 for ID, else -1."""

        def wrong(some: Tensor) -> Tensor:
            return softplus(-sign * whole.id_log_odds(whole.represent(some).features))

        attacked = self.attack.climb(wrong, whole, images, generator) if len(images) else images
        with frozen(whole.base_model), torch.no_grad():
            return whole.represent(attacked).features

    def taken_for_id(self, whole: ATDNetwork, made: Tensor) -> Tensor:
        """The generator's loss: -log of the probability that what it made is of ID images; evaluation mode."""
        fixed = {name: weight.detach() for name, weight in whole.discriminator.named_parameters()}
        whole.discriminator.eval()
        log_odds = functional_call(whole.discriminator, fixed, (made,))
        whole.discriminator.train()
        return softplus(-log_odds).mean()

    def parameter_groups(self, network: Network) -> list[dict[str, Any]]:
        """The discriminator, more slowly, and the generator."""
        whole, slower = _whole(network), self.discriminator_rate * self.learning_rate
        return [
            {"params": list(whole.discriminator.parameters()), "lr": slower},
            {"params": list(whole.generator.parameters())},
        ]

    def optimizer(self, groups: list[dict[str, Any]], recipe: Recipe) -> Optimizer:
        """Adam."""
        return Adam(groups, betas=(self.beta1, 0.999))

    def epoch_passes(self, id_count: int) -> Passes:
        """Every image attacked, then looked at."""
        images = id_count + self.epoch_steps(id_count) * self.outlier_batch
        return (self.attack.passes() + Passes(1)) * images


def _whole(network: Network) -> ATDNetwork:
    assert isinstance(network, ATDNetwork)  # adapt sees to it
    return network


class ATD(Detector):
    r"""A discriminator over the features of an adversarially trained network, scored by its log-odds.

    $$\min_D\; \mathbb{E}_{\text{ID}}\bigl[-\log D(\phi(x^{\ast}))\bigr] + \alpha\, \mathbb{E}_{\text{outliers}}\bigl[
    -\log(1 - D(\phi(x^{\ast})))\bigr] + (1 - \alpha)\, \mathbb{E}_z\bigl[-\log(1 - D(G(z)))\bigr], \quad \min_G\;
    \mathbb{E}_z\bigl[-\log D(G(z))\bigr], \qquad s(x) = \log \frac{D(\phi(x))}{1 - D(\phi(x))}$$

    with $x^{\ast}$ the worst image of the ball around $x$.
    """

    name = "atd"
    paper = "Azizmalayeri et al. 2022, arXiv:2209.15246"

    @dataclass(frozen=True)
    class Parameters(TrainingAttack):
        """Defaults of the authors' code, whose step is 2.5 epsilon / steps.

        Attributes:
            epsilon: radius of the attacks during both trainings, in 1/255.
            step: of these attacks, in 1/255.
            steps: of the attack on the discriminator; the classifier's has 7, as that of `at`.
            alpha: weight of outliers against features that the generator makes up, from 0 to 1.
            epochs: of discriminator and generator, 1 or more.
            learning_rate: of the generator, above 0; the discriminator's is two thirds of it.
            backbone: "trained" adversarially first, or "given" by `--set start=FILE`, robust already and left alone.
        """

        epsilon: int = 8
        step: int = 2
        steps: int = 10
        alpha: float = 0.5
        epochs: int = 20
        learning_rate: float = 1e-4
        backbone: str = "trained"

        def __post_init__(self) -> None:
            super().__post_init__()
            if not 0 <= self.alpha <= 1:
                raise ValueError(f"alpha is {self.alpha}: it is a share, from 0 to 1")
            if self.epochs < 1 or not self.learning_rate > 0:
                raise ValueError(f"epochs is {self.epochs}, learning_rate {self.learning_rate}: both must be above 0")
            if self.backbone not in BACKBONES:
                raise ValueError(f"backbone is {self.backbone!r}: choose one of {', '.join(map(repr, BACKBONES))}")

    parameters: Parameters

    def objective(self) -> AttackedDiscriminator:
        """The classifier, unless it is given, then the discriminator."""
        p = self.parameters
        return AttackedDiscriminator(
            attack=TrainingAttack(p.epsilon, p.step, p.steps),
            hardening=TrainingAttack(p.epsilon, p.step, 7) if p.backbone == "trained" else None,
            alpha=p.alpha,
            epochs=p.epochs,
            learning_rate=p.learning_rate,
        )

    def settle(self) -> None:
        """Make sure of the discriminator."""
        if not isinstance(self.network, ATDNetwork):
            raise OodbenchError(
                "atd needs the discriminator that is trained over its network and the checkpoint has none: train one "
                "over it with --set start=FILE --set atd.backbone=given in place of --checkpoint FILE"
            )
        self._whole = self.network

    def score_representation(self, representation: Representation) -> Tensor:
        """Log-odds of the discriminator: the order of the paper's probability, without saturation."""
        return self._whole.id_log_odds(representation.features).double()

    def published_objective(self, images: Tensor) -> Tensor:
        """The logarithm of the probability, which the paper climbs as a cross-entropy."""
        return -softplus(-self.score(images))

    @classmethod
    def as_published(cls, scores: Scores) -> Scores:
        """The probability, in float32."""
        return np.asarray(expit(scores), np.float32).astype(np.float64)
