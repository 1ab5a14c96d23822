"""Images that are not at hand: a number stands for each, by which a network finds what it once made of it.

The way from images to scores takes images, so a number travels as one: a strip of one colour, one pixel high, whose
three levels are the digits of the number, the lowest in red. Code that looks at images themselves finds nothing there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from oodbench.basics.files import digest

if TYPE_CHECKING:
    import torch
    from torch import Tensor

LEVELS = 256
MOST = LEVELS**3
"""Images that can be told apart."""

OFF = 1e-3
"""The distance that a pixel may have from a whole level after it went through [0, 1] in float32."""


@dataclass(frozen=True, eq=False)
class Numbered:
    """Some images of a set that is not at hand, as an array of uint8 (N, H, W, 3).

    A slice or an array of positions gives these images; `numpy.asarray` gives their strips, uint8 (N, 1, W, 3): as wide
    as the images were, since it goes by the width how many are looked at together.

    Attributes:
        first: number of the set's first image.
        rows: positions in the set, int64 (N,).
        whole: images of the set.
        fingerprint: of the set.
        size: (H, W) of the images.
    """

    first: int
    rows: npt.NDArray[np.int64]
    whole: int
    fingerprint: str
    size: tuple[int, int]

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(N, H, W, 3)."""
        return len(self.rows), *self.size, 3

    @property
    def identity(self) -> str:
        """The fingerprint of these images."""
        are_all = np.array_equal(self.rows, np.arange(self.whole))
        return self.fingerprint if are_all else digest(self.fingerprint, self.rows.tobytes())

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, which: Any) -> Numbered:
        return replace(self, rows=self.rows[which])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[np.uint8]:
        strips = np.broadcast_to(self._colours()[:, None, None, :], (len(self), 1, self.size[1], 3))
        return np.ascontiguousarray(strips)

    def strips_on(self, device: torch.device) -> Tensor:
        """Put the strips on a device, uint8 (N, 3, 1, W); they take no more memory than their numbers."""
        import torch  # sets of images are listed without it

        colours = torch.from_numpy(self._colours()).to(device)
        return colours[:, :, None, None].expand(-1, -1, 1, self.size[1])

    def _colours(self) -> npt.NDArray[np.uint8]:
        numbers = self.rows + self.first
        return np.stack([numbers, numbers // LEVELS, numbers // LEVELS**2], 1).astype(np.uint8)


def numbers_of(images: Tensor) -> Tensor | None:
    """The numbers, int64 (B,), that strips, float (B, 3, h, w) in [0, 1], stand for; None for other images."""
    levels = images[:, :, 0, 0].detach() * (LEVELS - 1)
    rounded = levels.round()
    if bool((levels - rounded).abs().gt(OFF).any()):
        return None
    digits = rounded.long()
    return digits[:, 0] + LEVELS * digits[:, 1] + LEVELS**2 * digits[:, 2]


def first_numbers(counts: Sequence[int]) -> list[int]:
    """The number of the first image of each set, for sets of so many images, one behind the other."""
    return [0, *np.cumsum(counts)[:-1].tolist()]
