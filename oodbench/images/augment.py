"""Augmentation of uint8 batches where they live: random crop after zero padding, horizontal flip."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Generator, Tensor
from torch.nn.functional import pad

PADDING = 4
"""Zero pixels on each side before a random crop back to the image's own size."""


def crop(images: Tensor, generator: Generator) -> Tensor:
    """Each image padded by `PADDING` zeros and cropped back at a random place; uint8 (N, C, H, W)."""
    count, _, height, width = images.shape
    padded = pad(images, (PADDING, PADDING, PADDING, PADDING))
    offsets = torch.randint(0, 2 * PADDING + 1, (2, count, 1), generator=generator)
    rows = (offsets[0] + torch.arange(height)).to(images.device)
    columns = (offsets[1] + torch.arange(width)).to(images.device)
    image = torch.arange(count, device=images.device)
    picked = padded.permute(0, 2, 3, 1)[image[:, None, None], rows[:, :, None], columns[:, None, :]]
    return picked.permute(0, 3, 1, 2)


def flip(images: Tensor, generator: Generator) -> Tensor:
    """Each image mirrored left to right with probability one half; uint8 (N, C, H, W)."""
    mirrored = (torch.rand(len(images), generator=generator) < 0.5).to(images.device)
    return torch.where(mirrored[:, None, None, None], images.flip(3), images)


AUGMENTATIONS: Mapping[str, Callable[[Tensor, Generator], Tensor]] = {"crop": crop, "flip": flip}


def augment(images: Tensor, names: Sequence[str], generator: Generator) -> Tensor:
    """`images`, uint8 (N, C, H, W), through the named augmentations in turn, drawn from a CPU `generator`."""
    for name in names:
        images = AUGMENTATIONS[name](images, generator)
    return images
