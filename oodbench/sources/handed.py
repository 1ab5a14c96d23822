"""Takes images as people have them in their own code: arrays, folders, torch Datasets and DataLoaders."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from oodbench.basics.errors import OodbenchError, OodbenchWarning
from oodbench.basics.words import printable
from oodbench.images.decoding import BrokenImageError, as_displayed, decode_with_notes, formats_of
from oodbench.images.imageset import ImageSet
from oodbench.images.preprocessing import Preprocessing
from oodbench.sources.classes import folder_classes
from oodbench.sources.folders import contents, few_names, survey
from oodbench.sources.labels import Labels, as_array, whole_numbers

IMAGE_NAMES = ("image", "pixel_values", "img")
LABEL_NAMES = ("label", "labels")


@dataclass(frozen=True)
class TakenImages:
    """Images of a caller, and their labels as far as these were given.

    Attributes:
        images: an `ImageSet`, or what `oodbench.scoring.user_input.as_given` takes.
        labels: int64 (N,); None where nobody said.
        numbers: whether images came as tensors or arrays, to which no preprocessing is applied.
    """

    images: Any
    labels: Labels | None = None
    numbers: bool = False


def take_images(
    images: Any, what: str, name: str, preprocessing: Preprocessing | None = None, labelled: bool = True
) -> TakenImages:
    """Take the images of one set, whatever holds them.

    Args:
        images: a folder or archive of image files, whose folders are classes where there are at least two; a torch
            Dataset or DataLoader of images or of (image, label); a pair (images, labels); or images as they are.
        what: they are called in messages.
        name: of the set.
        preprocessing: of image files and Pillow's images; None leaves them as they are, if all are of one size.
        labelled: labels are of use. If they are not, as of OOD images, whatever else a Dataset or DataLoader gives
            beside an image, such as a mask or a path, is left alone.

    Raises:
        OodbenchError: there are none, some cannot be read, they are of several sizes, or what stands where labels are
            expected is no whole number an image.
    """
    if isinstance(images, str | Path):
        return _from_files(Path(images), what, name, preprocessing)
    if isinstance(images, Dataset | DataLoader) or _are_pillow_images(images):
        return _from_items(images, what, preprocessing, labelled)
    if _is_pair(images):
        return _from_pair(images, what, name, preprocessing)
    if isinstance(images, ImageSet):
        return TakenImages(images, None if images.unlabelled else images.labels)
    return TakenImages(images, numbers=True)


def _from_files(path: Path, what: str, name: str, preprocessing: Preprocessing | None) -> TakenImages:
    if not path.exists():
        raise OodbenchError(f"{what}: there is no {path}: give a folder or an archive of image files")
    surveyed = survey(path)
    classes = folder_classes(surveyed)
    pixels, labels, broken = [], [], []
    for picture, content in contents(surveyed):
        try:
            if picture.amiss:
                raise BrokenImageError(picture.amiss)
            image, _ = decode_with_notes(content, formats_of(picture.name))
        except BrokenImageError as error:
            broken.append(f"{printable(picture.name)} ({error})")
            continue
        pixels.append(preprocessing(image) if preprocessing else np.asarray(image))
        labels.append(classes.label(picture))
    if broken:
        raise OodbenchError(
            f"{what}: {len(broken)} of {len(surveyed.pictures)} image files in {path} cannot be read: "
            f"{few_names(broken)}; put whole ones in their place, or `oodbench data pack --skip-broken` makes a pack "
            "without them"
        )
    if not pixels:
        raise OodbenchError(f"{what}: {path} holds no image files: give a folder or an archive of some")
    known = np.asarray(labels, np.int64)
    images = ImageSet(name, _stack_of_one_size(pixels, what), known, str(path), classes=tuple(classes.names))
    return TakenImages(images, None if images.unlabelled else known)


def _from_pair(images: tuple[Any, Any], what: str, name: str, preprocessing: Preprocessing | None) -> TakenImages:
    """Take a pair of images and their labels."""
    first = take_images(images[0], what, name, preprocessing)
    labels = whole_numbers(
        images[1],
        len(first.images),
        f"{what}: the labels of the pair (images, labels)",
        "give such labels, or the images alone where nobody said what is in them",
    )
    return replace(first, labels=labels)


def _from_items(items: Any, what: str, preprocessing: Preprocessing | None, labelled: bool) -> TakenImages:
    """Take what a Dataset or DataLoader gives, one item after the other."""
    batched, giver = isinstance(items, DataLoader), f"{what}: the {type(items).__name__}"
    count = None if batched or not hasattr(items, "__len__") else len(items)
    # Not every Dataset ends by itself: those that can be indexed say how many they have.
    source = items if count is None else (items[place] for place in range(count))
    images: list[Any] = []
    labels: list[int] = []
    for item in source:
        image, label = _split_item(item, giver, quiet=bool(images) or not labelled)
        label = label if labelled else None
        several = _images_of_batch(image, giver) if batched else [image]
        labels += _label_list(label, len(several), f"{giver}, from image {len(images)} on, gives labels that")
        images += [_pixels(image, len(images) + place, what, preprocessing) for place, image in enumerate(several)]
    if not images:
        raise OodbenchError(f"{giver} gives no image: give one that has at least one item")
    known = None if all(label < 0 for label in labels) else np.asarray(labels, np.int64)
    kinds = {isinstance(image, Tensor) for image in images}
    if len(kinds) > 1:
        raise OodbenchError(f"{giver} gives Pillow's images and tensors or arrays: give images of one kind")
    if kinds == {False}:
        return TakenImages(_stack_of_one_size(images, what), known)
    if len({image.shape for image in images}) > 1:
        raise OodbenchError(f"{what} are of several sizes: {_sizes_text([tuple(image.shape) for image in images])}")
    return TakenImages(torch.stack(images), known, numbers=True)


def _split_item(item: Any, giver: str, quiet: bool) -> tuple[Any, Any]:
    """Split an item into image and label, or a batch into images and labels; None where there is no label."""
    if isinstance(item, Mapping):  # as Hugging Face has them
        return _split_mapping(item, giver, quiet)
    if isinstance(item, tuple | list) and item and not _are_pillow_images(item[:2]):
        return item[0], item[1] if len(item) > 1 else None
    return item, None


def _split_mapping(item: Mapping[Any, Any], giver: str, quiet: bool) -> tuple[Any, Any]:
    image = next((name for name in IMAGE_NAMES if name in item), None)
    if image is None:
        raise OodbenchError(
            f"{giver} gives items of {_quoted_names(list(item))}: an image is expected under "
            f"{_quoted_names(IMAGE_NAMES)}"
        )
    label = next((name for name in LABEL_NAMES if name in item), None)
    others = [name for name in item if name != image]
    if label is None and others and not quiet:
        warnings.warn(
            f"{giver} gives {_quoted_names(others)} beside {image!r}, and no 'label', so its images have no labels "
            "here: call what is in them 'label' if one of these says it",
            OodbenchWarning,
            stacklevel=2,
        )
    return item[image], None if label is None else item[label]


def _images_of_batch(images: Any, giver: str) -> list[Any]:
    """Split a batch into its images."""
    if (isinstance(images, Tensor | np.ndarray) and images.ndim) or isinstance(images, list | tuple):
        return [*images]
    raise OodbenchError(f"{giver} gives {type(images).__name__}: batches of images are expected")


def _label_list(value: Any, count: int, what: str) -> list[int]:
    """The labels of `count` images, -1 where nobody said."""
    if value is None:
        return [-1] * count
    advice = "give items (image, label) with such labels, or the image alone where nobody said what is in it"
    return [*map(int, whole_numbers(value, count, what, advice))]


def _pixels(image: Any, place: int, what: str, preprocessing: Preprocessing | None) -> Tensor | npt.NDArray[np.uint8]:
    """Convert one of Pillow's images to an array, as `_from_files` does the same file; numbers to a tensor."""
    if isinstance(image, Tensor | np.ndarray):
        return torch.as_tensor(image).detach().cpu()
    if not isinstance(image, Image.Image):
        raise OodbenchError(f"{what}: image {place} is of the type {type(image).__name__}: an image is expected")
    try:
        seen = as_displayed(image)
    except BrokenImageError as error:
        raise OodbenchError(
            f"{what}: image {place}, of Pillow's mode {image.mode}, cannot be read ({error}): give a whole image "
            "there, of mode RGB if in doubt"
        ) from error
    return preprocessing(seen) if preprocessing else np.asarray(seen)


