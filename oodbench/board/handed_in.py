"""Images from an attack of somebody's own, in one file of arrays: .npz, .h5 or .safetensors; no pickle is opened.

Of each OOD set an array called as the set is, images (N, H, W, 3) or (N, 3, H, W): uint8, or float in [0, 1] on the
8-bit grid. Beside it, where it holds only some of the set's images, an array NAME.indices (N,): the place of each one's
source in the set, counted from 0. Without it, image i is made of image i.
"""

import zipfile
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file

from oodbench.basics.errors import OodbenchError
from oodbench.basics.hdf5 import own_dataset
from oodbench.basics.words import printable
from oodbench.board.archive import Indices, Pixels
from oodbench.board.description import MOST_IMAGES
from oodbench.sources.archives import refuse_bomb
from oodbench.sources.arrays import as_images

OFF_GRID = 1e-3
"""How far from a whole level a float image of the 8-bit grid may lie, in levels."""

INDICES = ".indices"
NPZ, HDF5, SAFETENSORS = (".npz",), (".h5", ".hdf5"), (".safetensors",)
SUFFIXES = (*NPZ, *HDF5, *SAFETENSORS)

Arrays = Mapping[str, npt.NDArray[Any]]


def read(path: Path) -> dict[str, tuple[Pixels, Indices]]:
    """Return the attacked images of each OOD set, uint8 (N, H, W, 3), and the places of their sources, int64 (N,).

    Raises:
        OodbenchError: it is no such file, or images in it are not valid, or not on the 8-bit grid.
    """
    found = _read_arrays(path)
    sets = [name for name in found if not name.endswith(INDICES)]
    if odd := [name for name in found if name.endswith(INDICES) and name.removesuffix(INDICES) not in sets]:
        raise OodbenchError(f"{path} has {printable(odd[0])[:80]} and no images of that set")
    if not sets:
        raise OodbenchError(f"{path} holds no array: give one of each OOD set, called as the set is")
    return {name: _read_set(path, name, found[name], found.get(f"{name}{INDICES}")) for name in sets}


def _read_arrays(path: Path) -> Arrays:
    if path.suffix not in SUFFIXES:
        raise OodbenchError(f"{path} is not a file of arrays that can be read here: give one of {', '.join(SUFFIXES)}")
    if not path.is_file():
        raise OodbenchError(f"there is no file {path}: give the attacked images as one of {', '.join(SUFFIXES)}")
    try:
        return _read_npz(path) if path.suffix in NPZ else _read_hdf5(path) if path.suffix in HDF5 else load_file(path)
    except OodbenchError:
        raise
    except Exception as error:  # the libraries raise errors of many kinds on a damaged or hostile file
        said = printable(" ".join(str(error).split()) or type(error).__name__)[:200]
        raise OodbenchError(f"{path} is no whole file of arrays ({said}): write it again, without pickles") from error


def _read_npz(path: Path) -> Arrays:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if len(set(names)) < len(names):
            raise OodbenchError(f"{path} holds two arrays of one name: which of them counts depends on who reads it")
        refuse_bomb(path, sum(member.file_size for member in archive.infolist()))
    with np.load(path, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays}


def _read_hdf5(path: Path) -> Arrays:
    with h5py.File(path, "r", locking=False) as file:
        found = {name: own_dataset(file, name) for name in file}
        if odd := [name for name, one in found.items() if one is None]:
            raise OodbenchError(f"{path}: {printable(odd[0])[:80]} is no dataset of this file")
        there = {name: one for name, one in found.items() if one is not None}
        refuse_bomb(path, sum(int(prod(one.shape)) * one.dtype.itemsize for one in there.values()))
        return {name: np.asarray(one[()]) for name, one in there.items()}


def _read_set(
    path: Path, name: str, images: npt.NDArray[Any], indices: npt.NDArray[Any] | None
) -> tuple[Pixels, Indices]:
    where = f"{path}, {printable(name)[:80]}"
    pixels = _as_pixels(where, images)
    if len(pixels) > MOST_IMAGES:
        raise OodbenchError(f"{where}: evidence is of {MOST_IMAGES:,} images of a set at most")
    if indices is None:
        return pixels, np.arange(len(pixels))
    if indices.dtype.kind not in "iu" or indices.shape != (len(pixels),):
        raise OodbenchError(
            f"{where}{INDICES} are {indices.dtype} {indices.shape}, expected whole numbers ({len(pixels)},)"
        )
    if len(np.unique(indices)) < len(indices):
        raise OodbenchError(f"{where}{INDICES} names a source twice, and an image counts once")
    return pixels, indices.astype(np.int64)


def _as_pixels(where: str, images: npt.NDArray[Any]) -> Pixels:
    if images.dtype.kind == "f":
        if not (images.size and np.isfinite(images).all() and images.min() >= 0 and images.max() <= 1):
            raise OodbenchError(f"{where}: float images lie in [0, 1], and these do not: divide levels by 255")
        levels = images.astype(np.float64) * 255
        off = np.abs(levels - levels.round()).reshape(len(levels), -1).max(1)
        if (off > OFF_GRID).any():
            raise OodbenchError(
                f"{where}: off the grid: {int((off > OFF_GRID).sum())} of {len(images)} images, the first no. "
                f"{int(np.argmax(off > OFF_GRID))}, lie up to {off.max():.2g} levels beside the 8-bit grid: a detector "
                "is shown 8-bit images, so round yours, see that they stay in the ball, and hand these in"
            )
        images = levels.round().astype(np.uint8)
    try:
        return as_images(images)
    except ValueError as error:
        raise OodbenchError(f"{where}: {error}") from error
