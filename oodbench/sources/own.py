"""Packs of the user's own images, in whatever format they come. What became of them is always said."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from oodbench.basics.errors import OodbenchError
from oodbench.basics.listeners import Say, unheard
from oodbench.basics.progress import progress
from oodbench.basics.words import counted, printable
from oodbench.images.decoding import BrokenImageError, decode_with_notes, formats_of
from oodbench.images.imageset import ImageSet
from oodbench.images.packs import read_pack, write_pack
from oodbench.images.photographs import Photographs, hashed_part, write_photographs
from oodbench.sources.arrays import READERS, Arrays
from oodbench.sources.classes import Classes, ListedClasses, folder_classes
from oodbench.sources.folders import Picture, Survey, contents, few_names, survey
from oodbench.sources.kinds import READ, kind_of
from oodbench.sources.readers import square

SHOWN = "shown"
"""The way image files are decoded, see `oodbench.images.decoding.DECODERS`."""

NOT_READ = "cannot be read, as --skip-broken says"


@dataclass(frozen=True)
class PackRequest:
    """What a pack is called, where it goes, and what is done to images on their way into it.

    Attributes:
        name: of the set.
        data: the data folder.
        side: pixels of the squares that image files become: they are resized so that their shorter side is that, and
            their middle is cut out. None keeps image files as they are.
        skip_broken: leave out images that cannot be read, and note in the pack which.
        classes: that labels mean; None for those of the folders.
        origin: where the images come from, which the pack says; "" for the name of their folder or file.
        replace: put the pack in the place of another one of its name.
    """

    name: str
    data: Path
    side: int | None
    skip_broken: bool = False
    classes: ListedClasses | None = None
    origin: str = ""
    replace: bool = False

    @property
    def target(self) -> Path:
        """The file of the pack."""
        return self.data / f"{self.name}.h5"

    @property
    def address(self) -> dict[str, str]:
        """The entry in which the pack notes its origin; none where nobody said one."""
        return {"address": self.origin} if self.origin else {}


def pack(path: Path, request: PackRequest, say: Say = unheard) -> Path:
    """Pack the images in a folder, an archive or a file of arrays, and return the pack's path.

    Image files are turned as EXIF says and laid on white where they are transparent. The first folders become labels,
    if no classes are given. Arrays keep their size: what `oodbench.sources.arrays` reads.

    Args:
        path: of the folder or file.
        request: what the pack is called, and what is done to image files.
        say: told what was packed and what was left out, a line at a time.

    Raises:
        OodbenchError: nothing is there, or some of it is broken, with the names of all that are; or there is another
            pack of this name.
    """
    kind = _kind(path)
    if kind in READERS:
        _pack_arrays(path, kind, request, say)
    elif request.side is None:
        _pack_files(path, request, say)
    else:
        _pack_pixels(path, request.side, request, say)
    return request.target


def _pack_pixels(path: Path, side: int, request: PackRequest, say: Say) -> None:
    """Pack image files as squares of `side` pixels."""
    packing = _Packing(survey(path), request)
    squares = [(picture, square(image, side)) for picture, _, image in packing.readable()]
    squares.sort(key=lambda entry: (packing.classes.label(entry[0]), entry[0].parts))
    packing.require()
    labels = np.asarray([packing.classes.label(picture) for picture, _ in squares], np.int64)
    source = f"{request.origin or path.name}, shorter side resized to {side}, middle cut out"
    pixels = np.stack([pixels for _, pixels in squares])
    images = ImageSet(request.name, pixels, labels, source, classes=packing.classes.names)
    require_no_other(request.target, images, request.replace)
    write_pack(request.target, images, {**packing.about(), **request.address})
    packing.report(say, f"{request.target}: {len(images):,} images of {side} x {side} pixels", labels.tolist())


def _pack_files(path: Path, request: PackRequest, say: Say) -> None:
    """Pack image files as they are.

    They are decoded once to see that they are whole. A run makes pixels of them in the same way, but for resizing,
    which each network does its own way.
    """
    packing = _Packing(survey(path), request)
    labels: list[int] = []
    about: dict[str, str] = {}
    content = sha256()

    def readable_files() -> Iterator[tuple[str, bytes, int]]:
        for picture, file, _ in packing.readable():
            labels.append(packing.classes.label(picture))
            content.update(hashed_part(file))
            yield picture.name, file, labels[-1]
        packing.require()
        if not request.replace:
            _require_no_other_files(request.target, content.hexdigest(), labels, packing.classes.names)
        about.update({**packing.about(), **request.address})  # known only now, and written after the files

    write_photographs(request.target, readable_files(), request.origin or path.name, about, SHOWN)
    packing.report(say, f"{request.target}: {len(labels):,} image files as they are", labels)


def require_no_other(target: Path, images: ImageSet, replace: bool) -> None:
    """Raise OodbenchError if a pack of other images, labels or classes is at `target` and need not be replaced."""
    if target.exists() and not replace:
        present = _read_if_whole(target)
        if present is None or (present.fingerprint, present.classes) != (images.fingerprint, images.classes):
            raise _other_pack_error(target)


class _Packing:
    """Images on their way into a pack: what is broken, what was done to them, and what is said in the end."""

    def __init__(self, surveyed: Survey, request: PackRequest) -> None:
        self._survey, self._name, self._skip = surveyed, request.name, request.skip_broken
        if not surveyed.pictures:
            raise OodbenchError(f"{surveyed.path} holds no image files{_left_out_text(surveyed.left_out)}: give {READ}")
        if request.classes:
            request.classes.require(surveyed.pictures)
        self.classes: Classes = request.classes or folder_classes(surveyed)
        self._broken: dict[str, str] = {}
        self._done: Counter[str] = Counter()

    def readable(self) -> Iterator[tuple[Picture, bytes, Image.Image]]:
        """Yield every image file that can be decoded, with its content and its pixels as RGB."""
        with progress(f"packing {self._name}", len(self._survey.pictures)) as advance:
            for picture, content in self._ordered_contents():
                try:
                    if picture.amiss:
                        raise BrokenImageError(picture.amiss)
                    image, done = decode_with_notes(content, formats_of(picture.name))
                except BrokenImageError as error:
                    self._broken[picture.name] = str(error)
                else:
                    self._done.update(done)
                    yield picture, content, image
                advance(1)

    def _ordered_contents(self) -> Iterator[tuple[Picture, bytes]]:
        """Yield files by label and name where they can be opened in any order; archives are read front to back."""
        self._survey.pictures.sort(key=lambda picture: (self.classes.label(picture), picture.parts))
        return contents(self._survey)

    def require(self) -> None:
        """Check that everything was whole, or that what was not may be left out.

        Raises:
            OodbenchError: something broken may not be left out, or nothing was whole; with the names of all broken.
        """
        count, total = len(self._broken), len(self._survey.pictures)
        if self._broken and not self._skip:
            lines = [f"  {printable(name)}: {why}" for name, why in self._broken.items()]
            raise OodbenchError(
                f"{self._survey.path}: {count:,} of {total:,} image files cannot be read, and nothing was written; put "
                "whole ones in their place, or leave them out with --skip-broken:\n" + "\n".join(lines)
            )
        if count == total:
            raise OodbenchError(f"{self._survey.path}: none of its {total:,} image files can be read")

    def about(self) -> dict[str, str]:
        """Attributes of the pack: its classes, by which runs know what labels mean, and what was left out."""
        entries = {"classes": json.dumps(self.classes.names)} if self.classes.names else {}
        if self._broken:
            entries["skipped"] = json.dumps(self._broken)
            entries["note"] = f"{len(self._broken):,} broken image files were left out: {few_names(self._broken)}"
        return entries

    def report(self, say: Say, headline: str, labels: Sequence[int]) -> None:
        """Say all that is to be known of what was packed."""
        say(headline)
        for line in (*self.classes.notes(Counter(labels), self._survey.pictures), *self._work_notes()):
            say(f"  {line}")
        left_out = {**self._survey.left_out, **({NOT_READ: self._broken_with_reasons()} if self._broken else {})}
        say("  left out: nothing" if not left_out else "  left out:")
        for reason, names in left_out.items():
            say(f"    {len(names):,} ({reason}): {few_names(names, 20)}")

    def _broken_with_reasons(self) -> list[str]:
        return [f"{name} ({why})" for name, why in self._broken.items()]

    def _work_notes(self) -> Iterator[str]:
        for done, count in self._done.items():
            yield f"{counted(count, 'image')}: {done}"


def _require_no_other_files(target: Path, content: str, labels: Sequence[int], classes: tuple[str, ...]) -> None:
    """Raise OodbenchError if there is a pack at `target` that holds something else than these image files."""
    if not target.exists():
        return
    present = _read_if_whole(target)
    if present is None or not isinstance(present.images, Photographs) or present.images.decoding != SHOWN:
        raise _other_pack_error(target)
    if (present.images.content, present.labels.tolist(), present.classes) != (content, [*labels], classes):
        raise _other_pack_error(target)


def _read_if_whole(target: Path) -> ImageSet | None:
    """The image set in a pack; None where it cannot be read."""
    try:
        return read_pack(target, target.stem)
    except OodbenchError:
        return None


def _other_pack_error(target: Path) -> OodbenchError:
    return OodbenchError(
        f"there is a {target} already, with other images, labels or classes: give this pack another name, or say "
        "--replace (in Python replace=True)"
    )


def _pack_arrays(path: Path, kind: str, request: PackRequest, say: Say) -> None:
    """Pack the arrays in a file of this kind, a key of `READERS`."""
    if request.side is None:
        raise OodbenchError(f"{path} holds arrays and no image files: leave --files out")
    if request.classes:
        raise OodbenchError(f"{path} holds arrays, whose labels are numbers already: leave --classes out")
    arrays = READERS[kind](path)
    labels = arrays.labels if len(arrays.labels) else np.full(len(arrays.images), -1, np.int64)
    images = ImageSet(request.name, arrays.images, labels, request.origin or path.name)
    require_no_other(request.target, images, request.replace)
    write_pack(request.target, images, request.address)
    height, width = arrays.images.shape[1:3]
    say(f"{request.target}: {len(images):,} images of {width} x {height} pixels")
    for line in _array_notes(arrays, labels):
        say(f"  {line}")


def _array_notes(arrays: Arrays, labels: npt.NDArray[np.int64]) -> Iterator[str]:
    """Lines for people about the labels of packed arrays, and about what was left out of their file."""
    values, sizes = np.unique(labels, return_counts=True)
    if set(values) == {-1}:
        yield "labels: none"
    else:
        counts = ", ".join(f"{label} ({size:,})" for label, size in zip(values, sizes, strict=True))
        yield f"{len(values)} labels, whose names nothing says: {counts}"
    if arrays.remark:
        yield arrays.remark
    yield "left out: nothing" if not arrays.left_out else "left out:"
    if arrays.left_out:
        yield f"  {len(arrays.left_out):,} (neither images nor labels by their names): {few_names(arrays.left_out, 20)}"


def _kind(path: Path) -> str:
    if not path.exists():
        raise OodbenchError(f"there is no {path}: give {READ}")
    return kind_of(path)


def _left_out_text(left_out: Mapping[str, Sequence[str]]) -> str:
    reasons = "; ".join(f"{reason}: {few_names(names)}" for reason, names in left_out.items())
    return f" (left out: {reasons})" if reasons else ""
