"""One's own images, in whatever format they come, as packs."""

import json
import re
import zipfile
from collections.abc import Iterable, Sequence
from math import isqrt
from pathlib import Path

import numpy as np

from oodbench.errors import OodbenchError
from oodbench.images.imageset import ImageSet
from oodbench.images.packs import write_pack
from oodbench.images.photographs import write_photographs
from oodbench.images.preprocessing import checked
from oodbench.progress import progress
from oodbench.sources.archives import members, refuse_bomb
from oodbench.sources.pickles import pixels_of, unpickled
from oodbench.sources.readers import array, idx, in_folder, pictures, svhn
from oodbench.sources.source import Pixels

IMAGES = r"(?i:(.*/)?[^/.][^/]*\.(jpg|jpeg|png|bmp|webp))"
"""Image files, but for those that begin with a dot, which some systems leave behind."""

IDX, IDX_LABELS = "-images-idx3-ubyte", "-labels-idx1-ubyte"
"""What MNIST calls its files of images, and those of their labels beside them."""

PICKLED = b"\x80"
"""First byte of every pickle since its second protocol."""


def pack_pixels(path: Path, name: str, side: int, data: Path) -> Path:
    """A pack of the images in a folder, an archive or a file of arrays.

    Image files are resized so that their shorter side is `side`, and their middle is cut out; folders become labels.
    Arrays keep their size: SVHN's `.mat`, `.npy` and `.npz` (uint8 (N, H, W, 3) as `images`, integers as `labels`),
    MNIST's idx, one pickled batch of CIFAR's.

    Raises:
        OodbenchError: nothing is there, or it is broken.
    """
    _require(path)
    (images, labels), said, about = _arrays(path), path.name, {}
    if not len(images):
        images, labels = pictures(IMAGES, side, labelled=True)([path])
        said = f"{path.name}, shorter side resized to {side}, middle cut out"
        about = _about_classes(_folders(found for found, _ in _files(path)))
    target = data / f"{name}.h5"
    write_pack(target, ImageSet(name, images, labels, said), about)
    return target


def pack_files(path: Path, name: str, data: Path) -> Path:
    """A pack of the image files in a folder or an archive, as they are; folders become labels.

    Raises:
        OodbenchError: nothing is there, or an image is broken.
    """
    _require(path)
    names = [found for found, _ in _files(path)]
    folders = _folders(names)
    target = data / f"{name}.h5"
    with progress(f"packing {name}", len(names)) as advance:

        def labelled() -> Iterable[tuple[str, bytes, int]]:
            for found, content in _files(path):
                yield found, checked(content, f"{path}: {found}"), folders.index(found.rpartition("/")[0])
                advance(1)

        write_photographs(target, labelled(), path.name, _about_classes(folders))
    return target


def _folders(names: Iterable[str]) -> list[str]:
    """In which the images lie, in the order of their labels."""
    return sorted({name.rpartition("/")[0] for name in names})


def _about_classes(folders: Sequence[str]) -> dict[str, str]:
    """What a pack says of its labels: runs refuse to test on other classes than they trained on."""
    return {"classes": json.dumps([folder.rpartition("/")[2] for folder in folders])} if len(folders) > 1 else {}


def _require(path: Path) -> None:
    if not path.exists():
        raise OodbenchError(f"there is no {path}: give a folder of images, an archive of them, or a file of arrays")
    if path.is_dir() and not any(True for _ in in_folder(path)):
        raise OodbenchError(f"{path} holds no image files (jpg, png, bmp, webp)")


def _files(path: Path) -> Iterable[tuple[str, bytes]]:
    found = in_folder(path) if path.is_dir() else members(path)
    return ((name, content) for name, content in found if re.fullmatch(IMAGES, name))


def _arrays(path: Path) -> Pixels:
    """What a file of arrays holds; nothing if it is a folder, or an archive of image files."""
    if path.is_file():
        if path.suffix == ".mat":
            return svhn()([path])
        if path.suffix == ".npy":
            return array()([path])
        if path.suffix == ".npz":
            return _npz(path)
        if IDX in path.name:
            return idx([path, _labels_of(path)])
        with path.open("rb") as file:
            if file.read(1) == PICKLED:
                return _batch(path)
    return np.empty((0, 0, 0, 3), np.uint8), np.empty(0, np.int64)


def _labels_of(path: Path) -> Path:
    labels = path.with_name(path.name.replace(IDX, IDX_LABELS))
    if not labels.is_file():
        raise OodbenchError(f"{path} has its labels in {labels.name}, which is not beside it: put it there")
    return labels


def _npz(path: Path) -> Pixels:
    try:
        with zipfile.ZipFile(path) as archive:
            refuse_bomb(path, sum(member.file_size for member in archive.infolist()))
        with np.load(path, allow_pickle=False) as arrays:
            if "images" not in arrays:
                raise ValueError(f"it holds {', '.join(arrays) or 'nothing'} and no 'images'")
            images = arrays["images"]
            labels = arrays["labels"] if "labels" in arrays else np.full(len(images), -1)
            if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
                raise ValueError(f"images are {images.dtype} {images.shape}, expected uint8 (N, H, W, 3)")
            if labels.dtype.kind not in "iu" or labels.shape not in ((len(images),), (len(images), 1)):
                raise ValueError(f"labels are {labels.dtype} {labels.shape}, expected integers ({len(images)},)")
    except OodbenchError:
        raise
    except Exception as error:  # numpy and zipfile raise many kinds on a damaged file
        raise OodbenchError(f"{path} is not an archive of arrays ({error})") from error
    return images, labels.ravel().astype(np.int64)


def _batch(path: Path) -> Pixels:
    with path.open("rb") as file:
        found = unpickled(file, str(path))
    rows = found["data"]
    labels = next((key for key in ("labels", "fine_labels") if key in found), "labels")
    side = isqrt(rows.shape[1] // 3) if rows.ndim == 2 else 0
    return pixels_of({labels: np.full(len(rows), -1), **found}, labels, side or 1, str(path))
