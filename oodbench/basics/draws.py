"""Random numbers of a random score: by image and by number of the draw, whatever the batch, the order and the device.

Each draw of each image has a counter-based stream of its own (Philox; Salmon et al. 2011, doi:10.1145/2063384.2063405),
so any one can be made without those before it. They are made on the CPU and copied to the device: a GPU rounds the
logarithm and the cosine of a normal number in another way, and a score would then depend on where it was calculated.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from numpy.random import Generator
from torch import Tensor

from oodbench.basics.arrays import Floats32
from oodbench.basics.randomness import generators_per_image


class Draws(Protocol):
    """Random numbers for the images of a batch. Asked twice for the same ones they are the same."""

    def normal(self, number: int, like: Tensor, what: str = "") -> Tensor:
        """Draw `number` of normal numbers, mean 0 and deviation 1: float32, on the device and in the shape of `like`.

        Args:
            number: from 0.
            like: (N, ...), a row for each image.
            what: the numbers are for; others give others.
        """

    def uniform(self, number: int, like: Tensor, what: str = "") -> Tensor:
        """Draw `number` of uniform numbers in [0, 1), as `normal` does."""


class DrawsPerImage:
    """Draws of their own for each image.

    Args:
        indices: (N,) of each image in its set.
        purpose: what they are for, say a seed and the name of a set; another purpose gives others.
    """

    def __init__(self, indices: Sequence[int] | npt.NDArray[np.int64], *purpose: int | str) -> None:
        self._indices, self._purpose = np.asarray(indices, np.int64), purpose

    def normal(self, number: int, like: Tensor, what: str = "") -> Tensor:
        """See `Draws`."""
        return self._draw(_normal, number, like, what)

    def uniform(self, number: int, like: Tensor, what: str = "") -> Tensor:
        """See `Draws`."""
        return self._draw(_uniform, number, like, what)

    def _draw(
        self, draw: Callable[[Generator, tuple[int, ...]], Floats32], number: int, like: Tensor, what: str
    ) -> Tensor:
        if len(like) != len(self._indices):
            raise ValueError(f"draws of {len(self._indices)} images were asked for {len(like)}")
        streams = generators_per_image(self._indices, "draw", *self._purpose, what, stream=number)
        rows = np.empty(like.shape, np.float32)
        for row, stream in zip(rows, streams, strict=True):
            row[...] = draw(stream, row.shape)
        return torch.from_numpy(rows).to(like.device)


class CommonDraws:
    """The same draws for every image, so that a score with them is a function of the image alone.

    That is what a climb needs, whose images come and go. Draws are kept once made: a climb asks for them at every step.

    Args:
        purpose: what they are for; another purpose gives others.
    """

    def __init__(self, *purpose: int | str) -> None:
        self._single = DrawsPerImage([0], "every image", *purpose)
        self._kept: dict[tuple[str, int, torch.Size, torch.device, str], Tensor] = {}

    def normal(self, number: int, like: Tensor, what: str = "") -> Tensor:
        """See `Draws`."""
        return self._draw_once("normal", number, like, what)

    def uniform(self, number: int, like: Tensor, what: str = "") -> Tensor:
        """See `Draws`."""
        return self._draw_once("uniform", number, like, what)

    def _draw_once(self, kind: str, number: int, like: Tensor, what: str) -> Tensor:
        key = kind, number, like.shape[1:], like.device, what
        if key not in self._kept:
            first_image = like.new_empty((1, *like.shape[1:]))
            self._kept[key] = (self._single.normal if kind == "normal" else self._single.uniform)(
                number, first_image, what
            )
        return self._kept[key].expand(like.shape)


def _normal(stream: Generator, shape: tuple[int, ...]) -> Floats32:
    return stream.standard_normal(shape, np.float32)


def _uniform(stream: Generator, shape: tuple[int, ...]) -> Floats32:
    return stream.random(shape, np.float32)
