"""The L-infinity attack on OOD images. Chen et al. 2021, arXiv:2006.15207, in the constants of its reference code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from oodbench.tasks.ascent import OneAscent
from oodbench.tasks.task import check_radius

if TYPE_CHECKING:
    from torch import Tensor

    from oodbench.attacks.ascent import Ascent
    from oodbench.basics.gradient import PerImage
    from oodbench.tasks.versions import Indices


@dataclass(frozen=True)
class Linf(OneAscent):
    """Each OOD image moves inside an L-infinity ball to where the detector takes it for ID.

    Projected gradient ascent from one random whole-level start; the best iterate by what is climbed is kept, the clean
    image being a candidate. No labels. ID images stay clean unless `side` says otherwise; then they move to where the
    detector takes them for OOD.

    Attributes:
        epsilon: radius, in 1/255 of pixel space.
        steps: gradient steps.
        step: step size, in 1/255.
        objective: "published" climbs what the method's paper climbs (for one that reworks another's score, that score:
            its attacks are transferred), "adaptive" climbs the detector's own score, of a random one the expectation.
        side: "out" attacks OOD images, "in" ID images, "both" both.
    """

    kind = "linf"

    @staticmethod
    def check_radius(epsilon: int) -> None:
        """Raise ValueError for anything but whole levels from 0 to 255."""
        check_radius(epsilon)

    @property
    def looks(self) -> int:
        """Passes for the start, the clean image, and each step."""
        return self.steps + 2

    def ascend(self, objective: PerImage, images: Tensor, indices: Indices, purpose: str) -> Ascent:
        """Climb in signed steps from a random start of whole levels."""
        import torch

        from oodbench.attacks.pgd import pgd, random_start
        from oodbench.basics.randomness import uniform_per_image

        uniform = uniform_per_image(indices, tuple(images.shape[1:]), "linf", purpose)
        start = random_start(torch.from_numpy(uniform).to(images), self.epsilon)
        return pgd(objective, images, epsilon=self.epsilon, step=self.step, steps=self.steps, start=start)
