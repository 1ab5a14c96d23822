"""Images on the device, as uint8, where training and fitting read them."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from oodbench.images.augment import augment
from oodbench.images.imageset import ImageSet


@dataclass(frozen=True)
class IDImages:
    """ID `images`, uint8 (N, C, H, W), and their `labels`, int64 (N,)."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, rows: Tensor | slice) -> "IDImages":
        return IDImages(self.images[rows], self.labels[rows])


@dataclass(frozen=True)
class OutlierPool:
    """The suite's auxiliary outliers and how they may be used.

    Attributes:
        images: uint8 (N, C, H, W), in the set's own order.
        reserved: how many images at the front are kept for validation; mining skips them.
        augmentations: names from `oodbench.images.augment`.
    """

    images: Tensor
    reserved: int
    augmentations: Sequence[str]

    def consecutive(self, start: int, count: int, generator: Generator) -> Tensor:
        """`count` neighbours in the set's order from `start`, past the end from the front again, each augmented."""
        return augment(self.as_they_are(start, count), self.augmentations, generator)

    def as_they_are(self, start: int, count: int) -> Tensor:
        """`consecutive` without augmentation."""
        return self.images[(torch.arange(start, start + count) % len(self.images)).to(self.images.device)]


def resident(images: ImageSet, device: torch.device) -> IDImages:
    """The whole set on the device, channels first."""
    pixels = torch.from_numpy(images.images).to(device).permute(0, 3, 1, 2).contiguous()
    return IDImages(pixels, torch.from_numpy(images.labels).to(device))
