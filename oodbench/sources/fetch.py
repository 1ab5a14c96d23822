"""Public image sets into packs, and packs checked against what they should be."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from oodbench.errors import OodbenchError, unknown
from oodbench.images.imageset import ImageSet
from oodbench.images.packs import read_pack, write_pack
from oodbench.sources.catalogue import SOURCES
from oodbench.sources.download import download
from oodbench.sources.readers import in_folder, pictures
from oodbench.sources.source import Pixels, Source
from oodbench.sources.trained import TRAINED

DOWNLOADS = "downloads"
"""Where, below the data folder, archives are kept as they came."""


@dataclass(frozen=True)
class Verdict:
    """Whether a pack is what it should be, and what there is to say."""

    good: bool
    said: str


def fetch(name: str, data: Path, say: Callable[[str], None]) -> Path:
    """The pack of a public image set in the data folder: downloaded, verified, read and written, whole or not at all.

    Raises:
        OodbenchError: no such source, or what went wrong on the way.
    """
    if name not in SOURCES:
        raise unknown("public image set", name, {*SOURCES, *TRAINED})
    source, pack = SOURCES[name], data / f"{name}.h5"
    if pack.is_file():
        say(f"{name}: {pack} is there already")
        return pack
    files = [download(file, data / DOWNLOADS) for file in source.files]
    say(f"{name}: reading {', '.join(file.name for file in files)}")
    images, labels = source.read(files)
    _check(name, source, (images, labels))
    about = {"terms": source.terms, "note": source.note, "digests": " ".join(file.digest for file in source.files)}
    write_pack(pack, ImageSet(name, images, labels, f"{source.title}; {source.files[0].urls[0]}"), about)
    say(f"{name}: {len(images):,} images in {pack}; the archive in {data / DOWNLOADS} may be removed")
    return pack


def pack_folder(path: Path, name: str, side: int, data: Path) -> Path:
    """A pack of the image files below a folder or in an archive, resized to `side`; folders become labels.

    Raises:
        OodbenchError: nothing is there, or an image is broken.
    """
    if not path.exists():
        raise OodbenchError(f"there is no {path}: give a folder of images, or a tar or zip archive of them")
    if path.is_dir() and not any(True for _ in in_folder(path)):
        raise OodbenchError(f"{path} holds no image files (jpg, png, bmp, webp)")
    images, labels = pictures(r".*\.(jpg|jpeg|png|bmp|webp|JPG|JPEG|PNG)", side, labelled=True)([path])
    target = data / f"{name}.h5"
    write_pack(target, ImageSet(name, images, labels, f"{path.name}, shorter side resized to {side}, middle cut out"))
    return target


def verify(name: str, data: Path) -> Verdict:
    """Is the pack of a public image set whole and what it should be?"""
    pack = data / f"{name}.h5"
    try:
        images = read_pack(pack, name)
        if name in SOURCES:
            _check(name, SOURCES[name], (images.images, images.labels))
    except OodbenchError as error:
        return Verdict(False, str(error))
    return Verdict(True, f"{len(images):,} images, fingerprint {images.fingerprint[:16]}")


def _check(name: str, source: Source, pixels: Pixels) -> None:
    images, labels = pixels
    if len(images) != source.count or len(labels) != len(images):
        raise OodbenchError(
            f"{name} should have {source.count:,} images and {len(images):,} were read: its archive is not what "
            "it was; nothing was written"
        )
    if len(images) > 1 and np.all(images == images[0]):
        raise OodbenchError(f"all images of {name} are the same: its archive is not what it was; nothing was written")
