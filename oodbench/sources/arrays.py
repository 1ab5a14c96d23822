"""Image sets that come as arrays in one file. Files are hostile: nothing in them is ever executed."""

import re
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import isqrt, prod
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file

from oodbench.basics.errors import OodbenchError
from oodbench.basics.hdf5 import own_dataset
from oodbench.sources.archives import refuse_bomb
from oodbench.sources.pickles import pixels_of, unpickled
from oodbench.sources.readers import idx

IMAGES = ("images", "image", "data", "x", "X", "imgs", "arr_0")
LABELS = ("labels", "label", "targets", "target", "y", "Y")
"""What arrays of images and of labels are called; the first name that is there is taken."""

BYTES = {"double": 8, "int64": 8, "uint64": 8, "single": 4, "int32": 4, "uint32": 4, "int16": 2, "uint16": 2}
"""Of a number of Matlab's."""

DIGITS = np.arange(1, 11)
"""SVHN's labels: 10 means the digit 0."""


@dataclass(frozen=True)
class Arrays:
    """What one file holds.

    Attributes:
        images: uint8 (N, H, W, 3).
        labels: int64 (N,), or none at all.
        left_out: names of what else there is in the file.
        remark: how its labels were understood, where that needs saying.
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    left_out: tuple[str, ...] = ()
    remark: str = ""


@contextmanager
def _reading(path: Path, what: str, needs: str) -> Iterator[None]:
    """In here a file of this kind is read. The libraries raise errors of many kinds on a damaged or hostile one.

    Raises:
        OodbenchError: it is.
    """
    try:
        yield
    except OodbenchError:
        raise
    except Exception as error:
        said = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise OodbenchError(f"{path} is {what} from which no images can be read ({said}): it needs {needs}") from error


def from_mat(path: Path) -> Arrays:
    """A Matlab file with an array of images, the last axis of which counts them, and perhaps one of labels: SVHN's."""
    from scipy.io import loadmat, whosmat

    with _reading(path, "a Matlab file", "X, uint8 (H, W, 3, N), and perhaps y, whole numbers (N, 1)"):
        listed = whosmat(path)
        refuse_bomb(path, sum(int(prod(shape)) * BYTES.get(kind, 1) for _, shape, kind in listed))
        there = [name for name, _, _ in listed]
        found = _named(loadmat(path, variable_names=[*IMAGES, *LABELS]), there, of_matlab=True)
    if {*there} == {"X", "y"} and np.array_equal(np.unique(found.labels), DIGITS):
        return Arrays(found.images, found.labels % 10, (), "label 10 became 0, as SVHN means it")
    return found


def from_npy(path: Path) -> Arrays:
    """A NumPy file of images."""
    try:
        return Arrays(as_images(np.load(path, mmap_mode="r", allow_pickle=False)), np.empty(0, np.int64))
    except Exception as error:  # numpy raises many kinds on a damaged header
        raise OodbenchError(f"{path} is not an array of 8-bit RGB images ({error})") from error


def from_npz(path: Path) -> Arrays:
    """NumPy's archive with an array of images, and perhaps one of labels."""
    with _reading(path, "an archive of arrays", "'images', uint8 (N, H, W, 3), and perhaps 'labels', integers (N,)"):
        with zipfile.ZipFile(path) as archive:
            refuse_bomb(path, sum(member.file_size for member in archive.infolist()))
        with np.load(path, allow_pickle=False) as arrays:
            return _named(arrays, list(arrays))


def from_hdf5(path: Path) -> Arrays:
    """An HDF5 file with a dataset of images, and perhaps one of labels; also Matlab 7.3's, whose axes are reversed."""
    needs = "a dataset 'images', uint8 (N, H, W, 3), and perhaps 'labels', integers (N,)"
    with _reading(path, "an HDF5 file", needs), h5py.File(path, "r", locking=False) as file:
        found = {name: one for name in file if (one := own_dataset(file, name)) is not None}
        refuse_bomb(path, sum(int(prod(one.shape)) * one.dtype.itemsize for one in found.values()))
        reverse: Callable[[Any], Any] = (lambda one: one[()].T) if _of_matlab(path) else (lambda one: one[()])
        wanted = {name: reverse(one) for name, one in found.items() if name in (*IMAGES, *LABELS)}
        return _named(wanted, sorted(file), of_matlab=_of_matlab(path))


