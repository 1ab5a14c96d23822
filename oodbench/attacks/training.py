"""The attack of adversarial training: a few steps, against the network as it is at that moment."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from oodbench.attacks.pgd import pgd, random_start
from oodbench.basics.gradient import PerImage, value_and_gradient
from oodbench.basics.passes import Passes
from oodbench.networks.network import Network
from oodbench.objective import frozen


@dataclass(frozen=True)
class TrainingAttack:
    """Projected gradient ascent from a random start, the image itself being a candidate; Chen et al. 2021's constants.

    Attributes:
        epsilon: radius, in 1/255.
        step: in 1/255.
        steps: gradient steps.
    """

    epsilon: int = 8
    step: int = 2
    steps: int = 5

    def __post_init__(self) -> None:
        if not 0 <= self.epsilon <= 255 or self.step < 1 or self.steps < 1:
            raise ValueError(
                f"epsilon is {self.epsilon}, step {self.step}, steps {self.steps}: choose epsilon from 0 to 255 and "
                "at least 1 of the others"
            )

    def perturb(
        self, climbed: Callable[[Tensor], Tensor], network: Network, images: Tensor, generator: Generator
    ) -> Tensor:
        """Images (N, C, H, W) where `climbed`, logits to one value an image, is highest; eval mode meanwhile."""
        return self.climb(lambda points: climbed(network(points)), network, images, generator)

    def climb(self, objective: PerImage, network: Network, images: Tensor, generator: Generator) -> Tensor:
        """Images (N, C, H, W) where `objective`, of a network's images, is highest; eval mode meanwhile."""
        start = random_start(torch.rand(images.shape, generator=generator), self.epsilon).to(images.device)
        with frozen(network):
            ascent = pgd(
                objective,
                images,
                epsilon=self.epsilon,
                step=self.step,
                steps=self.steps,
                start=start,
                slope=value_and_gradient,  # an objective may use labels, one for each image of the batch
            )
        return ascent.images

    def on_second_half(
        self, climbed: Callable[[Tensor], Tensor], network: Network, outliers: Tensor, generator: Generator
    ) -> Tensor:
        """The first half of `outliers` as it is, the second half perturbed."""
        clean, victims = outliers.tensor_split([len(outliers) // 2])
        return torch.cat([clean, self.perturb(climbed, network, victims, generator)])

    def passes(self) -> Passes:
        """The cost of the attack on one image."""
        return Passes(self.steps + 2, self.steps)
