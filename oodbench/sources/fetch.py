"""Makes packs of public image sets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from oodbench.basics.errors import OodbenchError, unknown
from oodbench.basics.listeners import Say
from oodbench.basics.progress import progress
from oodbench.images.imageset import ImageSet
from oodbench.images.packs import write_pack, write_parts
from oodbench.images.photographs import write_photographs
from oodbench.sources.catalogue import SOURCES
from oodbench.sources.download import actual_digest, download, require_obtainable
from oodbench.sources.source import ImageFiles, Parts, Pixels, RemoteFile, Source
from oodbench.sources.trained import TRAINED

DOWNLOADS = "downloads"
"""The folder, below the data folder, in which archives are kept as they came."""


def fetch(name: str, data: Path, say: Say, unverified: bool = False, count: int | None = None) -> Path:
    """Make the pack of a public image set: downloaded, verified, read and written, whole or not at all.

    Args:
        name: of the set.
        data: the data folder.
        say: told what happens.
        unverified: take files that have no published digest.
        count: so many images instead of the default, where a set leaves that open.

    Raises:
        OodbenchError: no such source, or what went wrong on the way.
    """
    if name not in SOURCES:
        raise unknown("public image set", name, {*SOURCES, *TRAINED})
    source, pack = SOURCES[name], data / f"{name}.h5"
    if count is not None:
        source = _source_of_size(name, source, count)
    if pack.is_file():
        say(f"{name}: {pack} is there already")
        return pack
    for file in source.files:
        require_obtainable(file, data / DOWNLOADS, unverified)
    files = [download(file, data / DOWNLOADS, unverified) for file in source.files]
    digests = [_digest_record(path, file, say) for path, file in zip(files, source.files, strict=True)]
    say(f"{name}: reading {', '.join(file.name for file in files)}")
    about = {"terms": source.terms, "note": source.note, "digests": " ".join(digests)}
    content = source.read(files)
    written = _write(pack, name, source, content, about)
    say(f"{name}: {written:,} images in {pack}, read from {data / DOWNLOADS}")
    if source.measured and isinstance(content, tuple):
        say(f"{name}: {measurement_note(source, ImageSet(name, *content, '').fingerprint)}")
    if isinstance(content, ImageFiles):
        say(
            f"{name}: these photographs have not been decoded yet; `oodbench data verify {name}` decodes all of them, "
            "which takes a while, and names each that is broken"
        )
    return pack


def check_pixels(name: str, source: Source, pixels: Pixels) -> None:
    """Check that there are as many images as the set has, and not the same all over.

    Raises:
        OodbenchError: there are others.
    """
    images, labels = pixels
    check_count(name, source, len(images))
    if len(labels) != len(images):
        raise OodbenchError(
            f"{name} has {len(images):,} images and {len(labels):,} labels, and needs one for each: this is not what "
            "the public set was; get its files again"
        )
    if len(images) > 1 and np.all(images == images[0]):
        raise OodbenchError(f"all images of {name} are the same: this is not what the public set was")


def measurement_note(source: Source, fingerprint: str) -> str:
    """Say whether images are those that the figures of this project's reference were measured on."""
    if fingerprint == source.measured:
        return "the very images that results/reference was measured on"
    return (
        f"not the images that results/reference was measured on, whose fingerprint is {source.measured[:16]} (these "
        f"have {fingerprint[:16]}), so figures may be others"
    )


def check_count(name: str, source: Source, count: int) -> None:
    """Check that there are as many images as the set has, where that is known.

    Raises:
        OodbenchError: there are more or fewer.
    """
    if source.count is not None and count != source.count:
        raise OodbenchError(
            f"{name} should have {source.count:,} images and {count:,} were read: this is not what the public set was"
        )


def _write(pack: Path, name: str, source: Source, content: Pixels | Parts | ImageFiles, about: dict[str, str]) -> int:
    origin = f"{source.title}; {source.files[0].urls[0] if source.files[0].urls else source.files[0].where}"
    if isinstance(content, ImageFiles):
        return write_photographs(pack, _counted_files(name, source, content), origin, about)
    if isinstance(content, Parts):
        return write_parts(pack, name, _counted_parts(name, source, content), origin, about)
    check_pixels(name, source, content)
    write_pack(pack, ImageSet(name, *content, origin), about)
    return len(content[0])


def _counted_files(name: str, source: Source, content: ImageFiles) -> Iterator[tuple[str, bytes, int]]:
    """Yield files as they come, and check their number at the end, before the pack is in its place."""
    count = 0
    with progress(f"packing {name}", source.count) as advance:
        for photograph in content.files:
            yield photograph
            count += 1
            advance(1)
    check_count(name, source, count)


def _counted_parts(name: str, source: Source, content: Parts) -> Iterator[Pixels]:
    """Yield parts as they come, and check the number of images at the end, as `_counted_files` does."""
    count = 0
    with progress(f"packing {name}", source.count) as advance:
        for images, labels in content.batches:
            yield images, labels
            count += len(images)
            advance(len(images))
    check_count(name, source, count)


def _source_of_size(name: str, source: Source, count: int) -> Source:
    if source.sized is None:
        of_size = ", ".join(other for other, one in SOURCES.items() if one.sized)
        raise OodbenchError(f"{name} is what it is: leave --count out; it is for {of_size}")
    return replace(source, count=count, read=source.sized(count))


def _digest_record(path: Path, file: RemoteFile, say: Say) -> str:
    """The text that a pack keeps of a file's digest; people are told where it was not published."""
    if file.proven and not file.abridged:
        return file.digest
    actual = actual_digest(path, "sha256" if file.digest.partition(":")[0] != "size" else "size")
    if file.proven:
        return f"{actual} (its first {file.abridged} digits are published)"
    say(
        f"{path.name} is {actual}. It is recorded in the pack, so that others can see whether they have the same file; "
        "that it is the right one, nobody has published a digest to prove"
    )
    return f"{actual} (found, not published)"
