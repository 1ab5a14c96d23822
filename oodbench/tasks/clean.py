"""Images as they are."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch import Tensor

from oodbench.detector import Detector
from oodbench.passes import Passes
from oodbench.tasks.task import Altered, Task


@dataclass(frozen=True)
class Clean(Task):
    """Nothing is altered."""

    kind = "clean"

    def alter(self, detector: Detector, images: Tensor, indices: npt.NDArray[np.int64], purpose: str) -> Altered:
        """The images themselves."""
        return Altered(images, {})

    def passes(self) -> Passes:
        """One forward pass."""
        return Passes(forward=1)

    def threat(self) -> str:
        """Nobody attacks."""
        return "images as they are"
