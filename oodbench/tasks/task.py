"""Task: the contract between the runner and what happens to OOD images."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from torch import Tensor

from oodbench.detector import Detector
from oodbench.passes import Passes

ID_TASK = "id"
"""The name under which clean ID test scores are kept; no task of a suite may take it."""


@dataclass(frozen=True)
class Altered:
    """A batch as a detector will see it.

    Attributes:
        images: float (N, C, H, W) in [0, 1], on the 8-bit grid.
        extras: what is worth keeping for each image, arrays (N,): objectives, flags.
    """

    images: Tensor
    extras: Mapping[str, npt.NDArray[np.float64]]


class Task(ABC):
    """How OOD images are altered. Subclasses are frozen dataclasses whose fields are what a suite may say of them."""

    kind: ClassVar[str]

    @abstractmethod
    def alter(self, detector: Detector, images: Tensor, indices: npt.NDArray[np.int64], purpose: str) -> Altered:
        """The batch as it will be scored.

        Args:
            detector: fitted; its network stands in evaluation mode with frozen weights.
            images: float (N, C, H, W) in [0, 1], on the 8-bit grid.
            indices: (N,) of each image in its set; with `purpose` they seed what is random, image by image.
            purpose: names seed and image set.
        """

    @abstractmethod
    def passes(self) -> Passes:
        """What altering and scoring one image costs, in passes of the plain network."""

    @abstractmethod
    def threat(self) -> str:
        """One phrase for people: who alters what, by how much."""
