"""The L2 attack on OOD images: the task `linf` in another ball."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from oodbench.tasks.ascent import OneAscent
from oodbench.tasks.task import check_l2_radius

if TYPE_CHECKING:
    from torch import Tensor

    from oodbench.attacks.ascent import Ascent
    from oodbench.basics.gradient import PerImage
    from oodbench.tasks.versions import Indices


@dataclass(frozen=True)
class L2(OneAscent):
    """Each OOD image moves inside an L2 ball to where the detector takes it for ID.

    Projected gradient ascent from one random direction; the best iterate by what is climbed is brought to the 8-bit
    grid without leaving the ball, and kept if it is better there than the clean image. No labels. ID images stay clean
    unless `side` says otherwise; then they move to where the detector takes them for OOD.

    Attributes:
        epsilon: radius: the root of the sum of the squared changes of all pixels and channels, in 1/255 of pixel space;
            128 is the 0.5 of the literature.
        steps: gradient steps.
        step: length of each, in 1/255.
        objective: "published" climbs what the method's paper climbs (for one that reworks another's score, that score:
            its attacks are transferred), "adaptive" climbs the detector's own score, of a random one the expectation.
        side: "out" attacks OOD images, "in" ID images, "both" both.
    """

    kind = "l2"
    norm = "l2"

    epsilon: int = 128
    step: int = 8

    @staticmethod
    def check_radius(epsilon: int) -> None:
        """Raise ValueError for anything but a whole number from 0 to the diagonal of a large image."""
        check_l2_radius(epsilon)

    @property
    def looks(self) -> int:
        """Passes for the start, the clean image, each step, and the best one once more, on the 8-bit grid."""
        return self.steps + 3

    def ascend(self, objective: PerImage, images: Tensor, indices: Indices, purpose: str) -> Ascent:
        """Climb in steps along the gradient from a random point."""
        import torch

        from oodbench.attacks.balls import L2Ball
        from oodbench.attacks.pgd_l2 import pgd_l2
        from oodbench.basics.randomness import uniform_per_image

        uniform = torch.from_numpy(uniform_per_image(indices, tuple(images.shape[1:]), "l2", purpose)).to(images)
        start = L2Ball(images, self.epsilon).inner_point(2 * uniform - 1)
        return pgd_l2(objective, images, epsilon=self.epsilon, step=self.step, steps=self.steps, start=start)
