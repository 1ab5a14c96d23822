"""Attacked images that a run kept, as image sets: anybody can score them again, without attacking."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from oodbench.basics.errors import OodbenchError
from oodbench.basics.words import printable
from oodbench.images.imageset import ImageSet, images_digest, is_name
from oodbench.results.store import Cell, Scores

KEPT_IMAGES = "images"
"""The extra that holds the images of an attacked group."""

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class KeptImages:
    """One image set as one attack left it.

    Attributes:
        images: called IMAGESET-TASK-DETECTOR-CELL, with the labels and the places that the images had before.
        about: which attack on which network it was, and the digest of the images.
    """

    images: ImageSet
    origin: dict[str, str]


def kept_image_sets(cell: Cell) -> Iterator[KeptImages]:
    """Every set of attacked images in a cell.

    Raises:
        OodbenchError: the file is damaged, or its images are not those that were scored.
    """
    cell_attributes = cell.attributes()
    for group in cell.read():
        if KEPT_IMAGES not in group.extras:
            continue
        images = verified_images(cell, group)
        origin = {
            name: str(cell_attributes.get(name, "")) for name in ("detector", "seed", "network", "network_digest")
        }
        origin |= {name: str(group.attributes.get(name, "")) for name in ("constants", "images_sha256")}
        source = (
            f"{group.image_set} as attacked for {origin['detector']} of {cell.path.name}: "
            f"{group.attributes.get('threat', group.task)}"
        )
        name = f"{group.image_set}-{group.task}-{origin['detector']}-{cell.path.stem}"
        if not is_name(name):
            raise OodbenchError(
                f"{cell.path}: its images cannot be a set, {printable(name)[:80]!r} is not the name of one: it was "
                "written by something else than `oodbench run`"
            )
        yield KeptImages(ImageSet(name, images, group.labels, source, group.indices), origin)


def verified_images(cell: Cell, group: Scores) -> Pixels:
    """The images that a group kept.

    Raises:
        OodbenchError: they are not those that were scored.
    """
    images = group.extras[KEPT_IMAGES]
    where = f"{cell.path}, {group.task} on {group.image_set}"
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
        raise OodbenchError(f"{where}: the kept images are {images.dtype} {images.shape}, expected uint8 (N, H, W, 3)")
    pixels = images.astype(np.uint8, copy=False)
    if images_digest(pixels) != group.attributes.get("images_sha256"):
        raise OodbenchError(
            f"{where}: the kept images are not those that were scored, their SHA-256 is another one: run it again with "
            "--keep-images"
        )
    return pixels
