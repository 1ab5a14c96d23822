"""Parts of Tiny-ImageNet by class (Le and Yang 2015). Files are hostile: nothing in them is ever executed.

Labels are places among the WordNet names of all its 200 classes, sorted, so that parts with other classes have other
labels.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import groupby
from pathlib import Path

import numpy as np

from oodbench.basics.errors import OodbenchError
from oodbench.sources.archives import random_access
from oodbench.sources.readers import decode_square, names_listed
from oodbench.sources.source import Pixels, Reader

ROOT = "tiny-imagenet-200"


def tiny_imagenet_train(classes: str, each: int, side: int) -> Reader:
    """The first training images of some classes, class by class, in the order of their names.

    Names are compared as text: after `_1.JPEG` comes `_10.JPEG`. Each image is resized as `readers.pictures` does.

    Args:
        classes: file below `lists/` (gzip) with their WordNet names.
        each: how many of each class.
        side: of the result, in pixels.
    """
    return partial(_train, classes=classes, each=each, side=side)


def tiny_imagenet_val(classes: str, side: int) -> Reader:
    """The validation images of some classes, in the order of the archive's own list of them, which is by number.

    Args:
        classes: file below `lists/` (gzip) with their WordNet names.
        side: of the result, in pixels; resized as `readers.pictures` does.
    """
    return partial(_val, classes=classes, side=side)


def _train(paths: Sequence[Path], *, classes: str, each: int, side: int) -> Pixels:
    (path,) = paths
    with random_access(path) as (names, read):
        wanted, inside = names_listed(classes), (name for name in sorted(names) if name.startswith(f"{ROOT}/train/"))
        images = {
            wordnet_id: [name for name in images_of_class if name.endswith(".JPEG")][:each]
            for wordnet_id, images_of_class in groupby(inside, lambda name: name.split("/")[2])
            if wordnet_id in wanted
        }
        for wordnet_id in sorted(wanted):
            if len(images_of_class := images.get(wordnet_id, [])) < each:
                raise OodbenchError(
                    f"{path} has {len(images_of_class)} training images of {wordnet_id}, and {each} are wanted: it is "
                    "not the archive it should be"
                )
        chosen = [(name, wordnet_id) for wordnet_id in sorted(wanted) for name in images[wordnet_id]]
        return _pixels(path, read, chosen, side)


def _val(paths: Sequence[Path], *, classes: str, side: int) -> Pixels:
    (path,) = paths
    with random_access(path) as (_, read):
        wanted = names_listed(classes)
        rows = [line.split("\t") for line in _text(path, read, f"{ROOT}/val/val_annotations.txt")]
        if not all(len(row) > 1 for row in rows):
            raise OodbenchError(f"{path}: val_annotations.txt is not a list of image files and their classes")
        chosen = [(f"{ROOT}/val/images/{name}", wordnet_id) for name, wordnet_id, *_ in rows if wordnet_id in wanted]
        if missing := wanted - {wordnet_id for _, wordnet_id in chosen}:
            raise OodbenchError(f"{path} has no validation images of {min(missing)}, which the set needs")
        return _pixels(path, read, chosen, side)


def _pixels(path: Path, read: Callable[[str], bytes], chosen: Iterable[tuple[str, str]], side: int) -> Pixels:
    places = {name: place for place, name in enumerate(sorted(_text(path, read, f"{ROOT}/wnids.txt")))}
    images, labels = [], []
    for name, wordnet_id in chosen:
        if wordnet_id not in places:
            raise OodbenchError(f"{path}: wnids.txt has no class {wordnet_id}: it is not the archive it should be")
        images.append(decode_square(_content(path, read, name), side, f"{path}: {name}"))
        labels.append(places[wordnet_id])
    return np.stack(images), np.asarray(labels, np.int64)


def _text(path: Path, read: Callable[[str], bytes], name: str) -> list[str]:
    try:
        return _content(path, read, name).decode().split("\n")[:-1]
    except UnicodeError as error:
        raise OodbenchError(f"{path}: {name} is no text ({error}): it is not the archive it should be") from error


def _content(path: Path, read: Callable[[str], bytes], name: str) -> bytes:
    try:
        return read(name)
    except KeyError as error:
        raise OodbenchError(f"{path} has no {name}: it is not the archive it should be") from error
