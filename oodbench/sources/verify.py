"""Checks packs against what they should be."""

from dataclasses import dataclass
from pathlib import Path

from oodbench.basics.errors import OodbenchError
from oodbench.images.imageset import ImageSet
from oodbench.images.packs import length, note_of, read_pack, skipped
from oodbench.images.photographs import Photographs
from oodbench.sources.catalogue import SOURCES
from oodbench.sources.fetch import check_count, check_pixels, measurement_note


@dataclass(frozen=True)
class Verdict:
    """Whether a pack is what it should be, and what there is to say about it."""

    good: bool
    text: str


def verify(name: str, data: Path) -> Verdict:
    """Check whether the pack of an image set is whole and what it should be."""
    pack = data / f"{name}.h5"
    try:
        images = read_pack(pack, name)
        describe = _verify_photographs if isinstance(images.images, Photographs) else _verify_pixels
        return Verdict(True, describe(images, pack))
    except OodbenchError as error:
        return Verdict(False, str(error))


def pack_difference(name: str, data: Path) -> str:
    """Say how a pack differs from the public set of its name, or one's own from what it was made of; "" if it does not.

    Only the number of images is looked at, and what the pack itself says was left out: what the pixels are,
    fingerprints tell.

    Raises:
        OodbenchError: it is no pack.
    """
    source, pack = SOURCES.get(name), data / f"{name}.h5"
    if not pack.is_file():
        return ""
    if source is None or source.count is None or source.sized is not None:
        return f"{name}: {left_out}" if (left_out := skipped(pack)) else ""
    count = length(pack)
    return "" if count == source.count else f"{name} has {count:,} images, not the {source.count:,} of the public set"


def _verify_pixels(images: ImageSet, pack: Path) -> str:
    if images.name in SOURCES and SOURCES[images.name].sized is None:
        check_pixels(images.name, SOURCES[images.name], (images.pixels(), images.labels))
    source = SOURCES.get(images.name)
    measurement = f"; {measurement_note(source, images.fingerprint)}" if source and source.measured else ""
    return f"{len(images):,} images, fingerprint {images.fingerprint[:16]}{measurement}{_note_text(pack)}"


def _verify_photographs(images: ImageSet, pack: Path) -> str:
    assert isinstance(images.images, Photographs)
    problems = [damage] if (damage := images.images.damage()) else []
    if broken_files := images.images.broken_files():
        problems.append(f"{len(broken_files):,} of {len(images):,} image files cannot be decoded:")
        problems += [f"  {problem}" for problem in broken_files]
    if problems:
        raise OodbenchError(
            f"{pack}: get it again from where it came, or pack whole images again (`oodbench data pack --skip-broken` "
            "leaves out what is broken). " + "\n".join(problems)
        )
    if images.name in SOURCES:
        check_count(images.name, SOURCES[images.name], len(images))
    return f"{len(images):,} photographs, all of them decoded{_note_text(pack)}"


def _note_text(pack: Path) -> str:
    return f"; {note_of(pack)}" if skipped(pack) else ""
