"""Which images sets have in common, whatever the sets and their labels are called."""

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

    def and_of(self, more: "Contents") -> "Contents":
        """With further images of the same kind, under the name of these."""
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
        """Nothing of `one` is outside `other`."""
        return self.count == self.size

    def __str__(self) -> str:
        many = f"all {self.size:,}" if self.whole else f"{self.count:,} of {self.size:,}"
        return f"{many} {self.unit} of {self.one} are {self.unit} of {self.other}"


def contents(images: ImageSet, name: str = "") -> Contents:
    """The images of a set, called `name` if that is said.

    Image files are not decoded for this, and go by their bytes, or in a large pack by their places in it. So they never
    compare with pixels, and those of a large pack only with its copies.
    """
    called, held = name or images.name, images.images
    if isinstance(held, Photographs) and held.ends[-1] <= READ:
        raw = b"".join(sha256(file).digest() for file in held.files())
        return Contents(called, _marks(np.frombuffer(raw, np.uint8).reshape(len(held), 32)), "files")
    if isinstance(held, Photographs):
        return Contents(called, held.rows, digest("photographs", held.content))
    if isinstance(held, Numbered):
        return Contents(called, held.rows, digest("numbered", held.fingerprint))
    return Contents(called, _marks(image_digests(held)), "pixels")


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
    """What two sets have in common, said of the one of which it is the larger part; None where it is nothing."""
    both = [found for found in (common(one, other), common(other, one)) if found]
    return max(both, key=lambda each: each.count / each.size, default=None)


def same_images(one: Contents, other: Contents) -> bool:
    """Each image of either is in the other."""
    both = (common(one, other), common(other, one))
    return all(found is not None and found.whole for found in both)


def overlaps(pairs: Iterable[tuple[Contents, Contents]]) -> list[Overlap]:
    """What each of some pairs of sets have in common, where that is something."""
    return [found for one, other in pairs if (found := overlap(one, other))]


def require_apart(known: Iterable[Contents], tested: Collection[str] = ()) -> list[str]:
    """See to it that no set is a part of another.

    Args:
        known: the sets.
        tested: names of OOD test sets, which may be parts of each other, but not the same.

    Returns:
        What two of them share, a line for each such two.

    Raises:
        OodbenchError: a set is a part of another.
    """
    found = []
    for one, other in combinations(known, 2):
        if same_images(one, other):
            raise OodbenchError(f"{one.name} and {other.name} are the same {one.unit}: give each its own")
        if not (one.name in tested and other.name in tested) and (shared := overlap(one, other)):
            if shared.whole:
                raise OodbenchError(f"{shared}: give each its own")
            found.append(f"{shared}: figures that rest on these are too good or too bad")
    return found
