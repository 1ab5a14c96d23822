"""Source: what is known of a public image set."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

Pixels = tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]
"""Images, uint8 (N, H, W, 3), and labels, int64 (N,), -1 where there are none."""

Reader = Callable[[Sequence[Path]], Pixels]
"""Downloaded files to images, in the order that the set is defined in."""


@dataclass(frozen=True)
class RemoteFile:
    """A file to download.

    Attributes:
        urls: where it is, first choice first.
        digest: "md5:..." or "sha256:..." as its publisher, or a library that checks it, gives it.
        size: in bytes, about; for people.
        saved_as: what it is called on disk; the last part of its address if not given.
    """

    urls: tuple[str, ...]
    digest: str
    size: int
    saved_as: str = ""

    @property
    def name(self) -> str:
        """What it is called on disk."""
        return self.saved_as or self.urls[0].rpartition("/")[2]


@dataclass(frozen=True)
class Source:
    """A public image set.

    Attributes:
        title: one line: what it is and which part of it.
        files: what to download.
        read: makes images of them.
        count: how many images there must be.
        terms: licence or terms of use, as far as they are known.
        note: what a user should know before believing a number on it.
    """

    title: str
    files: tuple[RemoteFile, ...]
    read: Reader
    count: int
    terms: str
    note: str = ""

    @property
    def size(self) -> int:
        """Bytes to download."""
        return sum(file.size for file in self.files)
