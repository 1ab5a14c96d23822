"""Images that sets have in common, whatever the sets and their labels are called."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import combinations

import numpy as np
import numpy.typing as npt

from oodbench.basics.errors import OodbenchError
from oodbench.basics.files import digest
from oodbench.images.imageset import ImageSet, image_digests
from oodbench.images.numbered import Numbered
from oodbench.images.photographs import Photographs

Marks = npt.NDArray[np.int64]

READ = 256 << 20
"""Bytes of a pack of image files up to which these are read for this."""

REPEATED = 0.01
"""Share of a set that may be repeats without a word: so few narrow no interval by as much as its rounding."""


@dataclass(frozen=True, eq=False)
class Contents:
    """Images by what tells each from all others.

    Attributes:
        name: what messages call them.
        marks: one of each image, int64 (N,): eight bytes of the SHA-256 of its pixels or of its file, or its place in a
            set that is not read.
        within: what the marks are of; they compare only where this is the same.
        unit: what messages call what the marks stand for.
    """

    name: str
    marks: Marks
    within: str
    unit: str = "images"

    def joined_with(self, more: "Contents") -> "Contents":
        """Add further images of the same kind, under the name of these."""
        return replace(self, marks=np.concatenate([self.marks, more.marks]))


@dataclass(frozen=True)
class Overlap:
    """Images of one set that are in another as well.

    Attributes:
        one: what the set is called.
        other: what the other is called.
        count: images of `one` that are in `other`.
        size: images of `one`.
        unit: what they are called.
    """

    one: str
    other: str
    count: int
    size: int
    unit: str = "images"

    @property
    def whole(self) -> bool:
        """Whether all of `one` is in `other`."""
        return self.count == self.size

    def __str__(self) -> str:
        many = f"all {self.size:,}" if self.whole else f"{self.count:,} of {self.size:,}"
        return f"{many} {self.unit} of {self.one} are {self.unit} of {self.other}"

    @property
    def sets(self) -> tuple[str, ...]:
        """Names of the sets that it is about."""
        return self.one, self.other

    @property
    def warning(self) -> str:
        """What it means for figures, in words."""
        return f"{self}: figures that rest on these are too good or too bad"


@dataclass(frozen=True)
class Repeats:
    """Images of a set that are the same as earlier ones of it.

    Attributes:
        name: what the set is called.
        count: images that repeat another.
        size: images of the set.
    """

    name: str
    count: int
    size: int

    def __str__(self) -> str:
        return f"{self.count:,} of {self.size:,} images of {self.name} repeat others of it"

    @property
    def sets(self) -> tuple[str, ...]:
        """Names of the sets that it is about."""
        return (self.name,)

    @property
    def warning(self) -> str:
        """What it means for figures, in words."""
        return f"{self}: intervals take each for another image, and are too narrow"


def contents(images: ImageSet, name: str = "") -> Contents:
    """Tell the images of a set apart, called `name` if that is said.

    Image files are not decoded for this, and go by their bytes, or in a large pack by their places in it. So they never
    compare with pixels, and those of a large pack only with its copies.
    """
    called, pixels = name or images.name, images.images
    if isinstance(pixels, Photographs) and pixels.ends[-1] <= READ:
        raw = b"".join(sha256(file).digest() for file in pixels.files())
        return Contents(called, _marks(np.frombuffer(raw, np.uint8).reshape(len(pixels), 32)), "files")
    if isinstance(pixels, Photographs):
        return Contents(called, pixels.rows, digest("photographs", pixels.content))
    if isinstance(pixels, Numbered):
        return Contents(called, pixels.rows, digest("numbered", pixels.fingerprint))
    return Contents(called, _marks(image_digests(pixels)), "pixels")


def rows_contents(name: str, rows: npt.NDArray[np.float32]) -> Contents:
    """Images by what a network made of each, (N, D); rows that recur are left out, since zeros tell no image."""
    raw = b"".join(sha256(row.tobytes()).digest() for row in rows)
    marks, counts = np.unique(_marks(np.frombuffer(raw, np.uint8).reshape(len(rows), 32)), return_counts=True)
    return Contents(name, marks[counts == 1], "rows", "unique rows")


def _marks(digests: npt.NDArray[np.uint8]) -> Marks:
    return np.ascontiguousarray(digests[:, :8]).view(np.int64).ravel()


def common(one: Contents, other: Contents) -> Overlap | None:
    """Images of `one` that are in `other`; None where none are."""
    count = int(np.isin(one.marks, other.marks).sum()) if one.within == other.within else 0
    return Overlap(one.name, other.name, count, len(one.marks), one.unit) if count else None


def overlap(one: Contents, other: Contents) -> Overlap | None:
    """The overlap of two sets, said of the one of which it is the larger part; None where there is none."""
    both_ways = [shared for shared in (common(one, other), common(other, one)) if shared]
    return max(both_ways, key=lambda shared: shared.count / shared.size, default=None)


def repeats(images: Contents) -> Repeats | None:
    """The repeats within a set; None where there are next to none, or where its images were not read."""
    size = len(images.marks)
    count = size - len(np.unique(images.marks))
    return Repeats(images.name, count, size) if count > REPEATED * size else None


def same_images(one: Contents, other: Contents) -> bool:
    """Whether each image of either is in the other."""
    both_ways = (common(one, other), common(other, one))
    return all(shared is not None and shared.whole for shared in both_ways)


def overlaps(pairs: Iterable[tuple[Contents, Contents]]) -> list[Overlap]:
    """The overlaps of pairs of sets that have images in common."""
    return [shared for one, other in pairs if (shared := overlap(one, other))]


def require_apart(known: Iterable[Contents], tested: Collection[str] = ()) -> list[str]:
    """Check that no set is a part of another.

    Args:
        known: the sets.
        tested: names of OOD test sets, which may be parts of each other, but not the same.

    Returns:
        A line for each two that share some images, and for each OOD test set that repeats its own.

    Raises:
        OodbenchError: a set is a part of another.
    """
    known, lines = list(known), list[str]()
    for one, other in combinations(known, 2):
        if same_images(one, other):
            raise OodbenchError(f"{one.name} and {other.name} are the same {one.unit}: give each its own")
        if not (one.name in tested and other.name in tested) and (shared := overlap(one, other)):
            if shared.whole:
                raise OodbenchError(f"{shared}: give each its own")
            lines.append(shared.warning)
    return lines + [found.warning for images in known if images.name in tested and (found := repeats(images))]
