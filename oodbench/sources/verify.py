"""Packs checked against what they should be."""

from dataclasses import dataclass
from pathlib import Path

from oodbench.basics.errors import OodbenchError
from oodbench.images.imageset import ImageSet
from oodbench.images.packs import length, note_of, read_pack, skipped
from oodbench.images.photographs import Photographs
from oodbench.sources.catalogue import SOURCES
from oodbench.sources.fetch import check_count, check_pixels, measured_on


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
    """How the pack in the data folder differs from the public set of its name, or one's own from what it was made of.

    Only the number of images is looked at, and what the pack itself says was left out: what the pixels are,
    fingerprints tell. "" if there is nothing to say.

    Raises:
        OodbenchError: it is no pack.
    """
    source, pack = SOURCES.get(name), data / f"{name}.h5"
    if not pack.is_file():
        return ""
    if source is None or source.count is None or source.sized is not None:
        return f"{name}: {left_out}" if (left_out := skipped(pack)) else ""
    found = length(pack)
    return "" if found == source.count else f"{name} has {found:,} images, not the {source.count:,} of the public set"


def _of_pixels(images: ImageSet, pack: Path) -> str:
    if images.name in SOURCES and SOURCES[images.name].sized is None:
        check_pixels(images.name, SOURCES[images.name], (images.pixels(), images.labels))
    source = SOURCES.get(images.name)
    known = f"; {measured_on(source, images.fingerprint)}" if source and source.measured else ""
    return f"{len(images):,} images, fingerprint {images.fingerprint[:16]}{known}{_noted(pack)}"


def _of_photographs(images: ImageSet, pack: Path) -> str:
    assert isinstance(images.images, Photographs)
    amiss = [damage] if (damage := images.images.damaged()) else []
    if broken := images.images.broken():
        amiss.append(f"{len(broken):,} of {len(images):,} image files cannot be decoded:")
        amiss += [f"  {one}" for one in broken]
    if amiss:
        raise OodbenchError(
            f"{pack}: get it again from where it came, or pack whole images again (`oodbench data pack --skip-broken` "
            "leaves out what is broken). " + "\n".join(amiss)
        )
    if images.name in SOURCES:
        check_count(images.name, SOURCES[images.name], len(images))
    return f"{len(images):,} photographs, all of them decoded{_noted(pack)}"


def _noted(pack: Path) -> str:
    return f"; {note_of(pack)}" if skipped(pack) else ""
