"""ImageSet: what every room of the house means by "a set of images"."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from oodbench.files import digest


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images in memory, in a fixed order.

    Attributes:
        name: what suites call it.
        images: uint8 (N, H, W, 3), RGB.
        labels: int64 (N,); what they mean is up to the set, OOD sets may carry -1 everywhere.
        source: where the pixels come from, for people.
    """

    name: str
    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    source: str

    def __len__(self) -> int:
        return len(self.images)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over shape, pixels and labels: two sets with the same fingerprint are the same images."""
        pixels = np.ascontiguousarray(self.images)
        return digest(str(pixels.shape), pixels.tobytes(), np.ascontiguousarray(self.labels).tobytes())

    def split(self, count: int) -> "tuple[ImageSet, ImageSet]":
        """The set without `count` images, and those: drawn at random, the same ones every time, in the set's order."""
        drawn = np.isin(np.arange(len(self)), np.random.default_rng(0).permutation(len(self))[:count])
        rest = replace(self, images=self.images[~drawn], labels=self.labels[~drawn])
        return rest, replace(self, images=self.images[drawn], labels=self.labels[drawn])

    def called(self, name: str) -> "ImageSet":
        """The same images under another name."""
        return replace(self, name=name)

    def first(self, count: int | None) -> "ImageSet":
        """The first `count` images (all of them for None)."""
        return self if count is None else replace(self, images=self.images[:count], labels=self.labels[:count])
