"""Readers of the formats in which public image sets come. Files are hostile: nothing in them is ever executed."""

import gzip
import io
import re
from collections.abc import Sequence
from functools import partial
from importlib.resources import files
from math import prod
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from oodbench.basics.errors import OodbenchError
from oodbench.images.decoding import decode_file
from oodbench.sources.archives import LARGEST, members, refuse_bomb
from oodbench.sources.pickles import pixels_of, read_batch
from oodbench.sources.source import Pixels, Reader

GZIPPED = b"\x1f\x8b"
"""First bytes of every gzipped file."""


def cifar(batches: Sequence[str], labels: str) -> Reader:
    """CIFAR's archive of pickled batches.

    Args:
        batches: names of the batches, in order.
        labels: name of the labels in them.
    """
    return partial(_cifar, batches=tuple(batches), labels=labels)


def _cifar(paths: Sequence[Path], *, batches: tuple[str, ...], labels: str) -> Pixels:
    (path,) = paths
    batches_by_name: dict[str, Pixels] = {}
    for name, content in members(path):
        batch = name.rpartition("/")[2]
        if batch in batches and batch not in batches_by_name:
            where = f"{path}: {name}"
            batches_by_name[batch] = pixels_of(read_batch(io.BytesIO(content), where), labels, 32, where)
    if missing := [batch for batch in batches if batch not in batches_by_name]:
        raise OodbenchError(f"{path} has no {missing[0]}: it is not the archive it should be")
    images, classes = zip(*(batches_by_name[batch] for batch in batches), strict=True)
    return np.concatenate(images), np.concatenate(classes)


def svhn(each: int | None = None, first: int | None = None) -> Reader:
    """SVHN's Matlab file; label 10 means the digit 0.

    Args:
        each: the first so many images of every digit, in the file's order; None for all.
        first: the first so many of these; None for all.
    """
    return partial(_svhn, per_digit=each, count=first)


def _svhn(paths: Sequence[Path], *, per_digit: int | None, count: int | None) -> Pixels:
    from scipy.io import loadmat, whosmat

    (path,) = paths
    try:
        refuse_bomb(path, sum(prod(shape) for _, shape, _ in whosmat(path)))
        content = loadmat(path, variable_names=["X", "y"])
        pixels, labels = content["X"], content["y"].ravel().astype(np.int64) % 10
        if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[2:] != (3, len(labels)):
            raise ValueError(f"X is {pixels.dtype} {pixels.shape} and y has {len(labels)} labels")
    except OodbenchError:
        raise
    except Exception as error:  # scipy raises many kinds on a damaged file
        raise OodbenchError(
            f"{path} is not a whole file of SVHN images ({error}): it needs X, uint8 (H, W, 3, N), and y, (N, 1)"
        ) from error
    images = np.ascontiguousarray(pixels.transpose(3, 0, 1, 2))
    if per_digit is not None:
        chosen = np.sort(np.concatenate([np.flatnonzero(labels == digit)[:per_digit] for digit in range(10)]))
        images, labels = images[chosen], labels[chosen]
    return images[:count], labels[:count]


def pictures(pattern: str, side: int, listed: str | None = None, labelled: bool = False) -> Reader:
    """Image files in archives, in the order of their names.

    Each is resized so that its shorter side is `side` (Pillow's bilinear filter, with antialiasing), and its middle cut
    out: the transform of Chen et al. 2021 for all folder sets, so a 36 x 36 image is resized and not cropped.

    Args:
        pattern: regular expression that an image's whole name matches.
        side: of the result, in pixels.
        listed: file below `lists/` (gzip) with the names to take, without folders; None for all.
        labelled: number the folders, in order of their names, as labels; else all labels are -1.
    """
    return partial(_pictures, pattern=re.compile(pattern), side=side, listed=listed, labelled=labelled)


