"""Source: a public image set, its files and how they are read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

Pixels: TypeAlias = "tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]"
"""Images, uint8 (N, H, W, 3), and labels, int64 (N,), -1 where there are none."""

Reader: TypeAlias = "Callable[[Sequence[Path]], Pixels]"
"""Downloaded files to images, in the order that the set is defined in."""


@dataclass(frozen=True)
class Parts:
    """Images of a set that may be larger than the memory, some at a time, in the set's order."""

    batches: Iterator[Pixels]


@dataclass(frozen=True)
class ImageFiles:
    """Image files as they are, one at a time: name, content and label (-1 where there is none), in the set's order."""

    files: Iterator[tuple[str, bytes, int]]


AnyReader: TypeAlias = "Callable[[Sequence[Path]], Pixels | Parts | ImageFiles]"
"""As `Reader`, also for sets that are not held in memory."""

HEX = {"md5": 32, "sha256": 64}
"""Digits of a whole digest."""


@dataclass(frozen=True)
class RemoteFile:
    """A file to download, or to be fetched by hand.

    Attributes:
        urls: where it is, first choice first; none where it takes a login.
        digest: "md5:..." or "sha256:..." as its publisher, or a library that checks it, gives it; of a SHA-256 the
            first digits will do. "" where none is published, "size:..." where nothing but the exact size in bytes is
            known and the file is too large to be hashed for nothing: neither proves what the file is.
        size: in bytes, about; for people, and a limit to what is received. None where it is not known.
        saved_as: its name on disk; the last part of its address if not given.
        where: for a file without an address, where a person has it from: "from ..., after a login".
    """

    urls: tuple[str, ...]
    digest: str
    size: int | None
    saved_as: str = ""
    where: str = ""

    @property
    def name(self) -> str:
        """Its name on disk."""
        return self.saved_as or self.urls[0].rpartition("/")[2]

    @property
    def proven(self) -> bool:
        """Whether its digest shows that it is the right file."""
        return self.digest.partition(":")[0] in HEX

    @property
    def abridged(self) -> int:
        """The number of digits of its digest that are known, if not all of them are; else 0."""
        kind, _, digits = self.digest.partition(":")
        return len(digits) if kind in HEX and len(digits) < HEX[kind] else 0


def remote_file(url: str, digest: str, megabytes: float | None, *mirrors: str, saved_as: str = "") -> RemoteFile:
    """A file at `url`, or the same at a mirror, of about so many megabytes."""
    return RemoteFile((url, *mirrors), digest, None if megabytes is None else int(megabytes * 1e6), saved_as)


def drive_file(identifier: str, saved_as: str, megabytes: float | None = None) -> RemoteFile:
    """A file on Google Drive, for which no digest is published."""
    url = f"https://drive.usercontent.google.com/download?id={identifier}&export=download&confirm=t"
    return remote_file(url, "", megabytes, saved_as=saved_as)


def file_by_hand(name: str, digest: str, megabytes: float | None, where: str) -> RemoteFile:
    """A file that takes a login: people fetch it themselves."""
    return RemoteFile((), digest, None if megabytes is None else int(megabytes * 1e6), name, where)


@dataclass(frozen=True)
class Source:
    """A public image set.

    Attributes:
        title: one line: what it is and which part of it.
        files: to download.
        read: makes images of them.
        count: how many images there must be; None where no source that says it was found.
        terms: licence or terms of use, as far as they are known.
        note: what a user should know before believing a number on it.
        sized: makes the reader of another number of images than the default; None where the set is what it is.
        measured: fingerprint of the images that figures in results/reference were measured on; "" if that is not known.
    """

    title: str
    files: tuple[RemoteFile, ...]
    read: AnyReader
    count: int | None
    terms: str
    note: str = ""
    sized: Callable[[int], AnyReader] | None = None
    measured: str = ""

    @property
    def size(self) -> int | None:
        """Bytes to download, about; None where a file's size is not known."""
        sizes = [file.size for file in self.files]
        return None if None in sizes else sum(size for size in sizes if size is not None)

    @property
    def proven(self) -> bool:
        """Whether all its files have published digests."""
        return all(file.proven for file in self.files)
