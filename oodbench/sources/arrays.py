"""Image sets that come as arrays in one file. Files are hostile: nothing in them is ever executed."""

import re
import zipfile
from collections.abc import Callable, Mapping
from math import isqrt, prod
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from oodbench.errors import OodbenchError
from oodbench.sources.archives import refuse_bomb
from oodbench.sources.pickles import pixels_of, unpickled
from oodbench.sources.readers import idx, svhn
from oodbench.sources.source import Pixels

IMAGES, LABELS = ("images", "data", "x", "X"), ("labels", "targets", "y")
"""What arrays of images and of labels are called; the first name that is there is taken."""


def from_mat(path: Path) -> Pixels:
    """SVHN's Matlab file."""
    return svhn()([path])


def from_npy(path: Path) -> Pixels:
    """A NumPy file of images."""
    try:
        return as_images(np.load(path, mmap_mode="r", allow_pickle=False)), np.empty(0, np.int64)
    except Exception as error:  # numpy raises many kinds on a damaged header
        raise OodbenchError(f"{path} is not an array of 8-bit RGB images ({error})") from error


def from_npz(path: Path) -> Pixels:
    """NumPy's archive with an array of images, and perhaps one of labels."""
    try:
        with zipfile.ZipFile(path) as archive:
            refuse_bomb(path, sum(member.file_size for member in archive.infolist()))
        with np.load(path, allow_pickle=False) as arrays:
            return _named(arrays, list(arrays))
    except OodbenchError:
        raise
    except Exception as error:  # numpy and zipfile raise many kinds on a damaged file
        raise OodbenchError(f"{path} is not an archive of arrays ({error})") from error


def from_hdf5(path: Path) -> Pixels:
    """An HDF5 file with a dataset of images, and perhaps one of labels; also Matlab 7.3's, whose axes are reversed."""
    try:
        with h5py.File(path, "r", locking=False) as file:
            # What links to another file, or keeps its numbers in one, is not part of this one.
            own = [name for name in file if isinstance(file.get(name, getlink=True), h5py.HardLink)]
            sets = {name: file[name] for name in own if isinstance(file[name], h5py.Dataset)}
            found = {name: one for name, one in sets.items() if not (one.external or one.is_virtual)}
            refuse_bomb(path, sum(int(prod(one.shape)) * one.dtype.itemsize for one in found.values()))
            reverse: Callable[[Any], Any] = (lambda one: one[()].T) if _of_matlab(path) else (lambda one: one[()])
            wanted = {name: reverse(one) for name, one in found.items() if name in (*IMAGES, *LABELS)}
            return _named(wanted, sorted(file), last_axis=_of_matlab(path))
    except OodbenchError:
        raise
    except Exception as error:  # h5py raises many kinds on a damaged file
        raise OodbenchError(
            f"{path} is an HDF5 file from which no images can be read ({error}): it needs a dataset 'images', uint8 "
            "(N, H, W, 3), and perhaps 'labels', integers (N,)"
        ) from error


def from_torch(path: Path) -> Pixels:
    """What torch.save wrote of tensors: images, or images and labels as a pair or by name."""
    import torch

    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
        if isinstance(found, torch.Tensor):
            return as_images(found.numpy()), np.empty(0, np.int64)
        if isinstance(found, tuple | list) and len(found) == 2 and all(isinstance(one, torch.Tensor) for one in found):
            found = dict(zip(("images", "labels"), found, strict=True))
        if not isinstance(found, dict):
            raise ValueError(f"it holds a {type(found).__name__} and no tensor")
        tensors = {str(name): one.numpy() for name, one in found.items() if isinstance(one, torch.Tensor)}
        return _named(tensors, list(map(str, found)))
    except Exception as error:  # torch raises many kinds on what it may not load
        said = str(error).splitlines()[0][:200]
        raise OodbenchError(
            f"{path} is a torch.save file from which no images can be read ({said}): it needs a uint8 tensor "
            "(N, H, W, 3) or (N, 3, H, W), alone, with integer labels as a pair, or as 'images' and 'labels' of a dict"
        ) from error


