"""Augmentation of batches where they live: random crop after zero padding, horizontal flip, Gaussian noise.

Crops and flips move 8-bit pixels. Noise is neither rounded nor cut to [0, 1], so it is added to images as a network
takes them: training with it is for scores that are smoothed by the same (Cohen et al. 2019, arXiv:1902.02918).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf, nan
from typing import TYPE_CHECKING, Protocol, Self

from oodbench.basics.errors import unknown

if TYPE_CHECKING:
    from torch import Generator, Tensor

PADDING = 4
"""Zero pixels on each side before a random crop back to the image's own size."""


class Augmentation(Protocol):
    """Draws for each of N images, to be indexed as the images are, and applied to them any number of times."""

    def __getitem__(self, which: Tensor | slice) -> Self:
        """The draws for some of the images."""

    def __call__(self, images: Tensor) -> Tensor:
        """Apply the draws to `images`, uint8 (N, C, H, W)."""


@dataclass(frozen=True)
class Crop:
    """Pads by `PADDING` zeros and crops back at `corners`, int64 (2, N): rows and columns."""

    corners: Tensor

    @classmethod
    def draw(cls, count: int, generator: Generator) -> Self:
        """Draw corners, all of them equally likely."""
        import torch

        return cls(torch.randint(0, 2 * PADDING + 1, (2, count, 1), generator=generator)[:, :, 0])

    def __getitem__(self, which: Tensor | slice) -> Crop:
        return Crop(self.corners[:, which])

    def __call__(self, images: Tensor) -> Tensor:
        import torch
        from torch.nn.functional import pad

        count, _, height, width = images.shape
        padded = pad(images, (PADDING, PADDING, PADDING, PADDING))
        rows = (self.corners[0][:, None] + torch.arange(height)).to(images.device)
        columns = (self.corners[1][:, None] + torch.arange(width)).to(images.device)
        image = torch.arange(count, device=images.device)
        picked = padded.permute(0, 2, 3, 1)[image[:, None, None], rows[:, :, None], columns[:, None, :]]
        return picked.permute(0, 3, 1, 2)


@dataclass(frozen=True)
class Flip:
    """Mirrors the images for which `mirrored`, bool (N,), is true, left to right."""

    mirrored: Tensor

    @classmethod
    def draw(cls, count: int, generator: Generator) -> Self:
        """Draw which images are mirrored, each with probability one half."""
        import torch

        return cls(torch.rand(count, generator=generator) < 0.5)

    def __getitem__(self, which: Tensor | slice) -> Flip:
        return Flip(self.mirrored[which])

    def __call__(self, images: Tensor) -> Tensor:
        import torch

        return torch.where(self.mirrored.to(images.device)[:, None, None, None], images.flip(3), images)


GAUSSIAN = "gaussian"
"""Noise, called by its deviation in units of [0, 1] pixel space: `gaussian:0.25`."""

AUGMENTATIONS: Mapping[str, Callable[[int, Generator], Augmentation]] = {"crop": Crop.draw, "flip": Flip.draw}


def draw(names: Sequence[str], count: int, generator: Generator) -> tuple[Augmentation, ...]:
    """Draw the named augmentations for `count` images in turn from a CPU `generator`; noise is not among them.

    Raises:
        KeyError: no such augmentation.
    """
    return tuple(AUGMENTATIONS[name](count, generator) for name in names if not _is_noise(name))


def augment(images: Tensor, names: Sequence[str], generator: Generator) -> Tensor:
    """Send `images`, uint8 (N, C, H, W), through the named augmentations in turn, drawn from a CPU `generator`."""
    for augmentation in draw(names, len(images), generator):
        images = augmentation(images)
    return images


def noisy(images: Tensor, names: Sequence[str], generator: Generator) -> Tensor:
    """Add to `images`, float (N, C, H, W), the noise that the names ask for, drawn from a CPU `generator`."""
    import torch

    for name in names:
        if _is_noise(name):
            noise = torch.randn(images.shape, generator=generator)
            images = images + float(name.partition(":")[2]) * noise.to(images)
    return images


def check_augmentations(names: Sequence[str], noise: bool = True) -> None:
    """Raise ValueError for a name that is neither in `AUGMENTATIONS` nor, if `noise`, noise of some deviation."""
    for name in names:
        if _is_noise(name) and noise:
            _check_noise(name)
        elif name not in AUGMENTATIONS:
            raise ValueError(str(unknown("augmentation", name, [*AUGMENTATIONS, f"{GAUSSIAN}:0.25"][: 2 + noise])))


def _is_noise(name: str) -> bool:
    return name.partition(":")[0] == GAUSSIAN


def _check_noise(name: str) -> None:
    try:
        deviation = float(name.partition(":")[2])
    except ValueError:
        deviation = nan
    if not 0 < deviation < inf:
        raise ValueError(
            f"{name!r} says no deviation of the noise: write {GAUSSIAN}:0.25 for a quarter of the pixel range"
        )
