"""Image packs: an image set as one HDF5 file, `images` uint8 (N, H, W, 3) and `labels` int64 (N,).

A pack of image files instead of pixels is described in `oodbench.images.photographs`.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt

from oodbench.basics.errors import OodbenchError
from oodbench.basics.hdf5 import new_hdf5, own_dataset
from oodbench.images.decoding import DECODERS
from oodbench.images.imageset import ImageSet
from oodbench.images.photographs import Photographs, attribute_text, write_attributes
from oodbench.images.preprocessing import Preprocessing

REPACK = "write it again with oodbench.images.packs.write_pack"
REPACK_FILES = "write it again with oodbench.images.photographs.write_photographs"
AGAIN = "get it again from where it came, or pack it again"
PREPROCESSING = Preprocessing()
ROOM = 1 << 28
"""Bytes that any dataset may say to hold; a larger one must have them in the file, or nothing but memory is spent."""

SHRINKS = 1100
"""The factor by which HDF5's filters may have shrunk a dataset: gzip reaches 1,032."""

CHUNK = 256
"""Images that are compressed together."""


def write_pack(path: Path, images: ImageSet, about: Mapping[str, str] | None = None) -> None:
    """Write `images` to `path`, whole or not at all; `about` becomes file attributes (split, note, classes as JSON)."""
    write_parts(path, images.name, [(images.pixels(), images.labels)], images.source, about)


def write_parts(
    path: Path,
    name: str,
    parts: Iterable[tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]],
    source: str,
    about: Mapping[str, str] | None = None,
) -> int:
    """Write a set that may be larger than the memory, some images at a time; the pack is whole or not there.

    Args:
        path: of the pack.
        name: of the set.
        parts: images, uint8 (n, H, W, 3), and labels, int64 (n,), as they come.
        source: where they come from, for people.
        about: further attributes of the file.

    Returns:
        How many images there were.

    Raises:
        OodbenchError: there were none.
        StorageError: the disk is full or cannot be written.
    """
    count = 0
    with new_hdf5(path) as target:
        pack = target.file
        for images, labels in parts:
            if not count:
                shape = images.shape[1:]
                options = {"chunks": (CHUNK, *shape), "compression": "lzf"}
                pack.create_dataset("images", (0, *shape), np.uint8, maxshape=(None, *shape), **options)
                pack.create_dataset("labels", (0,), np.int64, maxshape=(None,))
            for dataset, more in (("images", images), ("labels", labels)):
                pack[dataset].resize(count + len(images), axis=0)
                pack[dataset][count:] = more
            count += len(images)
            target.require_room()
        if not count:
            raise OodbenchError(f"there are no images for {path}, and nothing was written: give at least one image")
        write_attributes(pack, {**(about or {}), "name": name, "source": source})
    return count


def read_pack(path: Path, name: str, preprocessing: Preprocessing | None = PREPROCESSING) -> ImageSet:
    """Read the image set in a pack, called `name`. A pack without labels gives -1 for each.

    Args:
        path: of the pack.
        name: of the set.
        preprocessing: what is done to image files; pixels are taken as they are.

    Raises:
        OodbenchError: what is wrong with the file.
    """
    if not path.is_file():
        raise OodbenchError(
            f"there is no image pack {path}: make one with `oodbench data pack`, or say where packs are with --data DIR"
        )
    try:
        with _open_pack(path) as pack:
            images = _photographs(path, pack, preprocessing) if "files" in pack else _images(path, pack)
            labels = _labels(path, pack, len(images))
            source, classes = attribute_text(pack, "source", path.name), _classes(attribute_text(pack, "classes"))
            return ImageSet(name, images, labels, source, classes=classes)
    except MemoryError as error:
        raise OodbenchError(
            f"the images of {path} do not fit into memory ({error}): pack fewer, or keep image files as they are "
            "(`oodbench data pack --files`)"
        ) from error


def read_parts(path: Path, size: int = CHUNK) -> Iterator[npt.NDArray[np.uint8]]:
    """Read the images of a pack of pixels, `size` at a time, uint8 (n, H, W, 3): it may be larger than the memory.

    Raises:
        OodbenchError: what is wrong with the file.
    """
    with _open_pack(path) as pack:
        data = _pixels(path, pack)
        for start in range(0, len(data), size):
            yield data[start : start + size]


def holds_files(path: Path) -> bool:
    """Whether it is a pack of image files, and not of pixels.

    Raises:
        OodbenchError: it is no HDF5 file.
    """
    with _open_pack(path) as pack:
        return "files" in pack


def address_of(path: Path) -> str:
    """The address on the hub that a pack was made from; "" for another.

    Raises:
        OodbenchError: it is no pack.
    """
    with _open_pack(path) as pack:
        return attribute_text(pack, "address")


def note_of(path: Path) -> str:
    """The note of a pack on what should be known of it; "" if it has none.

    Raises:
        OodbenchError: it is no pack.
    """
    with _open_pack(path) as pack:
        return attribute_text(pack, "note")