def from_torch(path: Path) -> Arrays:
    """What torch.save wrote of tensors: images, or images and labels as a pair or by name."""
    import torch

    from oodbench.networks.statedicts import plain_content, trouble

    try:
        found = plain_content(path)
    except Exception as error:  # torch raises nearly anything on a damaged or hostile file
        raise OodbenchError(f"{path} is a torch.save file from which nothing can be read: {trouble(path)}") from error
    needs = (
        "a uint8 tensor (N, H, W, 3) or (N, 3, H, W), alone, with integer labels as a pair, or as 'images' and "
        "'labels' of a dict"
    )
    with _reading(path, "a torch.save file", needs):
        if isinstance(found, torch.Tensor):
            refuse_bomb(path, found.nbytes)  # a view of one number may be of any size
            return Arrays(as_images(_of_torch(found)), np.empty(0, np.int64))
        if isinstance(found, tuple | list) and len(found) == 2:
            found = dict(zip(("images", "labels"), found, strict=True))
        if not isinstance(found, dict):
            raise ValueError(f"it holds a {type(found).__name__} and no tensor")
        wanted = {name: one for name, one in found.items() if name in (*IMAGES, *LABELS)}
        refuse_bomb(path, sum(one.nbytes for one in wanted.values() if isinstance(one, torch.Tensor)))
        return _named({name: _of_torch(one) for name, one in wanted.items()}, list(map(str, found)))


def _of_torch(value: Any) -> Any:
    """A tensor as an array; NumPy knows no bfloat16. Lists and arrays may stand for tensors."""
    import torch

    if not isinstance(value, torch.Tensor):
        return np.asarray(value)
    return (value.float() if value.dtype == torch.bfloat16 else value).detach().numpy()


def from_safetensors(path: Path) -> Arrays:
    """A safetensors file with tensors called as in an .npz file. Nothing in it can be run."""
    with _reading(path, "a safetensors file", "'images', uint8 (N, H, W, 3), and perhaps 'labels', integers (N,)"):
        found = load_file(path)
        return _named(found, found)


def from_idx(path: Path) -> Arrays:
    """MNIST's file of images; its labels lie beside it."""
    return Arrays(*idx([path, _labels_beside(path)]))


def _labels_beside(path: Path) -> Path:
    """What the file of labels is called: `t10k-labels-idx1-ubyte` beside `t10k-images-idx3-ubyte`, also with `.gz`."""
    name = re.sub("images", "labels", path.name.lower()).replace("idx3", "idx1")
    plain = name.removesuffix(".gz")
    there = {one.name.lower(): one for one in path.parent.iterdir() if one.is_file()}
    variants = [re.sub(r"[-.]idx1", f"{mark}idx1", plain) + end for mark in ("-", ".") for end in ("", ".gz")]
    for candidate in (name, *variants):
        if candidate != path.name.lower() and candidate in there:
            return there[candidate]
    said = name if name != path.name.lower() else "a file whose name says 'labels' where its own says 'images'"
    raise OodbenchError(f"{path} has its labels in {said}, which is not beside it: put it there")


def from_pickle(path: Path) -> Arrays:
    """One pickled batch of CIFAR's."""
    with path.open("rb") as file:
        found = unpickled(file, str(path))
    rows = found["data"]
    labels = next((key for key in ("labels", "fine_labels") if key in found), "labels")
    side = isqrt(rows.shape[1] // 3) if rows.ndim == 2 else 0
    images, numbers = pixels_of({labels: np.full(len(rows), -1), **found}, labels, side or 1, str(path))
    return Arrays(images, numbers, tuple(name for name in found if name not in ("data", labels)))


READERS: Mapping[str, Callable[[Path], Arrays]] = {
    "mat": from_mat,
    "npy": from_npy,
    "npz": from_npz,
    "hdf5": from_hdf5,
    "torch": from_torch,
    "idx": from_idx,
    "pickle": from_pickle,
    "safetensors": from_safetensors,
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


def _named(arrays: Mapping[str, Any], there: Iterable[str], of_matlab: bool = False) -> Arrays:
    there = list(there)
    name = next((name for name in IMAGES if name in arrays), None)
    if name is None:
        raise ValueError(f"it holds {', '.join(there[:10]) or 'nothing'} and no 'images'")
    of_labels = next((one for one in LABELS if one in arrays), None)
    left_out = tuple(one for one in there if one not in (name, of_labels))
    images = np.asarray(arrays[name])
    images = as_images(_images_first(images) if of_matlab else images)
    if of_labels is None:
        return Arrays(images, np.empty(0, np.int64), left_out)
    labels = np.asarray(arrays[of_labels])
    whole = labels.dtype.kind == "f" and of_matlab and np.all(labels == np.rint(labels))  # Matlab's numbers are floats
    one_each = labels.size == len(images) == max(labels.shape, default=0)
    if not (labels.dtype.kind in "biu" or whole) or not one_each:
        raise ValueError(f"{of_labels} are {labels.dtype} {labels.shape}, expected integers ({len(images)},)")
    return Arrays(images, labels.ravel().astype(np.int64), left_out)


def _images_first(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Matlab's arrays count images by the last axis; what Python wrote for Matlab may count them by the first."""
    colours_last = array.ndim == 4 and array.shape[3] in (1, 3) and array.shape[2] not in (1, 3)
    return array if colours_last else np.moveaxis(array, -1, 0)


def _of_matlab(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(10) == b"MATLAB 7.3"
