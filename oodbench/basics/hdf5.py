"""HDF5 files that are whole or absent, also where the disk is full.

When a write fails inside HDF5, it fails again when the file is closed and when what was open is let go of, where nobody
can catch it; it has been seen to crash the interpreter. Here no write fails as far as HDF5 can see: what the disk
refuses is remembered, the rest is dropped, and the file is given up when HDF5 is done with it.

Files to read come from anywhere: what in one of them points to another file is not followed.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py

from oodbench.basics.files import atomic


def own_dataset(group: h5py.Group, name: str) -> h5py.Dataset | None:
    """Return the dataset of this name if its numbers are in this file; None where there is none, or they are elsewhere.

    A link to another file, and numbers that are kept in one, would have a file from anywhere show what is on this disk.
    """
    link = group.get(name, getlink=True)
    dataset = group[name] if isinstance(link, h5py.HardLink) else None
    return dataset if isinstance(dataset, h5py.Dataset) and not (dataset.external or dataset.is_virtual) else None


def refuse_links(file: h5py.File) -> None:
    """Raise ValueError if anything in the file leads to another place or file, or to a group or dataset a second time.

    What several names lead to would be read once for each of them, and so take many times the room that it says.
    """
    seen = {h5py.h5o.get_info(file.id).addr}

    def is_refused(name: bytes, link: Any) -> bytes | None:
        if link.type != h5py.h5l.TYPE_HARD or link.u in seen:
            return name
        seen.add(link.u)
        return None

    # The first name is returned: h5py cannot be left by an exception here.
    found: bytes | None = file.id.links.visit(is_refused, info=True)
    if found is not None:
        name = found.decode(errors="backslashreplace")
        link = file.id.links.get_info(found)
        reason = "is a second name of something" if link.type == h5py.h5l.TYPE_HARD else "points elsewhere"
        raise ValueError(f"{name!r} {reason} instead of holding its numbers")


class _Patient(io.RawIOBase):
    """A file opened for reading and writing that remembers the first error instead of raising it."""

    def __init__(self, file: io.FileIO) -> None:
        super().__init__()
        self.error: OSError | None = None
        self._file, self._place, self._end = file, 0, 0

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        self._place = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._end}[whence]
        return self._place

    def tell(self) -> int:
        return self._place

    def readinto(self, buffer: "memoryview", /) -> int:  # type: ignore[override]
        self._file.seek(self._place)
        count = self._file.readinto(buffer) or 0
        buffer[count:] = bytes(len(buffer) - count)  # never written, or dropped
        self._place += len(buffer)
        return len(buffer)

    def write(self, data: "memoryview", /) -> int:  # type: ignore[override]
        size = len(data)
        if self.error is None:
            try:
                self._file.seek(self._place)
                left = memoryview(data)
                while len(left):
                    left = left[self._file.write(left) :]
            except OSError as error:
                self.error = error
        self._place += size
        self._end = max(self._end, self._place)
        return size

    def truncate(self, size: int | None = None, /) -> int:
        self._end = self._place if size is None else size
        if self.error is None:
            try:
                self._file.truncate(self._end)
            except OSError as error:
                self.error = error
        return self._end

    def flush(self) -> None:
        pass  # nothing is held back

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True


class Hdf5Target:
    """An HDF5 file that is being written.

    Attributes:
        file: open, to be filled.
    """

    def __init__(self, file: h5py.File, below: _Patient) -> None:
        self.file, self._below = file, below

    def require_room(self) -> None:
        """Raise the OSError with which the disk refused something, if it did: long work need not go on."""
        if self._below.error is not None:
            raise self._below.error


@contextmanager
def new_hdf5(path: Path) -> Iterator[Hdf5Target]:
    """Open a new HDF5 file, which lands at `path` when the block ends well, in place of an earlier one.

    Raises:
        StorageError: the folder cannot be written, or the disk is full; nothing is left behind.
    """
    with atomic(path) as temporary, io.FileIO(temporary, "r+") as raw:
        below = _Patient(raw)
        with h5py.File(below, "w") as file:
            target = Hdf5Target(file, below)
            yield target
        target.require_room()
