"""One's own images, in whatever format they come, as packs. What became of them is said, always."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from oodbench.basics.errors import OodbenchError
from oodbench.basics.progress import progress
from oodbench.basics.words import counted, printable
from oodbench.images.decoding import BrokenImageError, examined, formats_of
from oodbench.images.imageset import ImageSet
from oodbench.images.packs import read_pack, write_pack
from oodbench.images.photographs import Photographs, hashed_part, write_photographs
from oodbench.sources.arrays import READERS, Arrays
from oodbench.sources.classes import Classes, ListedClasses, folder_classes
from oodbench.sources.folders import Picture, Survey, contents, few, survey
from oodbench.sources.kinds import READ, kind_of
from oodbench.sources.readers import square

Say = Callable[[str], None]

SHOWN = "shown"
"""How image files are decoded, see `oodbench.images.decoding.DECODERS`."""

NOT_READ = "cannot be read, as --skip-broken says"


def silent(_: str) -> None:
    """For callers who do not want to know."""


def pack_pixels(
    path: Path,
    name: str,
    side: int,
    data: Path,
    say: Say = silent,
    skip_broken: bool = False,
    classes: ListedClasses | None = None,
    origin: str = "",
    replace: bool = False,
) -> Path:
    """A pack of the images in a folder, an archive or a file of arrays.

    Image files are turned as EXIF says and laid on white where they are transparent; then they are resized so that
    their shorter side is `side`, and their middle is cut out. The first folders become labels, if no classes are given.
    Arrays keep their size: what `oodbench.sources.arrays` reads.

    Args:
        path: of the folder or file.
        name: of the set.
        side: of image files, in pixels.
        data: the data folder.
        say: told what was packed and what was left out, a line at a time.
        skip_broken: leave out images that cannot be read, and note in the pack which.
        classes: that labels mean; those of the folders if left out.
        origin: where it comes from, which the pack says; the name of `path` if left out.
        replace: put it in the place of another pack of this name.

    Raises:
        OodbenchError: nothing is there, or some of it is broken, with the names of all that are; or there is another
            pack of this name.
    """
    kind = _kind(path)
    if kind in READERS:
        if classes:
            raise OodbenchError(f"{path} holds arrays, whose labels are numbers already: leave --classes out")
        return _pack_arrays(READERS[kind](path), path, name, data, say, origin, replace)
    packing = _Packing(survey(path), name, skip_broken, classes)
    found: list[tuple[Picture, npt.NDArray[np.uint8]]] = []
    for picture, _, image in packing.whole():
        found.append((picture, square(image, side)))
    found.sort(key=lambda one: (packing.classes.label(one[0]), one[0].parts))
    packing.require()
    labels = np.asarray([packing.classes.label(picture) for picture, _ in found], np.int64)
    source = f"{origin or path.name}, shorter side resized to {side}, middle cut out"
    target = data / f"{name}.h5"
    images = ImageSet(name, np.stack([pixels for _, pixels in found]), labels, source, classes=packing.classes.names)
    require_no_other(target, images, replace)
    write_pack(target, images, {**packing.about(), **_address(origin)})
    packing.report(say, f"{target}: {len(found):,} images of {side} x {side} pixels", labels.tolist())
    return target


def pack_files(
    path: Path,
    name: str,
    data: Path,
    say: Say = silent,
    skip_broken: bool = False,
    classes: ListedClasses | None = None,
    origin: str = "",
    replace: bool = False,
) -> Path:
    """A pack of the image files in a folder or an archive, as they are; see `pack_pixels`.

    They are decoded once to see that they are whole. Their pixels are made of them in the same way when a run looks at
    them, but for resizing, which each network does its own way.

    Raises:
        OodbenchError: as `pack_pixels`.
    """
    kind = _kind(path)
    if kind in READERS:
        raise OodbenchError(f"{path} holds arrays and no image files: leave --files out")
    packing, target = _Packing(survey(path), name, skip_broken, classes), data / f"{name}.h5"
    labels: list[int] = []
    about: dict[str, str] = {}
    hashed = sha256()

    def whole() -> Iterator[tuple[str, bytes, int]]:
        for picture, content, _ in packing.whole():
            labels.append(packing.classes.label(picture))
            hashed.update(hashed_part(content))
            yield picture.name, content, labels[-1]
        packing.require()
        if not replace:
            _require_no_other_files(target, hashed.hexdigest(), labels, packing.classes.names)
        about.update({**packing.about(), **_address(origin)})  # known only now, and written after the files

    write_photographs(target, whole(), origin or path.name, about, SHOWN)
    packing.report(say, f"{target}: {len(labels):,} image files as they are", labels)
    return target


def require_no_other(target: Path, images: ImageSet, replace: bool) -> None:
    """OodbenchError where a pack of other images, labels or classes is at `target` that nobody said to replace."""
    if target.exists() and not replace:
        found = _there(target)
        if found is None or (found.fingerprint, found.classes) != (images.fingerprint, images.classes):
            raise _another(target)


class _Packing:
    """Images on their way into a pack: what is broken, what was done to them, and what is said in the end."""

    def __init__(self, found: Survey, name: str, skip_broken: bool, given: ListedClasses | None) -> None:
        self._found, self._name, self._skip = found, name, skip_broken
        if not found.pictures:
            raise OodbenchError(f"{found.path} holds no image files{_left(found.left_out)}: give {READ}")
        if given:
            given.require(found.pictures)
        self.classes: Classes = given or folder_classes(found)
        self._broken: dict[str, str] = {}
        self._done: Counter[str] = Counter()

    def whole(self) -> Iterator[tuple[Picture, bytes, Image.Image]]:
        """Every image file that can be decoded, its content, and its pixels as RGB."""
        with progress(f"packing {self._name}", len(self._found.pictures)) as advance:
            for picture, content in self._in_order():
                try:
                    if picture.amiss:
                        raise BrokenImageError(picture.amiss)
                    image, done = examined(content, formats_of(picture.name))
                except BrokenImageError as error:
                    self._broken[picture.name] = str(error)
                else:
                    self._done.update(done)
                    yield picture, content, image
                advance(1)

    def _in_order(self) -> Iterator[tuple[Picture, bytes]]:
        """By label and name where files can be opened in any order; archives are read from front to back."""
        self._found.pictures.sort(key=lambda picture: (self.classes.label(picture), picture.parts))
        return contents(self._found)

    def require(self) -> None:
        """Everything was whole, or what was not may be left out.

        Raises:
            OodbenchError: no, with the names of all that is broken.
        """
        count, total = len(self._broken), len(self._found.pictures)
        if self._broken and not self._skip:
            lines = [f"  {printable(name)}: {why}" for name, why in self._broken.items()]
            raise OodbenchError(
                f"{self._found.path}: {count:,} of {total:,} image files cannot be read, and nothing was written; put "
                "whole ones in their place, or leave them out with --skip-broken:\n" + "\n".join(lines)
            )
        if count == total:
            raise OodbenchError(f"{self._found.path}: none of its {total:,} image files can be read")

    def about(self) -> dict[str, str]:
        """What the pack says of itself: classes, by which runs know what labels mean, and what was left out."""
        found = {"classes": json.dumps(self.classes.names)} if self.classes.names else {}
        if self._broken:
            found["skipped"] = json.dumps(self._broken)
            found["note"] = f"{len(self._broken):,} broken image files were left out: {few(self._broken)}"
        return found

    def report(self, say: Say, headline: str, labels: Sequence[int]) -> None:
        """All that is to be known of what was packed."""
        say(headline)
        for line in (*self.classes.said(Counter(labels), self._found.pictures), *self._about_work()):
            say(f"  {line}")
        left_out = {**self._found.left_out, **({NOT_READ: self._named_broken()} if self._broken else {})}
        say("  left out: nothing" if not left_out else "  left out:")
        for reason, names in left_out.items():
            say(f"    {len(names):,} ({reason}): {few(names, 20)}")

    def _named_broken(self) -> list[str]:
        return [f"{name} ({why})" for name, why in self._broken.items()]

    def _about_work(self) -> Iterator[str]:
        for done, count in self._done.items():
            yield f"{counted(count, 'image')}: {done}"


def _require_no_other_files(target: Path, content: str, labels: Sequence[int], classes: tuple[str, ...]) -> None:
    """OodbenchError where a pack is there that holds something else than these image files."""
    if not target.exists():
        return
    found = _there(target)
    if found is None or not isinstance(found.images, Photographs) or found.images.decoding != SHOWN:
        raise _another(target)
    if (found.images.content, found.labels.tolist(), found.classes) != (content, [*labels], classes):
        raise _another(target)


def _there(target: Path) -> ImageSet | None:
    """What is in a pack; None where it cannot be read."""
    try:
        return read_pack(target, target.stem)
    except OodbenchError:
        return None


def _another(target: Path) -> OodbenchError:
    return OodbenchError(
        f"there is a {target} already, with other images, labels or classes: give this pack another name, or say "
        "--replace (in Python replace=True)"
    )


def _address(origin: str) -> dict[str, str]:
    return {"address": origin} if origin else {}


def _pack_arrays(found: Arrays, path: Path, name: str, data: Path, say: Say, origin: str, replace: bool) -> Path:
    images, labels = found.images, found.labels
    labels = labels if len(labels) else np.full(len(images), -1, np.int64)
    target = data / f"{name}.h5"
    whole = ImageSet(name, images, labels, origin or path.name)
    require_no_other(target, whole, replace)
    write_pack(target, whole, _address(origin))
    height, width = images.shape[1:3]
    say(f"{target}: {len(images):,} images of {width} x {height} pixels")
    values, sizes = np.unique(labels, return_counts=True)
    if set(values) == {-1}:
        say("  labels: none")
    else:
        each = ", ".join(f"{label} ({size:,})" for label, size in zip(values, sizes, strict=True))
        say(f"  {len(values)} labels, whose names nothing says: {each}")
    if found.remark:
        say(f"  {found.remark}")
    say("  left out: nothing" if not found.left_out else "  left out:")
    if found.left_out:
        say(f"    {len(found.left_out):,} (neither images nor labels by their names): {few(found.left_out, 20)}")
    return target


def _kind(path: Path) -> str:
    if not path.exists():
        raise OodbenchError(f"there is no {path}: give {READ}")
    return kind_of(path)


def _left(left_out: Mapping[str, Sequence[str]]) -> str:
    said = "; ".join(f"{reason}: {few(names)}" for reason, names in left_out.items())
    return f" (left out: {said})" if said else ""
