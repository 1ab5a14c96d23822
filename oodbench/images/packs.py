"""Image packs: an image set as one HDF5 file, `images` uint8 (N, H, W, 3) and `labels` int64 (N,)."""

import io
from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt

from oodbench.errors import OodbenchError
from oodbench.files import write_atomic
from oodbench.images.imageset import ImageSet

REPACK = "write it again with oodbench.images.packs.write_pack"
CHUNK = 256
"""Images that are compressed together."""


def write_pack(path: Path, images: ImageSet, about: Mapping[str, str] | None = None) -> None:
    """Write `images` to `path`, whole or not at all; `about` becomes file attributes (split, note, classes as JSON)."""
    content = io.BytesIO()
    with h5py.File(content, "w") as pack:
        chunks = (min(CHUNK, len(images)), *images.images.shape[1:])
        pack.create_dataset("images", data=images.images, chunks=chunks, compression="lzf")
        pack.create_dataset("labels", data=images.labels)
        pack.attrs.update({**(about or {}), "name": images.name, "source": images.source})
    write_atomic(path, content.getvalue())


def read_pack(path: Path, name: str) -> ImageSet:
    """The image set in a pack, called `name`. A pack without labels gives -1 for each.

    Raises:
        OodbenchError: what is wrong with the file.
    """
    if not path.is_file():
        raise OodbenchError(f"there is no image pack {path}")
    try:
        with h5py.File(path, "r", locking=False) as pack:
            images = _images(path, pack)
            labels = _labels(path, pack, len(images))
            return ImageSet(name, images, labels, str(pack.attrs.get("source", path.name)))
    except (OSError, RuntimeError, KeyError) as error:
        raise OodbenchError(f"{path} is not a whole HDF5 file ({error}); copy it again") from error


def _images(path: Path, pack: h5py.File) -> npt.NDArray[np.uint8]:
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
    images: npt.NDArray[np.uint8] = data[()]
    return images


def _labels(path: Path, pack: h5py.File, count: int) -> npt.NDArray[np.int64]:
    data = _own_dataset(path, pack, "labels")
    if data is None:
        return np.full(count, -1, dtype=np.int64)
    if data.dtype.kind not in "iu" or data.shape != (count,):
        raise OodbenchError(f"{path}: 'labels' is {data.dtype} {data.shape}, expected integers ({count},); {REPACK}")
    labels: npt.NDArray[np.int64] = data[()].astype(np.int64)
    return labels


def _own_dataset(path: Path, pack: h5py.File, name: str) -> h5py.Dataset | None:
    """The dataset, refused if its pixels would come from another file than this one."""
    link = pack.get(name, getlink=True)
    if link is None:
        return None
    data = pack[name] if isinstance(link, h5py.HardLink) else None
    if not isinstance(data, h5py.Dataset) or data.external or data.is_virtual:
        raise OodbenchError(f"{path}: {name!r} points elsewhere instead of holding its data; {REPACK}")
    return data
