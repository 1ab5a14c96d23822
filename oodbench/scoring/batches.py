"""Images in batches on the device, and the network as scores and attacks need it."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from oodbench.images.imageset import ImageSet
from oodbench.images.photographs import Photographs
from oodbench.images.streaming import Streamed
from oodbench.images.tensors import channels_first
from oodbench.networks.compute import repeatable
from oodbench.networks.network import Network, batch_size


def batches(
    images: ImageSet, device: torch.device, size: int | None = None
) -> Iterator[tuple[Tensor, npt.NDArray[np.int64]]]:
    """Batches of `images` on the device, uint8 (B, C, H, W), with each image's index in its whole set."""
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
    """How attacks and final scores are computed: no gradients of weights, and float32 unless the network says TF32."""
    learning = [parameter for parameter in network.parameters() if parameter.requires_grad]
    for parameter in learning:
        parameter.requires_grad_(False)
    cudnn, matmul = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = network.tf32
    try:
        with repeatable():
            yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = cudnn, matmul
        for parameter in learning:
            parameter.requires_grad_(True)
