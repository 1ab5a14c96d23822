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
from oodbench.sources.pickles import pixels_of, read_batch
from oodbench.sources.readers import idx

IMAGES = ("images", "image", "data", "x", "X", "imgs", "arr_0")
LABELS = ("labels", "label", "targets", "target", "y", "Y")
"""Names of arrays of images and of labels; the first one that is there is taken."""

BYTES = {"double": 8, "int64": 8, "uint64": 8, "single": 4, "int32": 4, "uint32": 4, "int16": 2, "uint16": 2}
"""Bytes of a number, by Matlab's name of its type."""

DIGITS = np.arange(1, 11)
"""SVHN's labels: 10 means the digit 0."""


@dataclass(frozen=True)
class Arrays:
    """The arrays in one file.

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
    """Inside, a file is read that is `what` and needs `needs`; libraries raise nearly anything on a damaged one.

    Raises:
        OodbenchError: it is damaged or hostile.
    """
    try:
        yield
    except OodbenchError:
        raise
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise OodbenchError(
            f"{path} is {what} from which no images can be read ({reason}): it needs {needs}"
        ) from error


def from_mat(path: Path) -> Arrays:
    """Read a Matlab file, such as SVHN's: an array of images, counted by its last axis, and perhaps one of labels."""
    from scipy.io import loadmat, whosmat

    with _reading(path, "a Matlab file", "X, uint8 (H, W, 3, N), and perhaps y, whole numbers (N, 1)"):
        listed = whosmat(path)
        refuse_bomb(path, sum(int(prod(shape)) * BYTES.get(kind, 1) for _, shape, kind in listed))
        names = [name for name, _, _ in listed]
        arrays = _from_named(loadmat(path, variable_names=[*IMAGES, *LABELS]), names, of_matlab=True)
    if {*names} == {"X", "y"} and np.array_equal(np.unique(arrays.labels), DIGITS):
        return Arrays(arrays.images, arrays.labels % 10, (), "label 10 became 0, as SVHN means it")
    return arrays


def from_npy(path: Path) -> Arrays:
    """Read a NumPy file of images."""
    try:
        return Arrays(as_images(np.load(path, mmap_mode="r", allow_pickle=False)), np.empty(0, np.int64))
    except Exception as error:  # numpy raises many kinds on a damaged header
        raise OodbenchError(
            f"{path} is not an array of 8-bit RGB images ({error}): save uint8 (N, H, W, 3) with numpy.save"
        ) from error


def from_npz(path: Path) -> Arrays:
    """Read NumPy's archive with an array of images, and perhaps one of labels."""
    with _reading(path, "an archive of arrays", "'images', uint8 (N, H, W, 3), and perhaps 'labels', integers (N,)"):
        with zipfile.ZipFile(path) as archive:
            refuse_bomb(path, sum(member.file_size for member in archive.infolist()))
        with np.load(path, allow_pickle=False) as arrays:
            return _from_named(arrays, list(arrays))


def from_hdf5(path: Path) -> Arrays:
    """Read an HDF5 file with a dataset of images, and perhaps one of labels; Matlab 7.3's has its axes reversed."""
    needs = "a dataset 'images', uint8 (N, H, W, 3), and perhaps 'labels', integers (N,)"
    with _reading(path, "an HDF5 file", needs), h5py.File(path, "r", locking=False) as file:
        datasets = {name: dataset for name in file if (dataset := own_dataset(file, name)) is not None}
        refuse_bomb(path, sum(int(prod(dataset.shape)) * dataset.dtype.itemsize for dataset in datasets.values()))
        reverse: Callable[[Any], Any] = (
            (lambda dataset: dataset[()].T) if _is_of_matlab(path) else (lambda dataset: dataset[()])
        )
        wanted = {name: reverse(dataset) for name, dataset in datasets.items() if name in (*IMAGES, *LABELS)}
        return _from_named(wanted, sorted(file), of_matlab=_is_of_matlab(path))


def from_torch(path: Path) -> Arrays:
    """Read tensors that torch.save wrote: images, or images and labels as a pair or by name."""
    import torch

    from oodbench.networks.statedicts import plain_content, reading_problem

    try:
        content = plain_content(path)
    except Exception as error:  # torch raises nearly anything on a damaged or hostile file
        raise OodbenchError(
            f"{path} is a torch.save file from which nothing can be read: {reading_problem(path)}"
        ) from error
    needs = (
        "a uint8 tensor (N, H, W, 3) or (N, 3, H, W), alone, with integer labels as a pair, or as 'images' and "
        "'labels' of a dict"
    )
    with _reading(path, "a torch.save file", needs):
        if isinstance(content, torch.Tensor):
            refuse_bomb(path, content.nbytes)  # a view of one number may be of any size
            return Arrays(as_images(_array_of_tensor(content)), np.empty(0, np.int64))
        if isinstance(content, tuple | list) and len(content) == 2:
            content = dict(zip(("images", "labels"), content, strict=True))
        if not isinstance(content, dict):
            raise ValueError(f"it holds a {type(content).__name__} and no tensor")
        wanted = {name: value for name, value in content.items() if name in (*IMAGES, *LABELS)}
        refuse_bomb(path, sum(value.nbytes for value in wanted.values() if isinstance(value, torch.Tensor)))
        return _from_named({name: _array_of_tensor(value) for name, value in wanted.items()}, list(map(str, content)))