def _quoted_names(names: Sequence[Any]) -> str:
    return few_names([repr(name) for name in names], 5)


def _are_pillow_images(images: Any) -> bool:
    return isinstance(images, list | tuple) and bool(images) and all(isinstance(image, Image.Image) for image in images)


def _is_pair(images: Any) -> bool:
    """Whether this is a pair of images and their labels, and not of two images."""
    if not isinstance(images, tuple) or len(images) != 2 or isinstance(images[0], str | Path):
        return False
    if isinstance(images[1], Image.Image | ImageSet | Dataset | str | None) or getattr(images[0], "ndim", 4) < 3:
        return False
    return as_array(images[1]).ndim in (1, 2)


def _stack_of_one_size(pixels: Sequence[npt.NDArray[np.uint8]], what: str) -> npt.NDArray[np.uint8]:
    if len({image.shape for image in pixels}) > 1:
        raise OodbenchError(
            f"{what} are of several sizes ({_sizes_text([image.shape for image in pixels])}): say how they become one "
            "with preprocessing=Preprocessing(side, crop)"
        )
    return np.stack(pixels)


def _sizes_text(shapes: Sequence[tuple[int, ...]]) -> str:
    distinct = list(dict.fromkeys(shapes))
    return few_names([" x ".join(map(str, shape)) for shape in distinct], 4)
