"""ImageSet: images in a fixed order, with labels and with what is known of them."""

from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import sha256
from pathlib import Path

import numpy as np
import numpy.typing as npt

from oodbench.basics.files import digest
from oodbench.images.numbered import Numbered
from oodbench.images.photographs import Photographs


def images_digest(images: npt.NDArray[np.uint8]) -> str:
    """SHA-256 (hex) over the SHA-256 of each of `images`, uint8 (N, H, W, C), in their order."""
    return sha256(image_digests(images).tobytes()).hexdigest()


def image_digests(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """SHA-256 of each of `images`, uint8 (N, H, W, C), row by row: uint8 (N, 32)."""
    raw = b"".join(sha256(image.tobytes()).digest() for image in images)
    return np.frombuffer(raw, np.uint8).reshape(len(images), 32)


LONGEST_NAME = 200
"""Letters of a set's name, which is part of a file's."""


def is_name(text: str) -> bool:
    """Whether a set may be called so: in one folder with all others, seen there, and shown as it is."""
    single = Path(text).name == text and not text.startswith(".") and "\\" not in text
    return single and text.isprintable() and 0 < len(text) <= LONGEST_NAME


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images in a fixed order.

    Attributes:
        name: what suites call it.
        images: uint8 (N, H, W, 3), RGB: in memory, or photographs that are decoded when they are looked at, or numbers
            of images of which only what a network made of them is at hand.
        labels: int64 (N,); what they mean is up to the set; -1 where nobody said what is in the image.
        source: where the pixels come from, for people.
        indices: int64 (N,), where each image stands in the whole set; counted from 0 if not given.
        classes: what the labels 0, 1, ... are called; empty where nobody said.
    """

    name: str
    images: npt.NDArray[np.uint8] | Photographs | Numbered
    labels: npt.NDArray[np.int64]
    source: str
    indices: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    classes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not len(self.indices):
            object.__setattr__(self, "indices", np.arange(len(self.images)))

    def __len__(self) -> int:
        return len(self.images)

    @property
    def unlabelled(self) -> bool:
        """Whether nobody said of any image what is in it."""
        return bool((self.labels < 0).all())

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over shape, pixels and labels: two sets with the same fingerprint are the same images.

        Of photographs, the encoded files and what is done to them stand for the pixels; of images that are not at
        hand, what was noted of them.
        """
        if isinstance(self.images, Numbered):
            return self.images.identity
        labels = np.ascontiguousarray(self.labels).tobytes()
        if isinstance(self.images, Photographs):
            return digest(str(self.images.shape), *self.images.identity, labels)
        # A view and no copy: a set may be as large as memory allows.
        return digest(str(self.images.shape), np.ascontiguousarray(self.images).reshape(-1).data, labels)

    def pixels(self, which: npt.NDArray[np.int64] | slice = slice(None)) -> npt.NDArray[np.uint8]:
        """The images at positions `which`, uint8 (n, H, W, 3), decoded if need be."""
        return np.asarray(self.images[which])

    def split(self, count: int) -> "tuple[ImageSet, ImageSet]":
        """Split off `count` images, drawn at random, the same ones every time; both parts keep the set's order."""
        drawn = np.isin(np.arange(len(self)), np.random.default_rng(0).permutation(len(self))[:count])
        return self._select(~drawn), self._select(drawn)

    def called(self, name: str) -> "ImageSet":
        """Return the same images under another name."""
        return replace(self, name=name)

    def first(self, count: int) -> "ImageSet":
        """The first `count` images, for sets whose order is part of what they are; `spread` is for all others."""
        return self._select(slice(count))

    def part(self, which: slice) -> "ImageSet":
        """The images at the positions `which`."""
        return self._select(which)

    def spread(self, count: int | None) -> "ImageSet":
        """Take `count` images (None: all) in the set's order, of each label its share, each share evenly spread.

        So it is whether a set is sorted by class, in turns, or shuffled; without labels it is at even distances.
        """
        if count is None or count >= len(self):
            return self
        by_label = np.argsort(self.labels, kind="stable")
        return self._select(np.sort(by_label[np.arange(count) * len(self) // count]))

    def mixed(self) -> "ImageSet":
        """Order images so that neighbours are of many labels: as they are, unless that goes label by label.

        Then a permutation, the same one every time. Windows of neighbours, and the images at the front, then stand for
        the whole set.
        """
        _, sizes = np.unique(self.labels, return_counts=True)
        changes = np.count_nonzero(np.diff(self.labels))
        expected = len(self) * (1 - ((sizes / max(1, len(self))) ** 2).sum())
        return self if 2 * changes >= expected else self.shuffled()

    def shuffled(self) -> "ImageSet":
        """The images in a random order, the same one every time."""
        return self._select(np.random.default_rng(0).permutation(len(self)))

    def _select(self, which: npt.NDArray[np.bool_] | npt.NDArray[np.int64] | slice) -> "ImageSet":
        return replace(self, images=self.images[which], labels=self.labels[which], indices=self.indices[which])
