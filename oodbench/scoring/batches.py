"""Images in batches on the device, what their random numbers are drawn for, and exact computation."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from oodbench.basics.freezing import frozen_parameters
from oodbench.images.imageset import ImageSet
from oodbench.images.photographs import Photographs
from oodbench.images.streaming import Streamed
from oodbench.images.tensors import channels_first
from oodbench.networks.compute import repeatable
from oodbench.networks.network import Network, batch_size
from oodbench.tasks.versions import Indices


@dataclass(frozen=True)
class Purpose:
    """The purpose of random numbers: its text, `str(purpose)`, seeds their generators.

    Attributes:
        seed: of the run, or a text in its place.
        image_set: name of the set; None where the draws depend on the seed alone.
    """

    seed: int | str
    image_set: str | None = None

    def __str__(self) -> str:
        return str(self.seed) if self.image_set is None else f"{self.seed}/{self.image_set}"


@dataclass(frozen=True)
class ImageBatch:
    """Some images of one image set.

    Attributes:
        pixels: (B, C, H, W), uint8, or float in [0, 1].
        indices: (B,) of each image in its set; with `purpose` they seed what is random.
        purpose: of the draws.
        image_set: what the set is called in messages.
    """

    pixels: Tensor
    indices: Indices
    purpose: Purpose
    image_set: str

    def __len__(self) -> int:
        return len(self.pixels)

    def part(self, rows: slice) -> "ImageBatch":
        """The images in these rows."""
        return replace(self, pixels=self.pixels[rows], indices=self.indices[rows])

    def with_pixels(self, pixels: Tensor) -> "ImageBatch":
        """The same images of the set with other pixels: as floats, or as an attack left them."""
        return replace(self, pixels=pixels)


def batches(
    images: ImageSet, device: torch.device, size: int | None = None
) -> Iterator[tuple[Tensor, npt.NDArray[np.int64]]]:
    """Yield batches of `images` on the device, uint8 (B, C, H, W), with each image's index in its whole set."""
    size = size or batch_size(device, images.images.shape[1])
    starts = range(0, len(images), size)
    if isinstance(images.images, Photographs):
        rows = torch.split(torch.arange(len(images)), size)
        for start, pixels in zip(starts, Streamed(images.images, device).in_turn(rows), strict=True):
            yield pixels, images.indices[start : start + size]
        return
    for start in starts:
        pixels = channels_first(images.pixels(slice(start, start + size)), device)
        yield pixels, images.indices[start : start + size]


@contextmanager
def exact(network: Network) -> Iterator[None]:
    """Compute as attacks and final scores must: no gradients of weights, and float32 unless the network allows TF32."""
    cudnn, matmul = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = network.tf32
    try:
        with repeatable(), frozen_parameters(network.parameters()):
            yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = cudnn, matmul
