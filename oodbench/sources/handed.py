"""Images as people have them in their own code: arrays, folders, torch Datasets and DataLoaders."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from oodbench.basics.errors import OodbenchError
from oodbench.basics.words import printable
from oodbench.images.decoding import BrokenImageError, displayed, examined, formats_of
from oodbench.images.imageset import ImageSet
from oodbench.images.preprocessing import Preprocessing
from oodbench.sources.classes import folder_classes
from oodbench.sources.folders import contents, few, survey

Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Handed:
    """Images, and what is in each as far as that was said.

    Attributes:
        images: an `ImageSet`, or what `oodbench.scoring.user_input.as_given` takes.
        labels: int64 (N,); None where nobody said.
        numbers: images came as tensors or arrays, to which no preprocessing is applied.
    """

    images: Any
    labels: Labels | None = None
    numbers: bool = False


def handed(images: Any, what: str, name: str, preprocessing: Preprocessing | None = None) -> Handed:
    """Images of one set, whatever holds them.

    Args:
        images: a folder or archive of image files, whose folders are classes where there are at least two; a torch
            Dataset or DataLoader of images or of (image, label); a pair (images, labels); or images as they are.
        what: they are called in messages.
        name: of the set.
        preprocessing: of image files and Pillow's images; None leaves them as they are, if all are of one size.

    Raises:
        OodbenchError: there are none, some cannot be read, or they are of several sizes.
    """
    if isinstance(images, str | Path):
        return _files(Path(images), what, name, preprocessing)
    if isinstance(images, Dataset | DataLoader) or _are_pillows(images):
        return _items(images, what, preprocessing)
    if isinstance(images, tuple) and len(images) == 2 and _are_labels(images[1], images[0]):
        return Handed(images[0], np.asarray(images[1], np.int64), numbers=True)
    if isinstance(images, ImageSet):
        return Handed(images, None if images.unlabelled else images.labels)
    return Handed(images, numbers=True)


def _files(path: Path, what: str, name: str, preprocessing: Preprocessing | None) -> Handed:
    if not path.exists():
        raise OodbenchError(f"{what}: there is no {path}: give a folder or an archive of image files")
    found = survey(path)
    classes = folder_classes(found)
    pixels, labels, broken = [], [], []
    for picture, content in contents(found):
        try:
            if picture.amiss:
                raise BrokenImageError(picture.amiss)
            image, _ = examined(content, formats_of(picture.name))
        except BrokenImageError as error:
            broken.append(f"{printable(picture.name)} ({error})")
            continue
        pixels.append(preprocessing(image) if preprocessing else np.asarray(image))
        labels.append(classes.label(picture))
    if broken:
        raise OodbenchError(
            f"{what}: {len(broken)} of {len(found.pictures)} image files in {path} cannot be read: {few(broken)}; put "
            "whole ones in their place, or `oodbench data pack --skip-broken` makes a pack without them"
        )
    if not pixels:
        raise OodbenchError(f"{what}: {path} holds no image files")
    known = np.asarray(labels, np.int64)
    images = ImageSet(name, _of_one_size(pixels, what), known, str(path), classes=tuple(classes.names))
    return Handed(images, None if images.unlabelled else known)


def _items(items: Any, what: str, preprocessing: Preprocessing | None) -> Handed:
    """What a Dataset or DataLoader gives, one after the other."""
    batched = isinstance(items, DataLoader)
    count = None if batched or not hasattr(items, "__len__") else len(items)
    # Not every Dataset ends by itself: those that can be indexed say how many they have.
    source = items if count is None else (items[place] for place in range(count))
    images: list[Any] = []
    labels: list[Any] = []
    for item in source:
        image, label = _apart(item)
        images += [*image] if batched else [image]
        labels += [None] if label is None else [*np.asarray(label).ravel()] if batched else [label]
    if not images:
        raise OodbenchError(f"{what}: the {type(items).__name__} gives no image")
    known = None if any(label is None for label in labels) else np.asarray(labels, np.int64)
    if isinstance(images[0], Image.Image):
        return Handed(_of_one_size(_pixels(images, what, preprocessing), what), known)
    if not all(isinstance(image, Tensor | np.ndarray) for image in images):
        raise OodbenchError(f"{what}: the {type(items).__name__} gives {type(images[0]).__name__}: images are expected")
    tensors = [torch.as_tensor(image).detach().cpu() for image in images]
    if len({tensor.shape for tensor in tensors}) > 1:
        raise OodbenchError(f"{what} are of several sizes: {_sizes([tuple(one.shape) for one in tensors])}")
    return Handed(torch.stack(tensors), known, numbers=True)


def _pixels(images: Sequence[Any], what: str, preprocessing: Preprocessing | None) -> list[npt.NDArray[np.uint8]]:
    """Those of Pillow's images, as `_files` has them of the same files."""
    found = []
    for place, image in enumerate(images):
        if not isinstance(image, Image.Image):
            raise OodbenchError(
                f"{what}: image {place} is {type(image).__name__}, and others are Pillow's: give one kind"
            )
        try:
            seen = displayed(image)
        except BrokenImageError as error:
            raise OodbenchError(
                f"{what}: image {place}, of Pillow's mode {image.mode}, cannot be read ({error}): put a whole one in "
                "its place"
            ) from error
        found.append(preprocessing(seen) if preprocessing else np.asarray(seen))
    return found


def _apart(item: Any) -> tuple[Any, Any]:
    """Image and label of an item, or images and labels of a batch; no label where there is none."""
    if isinstance(item, Mapping):  # as Hugging Face has them
        image = next((item[name] for name in ("image", "pixel_values", "img") if name in item), None)
        return image, next((item[name] for name in ("label", "labels") if name in item), None)
    if isinstance(item, tuple | list):
        return item[0], item[1] if len(item) > 1 and _is_label(item[1]) else None
    return item, None


def _is_label(value: Any) -> bool:
    if isinstance(value, Tensor):
        return not value.is_floating_point() and value.ndim <= 1
    return isinstance(value, int | np.integer) or (isinstance(value, np.ndarray) and value.ndim <= 1)


def _are_pillows(images: Any) -> bool:
    return isinstance(images, list | tuple) and bool(images) and all(isinstance(one, Image.Image) for one in images)


def _are_labels(value: Any, images: Any) -> bool:
    """One whole number for each image, and not a second image."""
    try:
        found = np.asarray(value)
        return found.ndim == 1 and found.dtype.kind in "iu" and len(found) == len(images)
    except (TypeError, ValueError):
        return False


def _of_one_size(pixels: Sequence[npt.NDArray[np.uint8]], what: str) -> npt.NDArray[np.uint8]:
    if len({one.shape for one in pixels}) > 1:
        raise OodbenchError(
            f"{what} are of several sizes ({_sizes([one.shape for one in pixels])}): say how they become one with "
            "preprocessing=Preprocessing(side, crop)"
        )
    return np.stack(pixels)


def _sizes(shapes: Sequence[tuple[int, ...]]) -> str:
    distinct = list(dict.fromkeys(shapes))
    return few([" x ".join(map(str, shape)) for shape in distinct], 4)
