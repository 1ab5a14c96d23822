"""Packs checked against what they should be."""

from dataclasses import dataclass
from pathlib import Path

from oodbench.errors import OodbenchError
from oodbench.images.imageset import ImageSet
from oodbench.images.packs import length, read_pack
from oodbench.images.photographs import Photographs
from oodbench.images.preprocessing import checked
from oodbench.sources.catalogue import SOURCES
from oodbench.sources.fetch import check_count, check_pixels


@dataclass(frozen=True)
class Verdict:
    """Whether a pack is what it should be, and what there is to say."""

    good: bool
    said: str


def verify(name: str, data: Path) -> Verdict:
    """Is the pack of a public image set whole and what it should be?"""
    pack = data / f"{name}.h5"
    try:
        images = read_pack(pack, name)
        said = _of_photographs if isinstance(images.images, Photographs) else _of_pixels
        return Verdict(True, said(images, pack))
    except OodbenchError as error:
        return Verdict(False, str(error))


def unlike(name: str, data: Path) -> str:
    """How the pack in the data folder differs from the public set of its name; "" if it does not, or there is no such.

    Only the number of images is looked at: what the pixels are, fingerprints tell.

    Raises:
        OodbenchError: it is no pack.
    """
    source, pack = SOURCES.get(name), data / f"{name}.h5"
    if source is None or source.count is None or source.sized is not None or not pack.is_file():
        return ""
    found = length(pack)
    return "" if found == source.count else f"{name} has {found:,} images, not the {source.count:,} of the public set"


def _of_pixels(images: ImageSet, pack: Path) -> str:
    if images.name in SOURCES and SOURCES[images.name].sized is None:
        check_pixels(images.name, SOURCES[images.name], (images.pixels(), images.labels))
    return f"{len(images):,} images, fingerprint {images.fingerprint[:16]}"


def _of_photographs(images: ImageSet, pack: Path) -> str:
    assert isinstance(images.images, Photographs)
    for number, content in enumerate(images.images.files()):
        checked(content, f"{pack}: file {number}")
    if damage := images.images.damaged():
        raise OodbenchError(f"{damage}; fetch it again")
    if images.name in SOURCES:
        check_count(images.name, SOURCES[images.name], len(images))
    return f"{len(images):,} photographs"
