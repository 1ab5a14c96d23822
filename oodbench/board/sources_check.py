"""Attacked images compared with the images that they were made of: is each one in the ball around its source?"""

from math import ceil, prod, sqrt

import numpy as np
import torch

from oodbench.attacks.balls import BALLS
from oodbench.board.archive import Indices, Pixels
from oodbench.board.at_hand import places
from oodbench.images.imageset import ImageSet
from oodbench.images.tensors import channels_first_view
from oodbench.networks.network import as_input

CHUNK = 256
"""Images that are compared at once."""

LOOKED = 8
"""The most images outside the ball whose true source is looked for."""


def restore_images(changes: Pixels, indices: Indices, sources: ImageSet) -> Pixels:
    """Return attacked images, uint8 (N, H, W, 3), from what was changed in their sources; see `archive.SetArrays`.

    The sources are there, and of the same size.
    """
    return sources.pixels(places(sources, indices)) + changes


def ball_violation(images: Pixels, indices: Indices, sources: ImageSet, norm: str, epsilon: int) -> str:
    """Return in words what is wrong with attacked images; "" where each lies in the ball around its source.

    Args:
        images: uint8 (N, H, W, 3).
        indices: int64 (N,), places of their sources in the whole set.
        sources: the set, or the part of it that a run took.
        norm: of the ball.
        epsilon: its radius in 1/255.
    """
    if said := missing_source(indices, sources):
        return said
    if said := size_difference(images, sources) or excess_radius_text(sources, norm, epsilon):
        return said
    where = places(sources, indices)
    outside = [
        number
        for start in range(0, len(images), CHUNK)
        for number in start + np.flatnonzero(_outside(images, sources, where, start, norm, epsilon))
    ]
    if not outside:
        return ""
    for number in outside[:LOOKED]:
        if (true := _source_of(images[number], sources, norm, epsilon)) is not None:
            return (
                f"wrong source image: the image for no. {indices[number]} of {sources.name} is not in the ball around "
                f"that, but in the one around no. {true}"
            )
    first = outside[0]
    change = images[first].astype(int) - sources.pixels(where[[first]])[0].astype(int)
    far = np.abs(change).max() if norm == "linf" else np.sqrt((change**2).sum())
    return (
        f"outside the ball: {len(outside)} of {len(images)} images, the first for no. {indices[first]} of "
        f"{sources.name}, which is {far:.4g} of 255 away where {epsilon} are allowed"
    )


def size_difference(images: Pixels, sources: ImageSet) -> str:
    """Return in words that images, or changes of images, have another size than their sources; "" if they do not."""
    if images.shape[1:] == sources.images.shape[1:]:
        return ""
    sizes = [" x ".join(map(str, shape[1:3])) for shape in (images.shape, sources.images.shape)]
    return f"wrong source image: images are {sizes[0]} pixels, and those of {sources.name} {sizes[1]}"


def excess_radius_text(sources: ImageSet, norm: str, epsilon: int) -> str:
    """Return in words that a ball is wider than any image; "" if it is not. All such balls hold the same images."""
    most = 255 if norm == "linf" else ceil(255 * sqrt(prod(sources.images.shape[1:])))
    if epsilon <= most:
        return ""
    return (
        f"another ball: no two images of the size of {sources.name} are farther from each other than {most}/255, and "
        f"the radius is {epsilon}/255: say {most} at most"
    )


def missing_source(indices: Indices, sources: ImageSet) -> str:
    """Return in words at which place there is no image; "" where there is one at each."""
    where = places(sources, indices)
    if not (where < 0).any():
        return ""
    return (
        f"wrong source image: {sources.name} has no image no. {indices[where < 0][0]} among the {len(sources)} that "
        "this run takes"
    )


def _outside(images: Pixels, sources: ImageSet, where: Indices, start: int, norm: str, epsilon: int) -> Indices:
    before = _tensor(sources.pixels(where[start : start + CHUNK]))
    change = _tensor(images[start : start + CHUNK]).int() - before.int()
    found: Indices = BALLS[norm](as_input(before), epsilon).is_outside(change).numpy()
    return found


def _source_of(image: Pixels, sources: ImageSet, norm: str, epsilon: int) -> int | None:
    """Return the place of the first image in whose ball this one lies; None if there is none, or too much to search."""
    if not isinstance(sources.images, np.ndarray):
        return None
    for start in range(0, len(sources), CHUNK):
        some = sources.images[start : start + CHUNK]
        change = torch.from_numpy(image.astype(np.int32) - some.astype(np.int32))
        near = ~BALLS[norm](torch.zeros(1, 1, 1, 1), epsilon).is_outside(change)
        if near.any():
            return int(sources.indices[start + int(near.nonzero()[0])])
    return None


def _tensor(images: Pixels) -> torch.Tensor:
    return channels_first_view(np.ascontiguousarray(images))
