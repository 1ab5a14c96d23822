"""Photographs: image files of any size in one HDF5 file, decoded only when they are looked at.

`files` uint8 (B,), one encoded image behind the other; `ends` int64 (N,), where each of them ends; `labels` int64 (N,);
`names` (N,), for people. Sets of this kind are larger than memory, so nothing here ever holds all of one.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from oodbench.basics.errors import OodbenchError
from oodbench.basics.hdf5 import new_hdf5
from oodbench.images.decoding import DECODERS, BrokenImageError
from oodbench.images.preprocessing import Preprocessing

CHUNK = 4 << 20
"""Bytes of a chunk of `files`: larger than HDF5's cache, so that one image is read without its chunk."""

LONGEST = 60_000
"""Bytes of a text that is an attribute of the file; HDF5 takes 64 KiB at most, and leaves little room for others."""

Rows = npt.NDArray[np.int64]


def write_photographs(
    path: Path,
    photographs: Iterable[tuple[str, bytes, int]],
    source: str,
    about: Mapping[str, str] | None = None,
    decoding: str = "stored",
) -> int:
    """Write image files to `path`, whole or not at all, as they come, and return how many there were.

    Args:
        path: of the pack.
        photographs: name, content and label of each, in the order that the set is defined in.
        source: where they come from, for people.
        about: further attributes of the file.
        decoding: how they are to be decoded, a name of `oodbench.images.decoding.DECODERS`.

    Raises:
        StorageError: the disk is full or cannot be written.
        OodbenchError: there are no image files.
    """
    names, ends, labels, content = [], [], [], sha256()
    with new_hdf5(path) as target:
        pack = target.file
        data = pack.create_dataset("files", (0,), np.uint8, maxshape=(None,), chunks=(CHUNK,))
        for name, file, label in photographs:
            start = data.shape[0]
            data.resize((start + len(file),))
            data[start:] = np.frombuffer(file, np.uint8)
            content.update(hashed_part(file))
            names.append(name)
            ends.append(start + len(file))
            labels.append(label)
            target.require_room()
        if not names:
            raise OodbenchError(f"there are no images for {path}, and nothing was written: give at least one file")
        pack["ends"], pack["labels"] = np.asarray(ends, np.int64), np.asarray(labels, np.int64)
        pack.create_dataset("names", data=names, dtype=h5py.string_dtype())
        known = {"name": path.stem, "source": source, "sha256": content.hexdigest(), "decoding": decoding}
        write_attributes(pack, {**(about or {}), **known})
    return len(names)


def hashed_part(file: bytes) -> bytes:
    """The bytes that one image file adds to the digest by which a pack knows its content."""
    return len(file).to_bytes(8, "little") + file


def write_attributes(pack: h5py.File, about: Mapping[str, str]) -> None:
    """Note what a pack is: attributes of the file, or datasets where a text is too long for HDF5's attributes."""
    for name, text in about.items():
        if len(text.encode()) > LONGEST:
            pack.create_dataset(name, data=text, dtype=h5py.string_dtype())
        else:
            pack.attrs[name] = text


def attribute_text(pack: h5py.File, name: str, otherwise: str = "") -> str:
    """The text that `write_attributes` noted under `name`; `otherwise` where there is none."""
    text = pack.attrs.get(name)
    if text is None and isinstance(pack.get(name), h5py.Dataset) and pack[name].shape == ():
        text = pack[name].asstr()[()]
    return otherwise if text is None else str(text)


@dataclass(frozen=True, eq=False)
class Photographs:
    """Some rows of a pack of image files, as an array of uint8 (N, side, side, 3) that is decoded on demand.

    A slice or an array of positions gives these rows, still undecoded; `numpy.asarray` decodes.

    Attributes:
        path: of the pack.
        content: SHA-256 over its image files, as noted when it was written.
        ends: where each file of the pack ends, int64 (M,).
        rows: of the pack, int64 (N,).
        preprocessing: how decoded files become squares.
        decoding: how files are decoded, a name of `oodbench.images.decoding.DECODERS`.
    """

    path: Path
    content: str
    ends: Rows
    rows: Rows
    preprocessing: Preprocessing
    decoding: str = "stored"

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(N, side, side, 3)."""
        return len(self.rows), self.preprocessing.side, self.preprocessing.side, 3

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, which: Any) -> "Photographs":
        return replace(self, rows=self.rows[which])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[np.uint8]:
        pixels = np.empty(self.shape, np.uint8)
        for square, file, row in zip(pixels, self.files(), self.rows, strict=True):
            try:
                square[...] = self.preprocessing(DECODERS[self.decoding](file))
            except BrokenImageError as error:
                raise OodbenchError(
                    f"{self.path}: image {row}, {self.names()[row]}, is broken ({error}): `oodbench data verify "
                    f"{self.path.stem}` names all that are; pack whole ones, or leave them out with "
                    "`oodbench data pack --skip-broken`"
                ) from error
        return pixels

    def names(self) -> Sequence[str]:
        """The names that the files of the whole pack had, (M,)."""
        try:
            with h5py.File(self.path, "r", locking=False) as pack:
                return [str(name) for name in pack["names"].asstr()[()]]
        except (OSError, RuntimeError, KeyError, ValueError):  # for people only: a pack may do without
            return [f"file {row}" for row in range(len(self.ends))]

    def files(self) -> Iterator[bytes]:
        """The encoded images, one after the other.

        Raises:
            OodbenchError: the pack is damaged.
        """
        try:
            with h5py.File(self.path, "r", locking=False) as pack:
                data = pack["files"]
                for row in self.rows:
                    yield data[self.ends[row - 1] if row else 0 : self.ends[row]].tobytes()
        except (OSError, RuntimeError, KeyError, MemoryError) as error:
            raise OodbenchError(
                f"{self.path} is not a whole HDF5 file ({error}): get it again from where it came, or pack it again"
            ) from error

    @cached_property
    def identity(self) -> tuple[str, bytes, str]:
        """The values that decoded pixels depend on: files, rows, and what is done to them; part of fingerprints."""
        # Packs that do not say how are older than the choice: what they were is not to change.
        how = "" if self.decoding == "stored" else f", {self.decoding}"
        return self.content, self.rows.tobytes(), f"{self.preprocessing!r}{how}"

    def broken_files(self) -> list[str]:
        """Decode all files, and list those that cannot be decoded: name and what is wrong."""
        problems = []
        for row, file in zip(self.rows, self.files(), strict=True):
            try:
                DECODERS[self.decoding](file)
            except BrokenImageError as error:
                problems.append(f"{self.names()[row]}: {error}")
        return problems

    def damage(self) -> str | None:
        """Read all of the pack's image files, and say whether they are other ones than were written; None if not."""
        content = sha256()
        for file in replace(self, rows=np.arange(len(self.ends))).files():
            content.update(hashed_part(file))
        return None if content.hexdigest() == self.content else f"{self.path}: its image files are not what they were"
