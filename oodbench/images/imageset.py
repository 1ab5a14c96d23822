"""ImageSet: what every room of the house means by "a set of images"."""

from dataclasses import dataclass
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

    def first(self, count: int | None) -> "ImageSet":
        """The first `count` images (all of them for None)."""
        return self if count is None else ImageSet(self.name, self.images[:count], self.labels[:count], self.source)