def skipped(path: Path) -> str:
    """Say how many files were left out of a pack because they were broken; "" if none.

    Raises:
        OodbenchError: it is no pack.
    """
    with _open_pack(path) as pack:
        text = attribute_text(pack, "skipped", "{}")
    try:
        entries = json.loads(text)
    except ValueError:
        return ""
    return f"{len(entries):,} broken files left out" if isinstance(entries, dict) and entries else ""


def length(path: Path) -> int:
    """Count the images of a pack without reading them.

    Raises:
        OodbenchError: it is no pack.
    """
    with _open_pack(path) as pack:
        data = _own_dataset(path, pack, "ends" if "files" in pack else "images")
        return len(data) if data is not None and data.ndim else 0


@contextmanager
def _open_pack(path: Path) -> Iterator[h5py.File]:
    """Open a pack for reading; inside, what h5py raises is the file's fault."""
    try:
        with h5py.File(path, "r", locking=False) as pack:
            yield pack
    except (OSError, RuntimeError, KeyError) as error:
        raise OodbenchError(f"{path} is not a whole HDF5 file ({error}): {AGAIN}") from error


def _photographs(path: Path, pack: h5py.File, preprocessing: Preprocessing | None) -> Photographs:
    if preprocessing is None:
        raise OodbenchError(
            f"{path} holds image files, and nobody said how they become the network's input: say it in the suite's "
            "file, [network.preprocessing] with side = 224 for one"
        )
    data, ends = _own_dataset(path, pack, "files"), _own_dataset(path, pack, "ends")
    if data is None or data.dtype != np.uint8 or data.ndim != 1 or ends is None or ends.dtype.kind not in "iu":
        raise OodbenchError(f"{path} is not a pack of image files: it needs 'files' and 'ends'; {REPACK_FILES}")
    edges = np.concatenate([[0], ends[()].astype(np.int64).ravel()])
    if len(edges) < 2 or (np.diff(edges) <= 0).any() or edges[-1] != len(data):
        raise OodbenchError(f"{path}: 'ends' does not say where each of its image files ends; {REPACK_FILES}")
    content = str(pack.attrs.get("sha256", ""))
    if not content:
        raise OodbenchError(f"{path} does not say the SHA-256 of its image files; {REPACK_FILES}")
    decoding = attribute_text(pack, "decoding", "stored")
    if decoding not in DECODERS:
        raise OodbenchError(
            f"{path} wants its images decoded as {decoding!r}, and known are {', '.join(DECODERS)}: was it written by "
            "a newer oodbench?"
        )
    return Photographs(path, content, edges[1:], np.arange(len(edges) - 1), preprocessing, decoding)


def _images(path: Path, pack: h5py.File) -> npt.NDArray[np.uint8]:
    images: npt.NDArray[np.uint8] = _pixels(path, pack)[()]
    return images


def _pixels(path: Path, pack: h5py.File) -> h5py.Dataset:
    """The images, not yet read."""
    data = _own_dataset(path, pack, "images")
    if data is None:
        raise OodbenchError(f"{path} has no dataset 'images', only {sorted(pack)}; {REPACK}")
    if data.dtype != np.uint8:
        broken = " and holds NaN" if data.dtype.kind == "f" and np.isnan(data[()]).any() else ""
        raise OodbenchError(f"{path}: 'images' is {data.dtype}{broken}, expected uint8 from 0 to 255; {REPACK}")
    if data.ndim != 4 or data.shape[3] != 3:
        first = data.ndim == 4 and data.shape[1] == 3
        grey = data.ndim == 3 or data.shape[3:] == (1,)
        hint = " (channels first?)" if first else " (grey? repeat it in three channels)" if grey else ""
        raise OodbenchError(f"{path}: 'images' has shape {data.shape}{hint}: expected (N, H, W, 3), RGB; {REPACK}")
    if not data.size:
        raise OodbenchError(f"{path} holds no images: its shape is {data.shape}; {REPACK}")
    return data


def _labels(path: Path, pack: h5py.File, count: int) -> npt.NDArray[np.int64]:
    data = _own_dataset(path, pack, "labels")
    if data is None:
        return np.full(count, -1, dtype=np.int64)
    if data.dtype.kind not in "iu" or data.shape != (count,):
        raise OodbenchError(f"{path}: 'labels' is {data.dtype} {data.shape}, expected integers ({count},); {REPACK}")
    labels: npt.NDArray[np.int64] = data[()].astype(np.int64)
    return labels


def _classes(text: str) -> tuple[str, ...]:
    """Names of classes as JSON; none where it is something else."""
    try:
        names = json.loads(text)
    except ValueError:
        return ()
    return tuple(map(str, names)) if isinstance(names, list) else ()


def _own_dataset(path: Path, pack: h5py.File, name: str) -> h5py.Dataset | None:
    """The dataset, refused if its pixels would come from another file than this one."""
    data = own_dataset(pack, name)
    if data is None and pack.get(name, getlink=True) is not None:
        raise OodbenchError(f"{path}: {name!r} points elsewhere instead of holding its data; {REPACK}")
    if data is not None and data.size * data.dtype.itemsize > max(ROOM, SHRINKS * data.id.get_storage_size()):
        raise OodbenchError(f"{path}: {name!r} says that it holds more than the file has room for; {REPACK}")
    return data