def _array_of_tensor(value: Any) -> Any:
    """Convert a tensor, list or array to an array; NumPy knows no bfloat16."""
    import torch

    if not isinstance(value, torch.Tensor):
        return np.asarray(value)
    return (value.float() if value.dtype == torch.bfloat16 else value).detach().numpy()


def from_safetensors(path: Path) -> Arrays:
    """Read a safetensors file with tensors called as in an .npz file. Nothing in it can be run."""
    with _reading(path, "a safetensors file", "'images', uint8 (N, H, W, 3), and perhaps 'labels', integers (N,)"):
        tensors = load_file(path)
        return _from_named(tensors, tensors)


def from_idx(path: Path) -> Arrays:
    """Read MNIST's file of images; its labels lie beside it."""
    return Arrays(*idx([path, _labels_beside(path)]))


def _labels_beside(path: Path) -> Path:
    """Find the file of labels: `t10k-labels-idx1-ubyte` beside `t10k-images-idx3-ubyte`, also with `.gz`."""
    name = re.sub("images", "labels", path.name.lower()).replace("idx3", "idx1")
    plain = name.removesuffix(".gz")
    files = {file.name.lower(): file for file in path.parent.iterdir() if file.is_file()}
    variants = [re.sub(r"[-.]idx1", f"{mark}idx1", plain) + end for mark in ("-", ".") for end in ("", ".gz")]
    for candidate in (name, *variants):
        if candidate != path.name.lower() and candidate in files:
            return files[candidate]
    expected = name if name != path.name.lower() else "a file whose name says 'labels' where its own says 'images'"
    raise OodbenchError(f"{path} has its labels in {expected}, which is not beside it: put it there")


def from_pickle(path: Path) -> Arrays:
    """Read one pickled batch of CIFAR's."""
    with path.open("rb") as file:
        batch = read_batch(file, str(path))
    rows = batch["data"]
    labels = next((key for key in ("labels", "fine_labels") if key in batch), "labels")
    side = isqrt(rows.shape[1] // 3) if rows.ndim == 2 else 0
    images, numbers = pixels_of({labels: np.full(len(rows), -1), **batch}, labels, side or 1, str(path))
    return Arrays(images, numbers, tuple(name for name in batch if name not in ("data", labels)))


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
    """Convert images to uint8 (N, H, W, 3): channels first are turned, grey is repeated in three channels.

    Raises:
        ValueError: the array does not hold images.
    """
    shape = array.shape
    problem = f"images are {array.dtype} {shape}, expected uint8 (N, H, W, 3)"
    if array.dtype != np.uint8:
        scaled = ": multiply by 255 and round, if 1 is white" if array.dtype.kind == "f" else ""
        raise ValueError(f"{problem}{scaled}")
    if array.ndim == 3 and shape[2] > 4:
        array = array[..., None]
    elif array.ndim == 4 and shape[3] not in (1, 3) and shape[1] in (1, 3):
        array = array.transpose(0, 2, 3, 1)
    if array.ndim != 4 or array.shape[3] not in (1, 3) or not array.size:
        raise ValueError(problem)
    return np.ascontiguousarray(array if array.shape[3] == 3 else np.repeat(array, 3, axis=3))


def _from_named(arrays: Mapping[str, Any], names: Iterable[str], of_matlab: bool = False) -> Arrays:
    names = list(names)
    name = next((name for name in IMAGES if name in arrays), None)
    if name is None:
        raise ValueError(f"it holds {', '.join(names[:10]) or 'nothing'} and no 'images'")
    labels_name = next((label_name for label_name in LABELS if label_name in arrays), None)
    left_out = tuple(label_name for label_name in names if label_name not in (name, labels_name))
    images = np.asarray(arrays[name])
    images = as_images(_images_first(images) if of_matlab else images)
    if labels_name is None:
        return Arrays(images, np.empty(0, np.int64), left_out)
    labels = np.asarray(arrays[labels_name])
    whole_floats = labels.dtype.kind == "f" and of_matlab and np.all(labels == np.rint(labels))  # as Matlab has them
    one_each = labels.size == len(images) == max(labels.shape, default=0)
    if not (labels.dtype.kind in "biu" or whole_floats) or not one_each:
        raise ValueError(f"{labels_name} are {labels.dtype} {labels.shape}, expected integers ({len(images)},)")
    return Arrays(images, labels.ravel().astype(np.int64), left_out)


def _images_first(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Put the axis that counts images first: Matlab has it last, what Python wrote for Matlab may have it first."""
    colours_last = array.ndim == 4 and array.shape[3] in (1, 3) and array.shape[2] not in (1, 3)
    return array if colours_last else np.moveaxis(array, -1, 0)


def _is_of_matlab(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(10) == b"MATLAB 7.3"