def from_idx(path: Path) -> Pixels:
    """MNIST's file of images; its labels lie beside it."""
    return idx([path, _labels_beside(path)])


def _labels_beside(path: Path) -> Path:
    """What the file of labels is called: `t10k-labels-idx1-ubyte` beside `t10k-images-idx3-ubyte`, also with `.gz`."""
    name = re.sub("images", "labels", path.name).replace("idx3", "idx1")
    plain = name.removesuffix(".gz")
    variants = [re.sub(r"[-.]idx1", f"{mark}idx1", plain) + end for mark in ("-", ".") for end in ("", ".gz")]
    for candidate in (name, *variants):
        if candidate != path.name and path.with_name(candidate).is_file():
            return path.with_name(candidate)
    said = name if name != path.name else "a file whose name says 'labels' where its own says 'images'"
    raise OodbenchError(f"{path} has its labels in {said}, which is not beside it: put it there")


def from_pickle(path: Path) -> Pixels:
    """One pickled batch of CIFAR's."""
    with path.open("rb") as file:
        found = unpickled(file, str(path))
    rows = found["data"]
    labels = next((key for key in ("labels", "fine_labels") if key in found), "labels")
    side = isqrt(rows.shape[1] // 3) if rows.ndim == 2 else 0
    return pixels_of({labels: np.full(len(rows), -1), **found}, labels, side or 1, str(path))


READERS: Mapping[str, Callable[[Path], Pixels]] = {
    "mat": from_mat,
    "npy": from_npy,
    "npz": from_npz,
    "hdf5": from_hdf5,
    "torch": from_torch,
    "idx": from_idx,
    "pickle": from_pickle,
}
"""By the word of `oodbench.sources.kinds`. No labels at all mean -1 everywhere."""


def as_images(array: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Images as uint8 (N, H, W, 3): channels first are turned, grey is repeated in three channels.

    Raises:
        ValueError: these are none.
    """
    shape = array.shape
    said = f"images are {array.dtype} {shape}, expected uint8 (N, H, W, 3)"
    if array.dtype != np.uint8:
        scaled = ": multiply by 255 and round, if 1 is white" if array.dtype.kind == "f" else ""
        raise ValueError(f"{said}{scaled}")
    if array.ndim == 3 and shape[2] > 4:
        array = array[..., None]
    elif array.ndim == 4 and shape[3] not in (1, 3) and shape[1] in (1, 3):
        array = array.transpose(0, 2, 3, 1)
    if array.ndim != 4 or array.shape[3] not in (1, 3) or not array.size:
        raise ValueError(said)
    return np.ascontiguousarray(array if array.shape[3] == 3 else np.repeat(array, 3, axis=3))


def _named(arrays: Mapping[str, Any], there: list[str], last_axis: bool = False) -> Pixels:
    name = next((name for name in IMAGES if name in arrays), None)
    if name is None:
        raise ValueError(f"it holds {', '.join(there[:10]) or 'nothing'} and no 'images'")
    images = np.asarray(arrays[name])
    images = as_images(images.transpose(3, 0, 1, 2) if last_axis and images.ndim == 4 else images)
    of_labels = next((one for one in LABELS if one in arrays), None)
    if of_labels is None:
        return images, np.empty(0, np.int64)
    labels = np.asarray(arrays[of_labels])
    whole = labels.dtype.kind == "f" and last_axis and np.all(labels == np.rint(labels))  # Matlab's numbers are floats
    if not (labels.dtype.kind in "iu" or whole) or labels.shape not in ((len(images),), (len(images), 1)):
        raise ValueError(f"labels are {labels.dtype} {labels.shape}, expected integers ({len(images)},)")
    return images, labels.ravel().astype(np.int64)


def _of_matlab(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(10) == b"MATLAB 7.3"