def _pictures(
    paths: Sequence[Path], *, pattern: re.Pattern[str], side: int, listed: str | None, labelled: bool
) -> Pixels:
    wanted = names_listed(listed) if listed else None
    pixels_by_name: dict[str, npt.NDArray[np.uint8]] = {}
    for path in paths:
        for name, content in members(path):
            if not pattern.fullmatch(name) or (wanted is not None and name.rpartition("/")[2] not in wanted):
                continue
            pixels_by_name[name] = decode_square(content, side, f"{path}: {name}")
    names = sorted(pixels_by_name)
    if not names:
        raise OodbenchError(
            f"{paths[0]} holds no image whose name matches {pattern.pattern}: it is not the archive it should be"
        )
    if wanted is not None and len(names) < len(wanted):
        raise OodbenchError(
            f"{paths[0]} holds {len(names)} of the {len(wanted)} images that the set consists of: get it again"
        )
    folders = sorted({_folder(name) for name in names})
    labels = [folders.index(_folder(name)) if labelled else -1 for name in names]
    return np.stack([pixels_by_name[name] for name in names]), np.asarray(labels, np.int64)


def decode_square(content: bytes, side: int, where: str) -> npt.NDArray[np.uint8]:
    """Decode an image file to uint8 (side, side, 3), see `pictures`."""
    return square(decode_file(content, where), side)


def square(image: Image.Image, side: int) -> npt.NDArray[np.uint8]:
    """Resize and cut an RGB image to uint8 (side, side, 3), see `pictures`."""
    width, height = image.size
    shorter = min(width, height)
    if shorter != side:
        image = image.resize((side * width // shorter, side * height // shorter), Image.Resampling.BILINEAR)
    left, top = round((image.width - side) / 2), round((image.height - side) / 2)
    return np.asarray(image.crop((left, top, left + side, top + side)))


def array(count: int | None = None) -> Reader:
    """A NumPy file of images, uint8 (N, H, W, 3); the first `count` of them."""
    return partial(_array, count=count)


def _array(paths: Sequence[Path], *, count: int | None) -> Pixels:
    (path,) = paths
    try:
        images = np.load(path, mmap_mode="r", allow_pickle=False)[:count]
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
            raise ValueError(f"it holds {images.dtype} {images.shape}")
    except Exception as error:  # numpy raises many kinds on a damaged header
        raise OodbenchError(
            f"{path} is not an array of 8-bit RGB images ({error}): get it again from where it came"
        ) from error
    return np.ascontiguousarray(images), np.full(len(images), -1, np.int64)


def idx(paths: Sequence[Path]) -> Pixels:
    """MNIST's pair of files, gzipped or not, images and labels; grey is repeated in three channels."""
    images, labels = (_idx(path) for path in paths)
    if images.ndim != 3 or labels.shape != images.shape[:1]:
        raise OodbenchError(
            f"{paths[0]} and {paths[1]} hold {images.shape} and {labels.shape}, which are not images (N, H, W) and "
            "their labels (N,): get both again"
        )
    return np.repeat(images[..., None], 3, axis=3), labels.astype(np.int64)


def _idx(path: Path) -> npt.NDArray[np.uint8]:
    try:
        with path.open("rb") as file:
            gzipped = file.read(2) == GZIPPED
        with gzip.open(path) if gzipped else path.open("rb") as stream:
            content = stream.read(LARGEST)
        axes = content[3]
        shape = tuple(int.from_bytes(content[4 + 4 * axis : 8 + 4 * axis], "big") for axis in range(axes))
        return np.frombuffer(content, np.uint8, offset=4 + 4 * axes).reshape(shape)
    except (OSError, EOFError, ValueError, IndexError) as error:
        raise OodbenchError(f"{path} is not a whole idx file of bytes ({error}): get it again") from error


def names_listed(name: str | None) -> frozenset[str]:
    """The names in the list `name` (gzip, below `lists/`), without folders; none for None."""
    if name is None:
        return frozenset()
    content = (files("oodbench.sources") / "lists" / name).read_bytes()
    return frozenset(entry.rpartition("/")[2] for entry in gzip.decompress(content).decode().split())


def _folder(name: str) -> str:
    return name.rpartition("/")[0]
