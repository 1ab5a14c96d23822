"""Images to be scored, one after the other, wherever they lie: never all in memory, and a broken one stops nothing."""

import zipfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from oodbench.basics.arrays import Pixels
from oodbench.basics.errors import OodbenchError
from oodbench.basics.listeners import Say
from oodbench.basics.threads import cores
from oodbench.images import catalogue
from oodbench.images.builtin import BUILTINS
from oodbench.images.decoding import DECODERS, MARKED, SUFFIXES, BrokenImageError, decode_with_notes, formats_of, suffix
from oodbench.images.packs import CHUNK, holds_files, read_pack, read_parts
from oodbench.images.photographs import Photographs
from oodbench.images.preprocessing import Preprocessing
from oodbench.sources.archives import LARGEST, is_tar
from oodbench.sources.folders import contents, few_names, survey

AHEAD = 4
"""Images that are decoded in advance for each thread."""

MOST_DECODERS = 16


@dataclass(frozen=True)
class Incoming:
    """An image, or what is wrong with it.

    Attributes:
        name: file, or pack and place in it.
        pixels: uint8 (H, W, 3); None where it cannot be had.
        amiss: why it cannot.
    """

    name: str
    pixels: Pixels | None = None
    amiss: str = ""


@dataclass(frozen=True)
class ImageInputs:
    """Finds images to be scored behind the names that people give.

    Attributes:
        preprocessing: of image files; None leaves them as they are.
        side: height and width that images must then have.
        data: folder of the packs that have names.
        left_out: told of files in folders and archives that are no images, a line each.
    """

    preprocessing: Preprocessing | None
    side: tuple[int, int]
    data: Path
    left_out: Say

    def require(self, given: Iterable[str]) -> None:
        """Raise OodbenchError unless there is something behind each name: a file, a folder or an image set."""
        known = catalogue.names(self.data)
        missing = [name for name in given if not Path(name).exists() and name not in known]
        if missing:
            raise OodbenchError(
                f"there is no {few_names(missing)}: give image files, folders, archives, packs, or names of image sets "
                "(`oodbench data list`)"
            )
        special = [name for name in given if Path(name).exists() and not (Path(name).is_file() or Path(name).is_dir())]
        if special:
            raise OodbenchError(f"{few_names(special)}: neither file nor folder; give one of these")

    def images_behind(self, given: str) -> Iterator[Incoming]:
        """Yield the images behind one name, in their order, and at the end the error of a source that breaks off."""
        any_image = False
        try:
            for image in self._images_behind(given):
                any_image = True
                yield image
        except OodbenchError as error:
            yield Incoming(given, amiss=str(error))
        else:
            if not any_image:
                self.left_out(f"{given}: there is no image in it")

    def _images_behind(self, given: str) -> Iterator[Incoming]:
        """Yield the images behind one name; what cannot be read as a whole raises OodbenchError."""
        path = Path(given)
        if not path.exists():
            path = self.data / f"{given}.h5"
            if given in BUILTINS:
                images = catalogue.load(given, self.data)
                return (
                    self._check_size(f"{given}#{at}", images.pixels(slice(at, at + 1))[0]) for at in range(len(images))
                )
        if path.is_dir():
            return self._from_folder(path)
        if suffix(path.name) in SUFFIXES:
            return self._from_file(path)
        if h5py.is_hdf5(path):
            return self._from_pack(path)
        if zipfile.is_zipfile(path) or is_tar(path):
            return self._from_folder(path)
        return self._from_file(path)

    def _from_file(self, path: Path) -> Iterator[Incoming]:
        try:
            with path.open("rb") as stream:
                content = stream.read(LARGEST + 1)
        except OSError as error:
            yield Incoming(str(path), amiss=str(error.strerror))
            return
        if len(content) > LARGEST:
            yield Incoming(str(path), amiss=f"it is larger than {LARGEST >> 20} MiB")
            return
        yield self._decode(str(path), content, "", formats_of(path.name))

    def _from_folder(self, path: Path) -> Iterator[Incoming]:
        """Yield the images in a folder or an archive."""
        surveyed = survey(path)
        for reason, names in surveyed.left_out.items():
            self.left_out(f"{path}: left out ({reason}): {few_names(names)}")

        def work() -> Iterator[Callable[[], Incoming]]:
            for picture, content in contents(surveyed):
                name = str(picture.key) if isinstance(picture.key, Path) else f"{path}/{picture.name}"
                yield _defer(self._decode, name, content, picture.amiss, formats_of(picture.name))

        yield from _run_in_order(work())

    def _from_pack(self, path: Path) -> Iterator[Incoming]:
        if not holds_files(path):
            for start, part in _number_parts(read_parts(path)):
                yield from (self._check_size(f"{path}#{start + at}", pixels) for at, pixels in enumerate(part))
            return
        images = read_pack(path, path.stem, self.preprocessing or Preprocessing()).images
        assert isinstance(images, Photographs)
        names, decode = images.names(), DECODERS[images.decoding]

        def work() -> Iterator[Callable[[], Incoming]]:
            for name, content in zip(names, images.files(), strict=True):
                yield _defer(self._decode_by, f"{path}/{name}", content, decode)

        yield from _run_in_order(work())

    def _decode(self, name: str, content: bytes, amiss: str, formats: tuple[str, ...] = MARKED) -> Incoming:
        return self._decode_by(name, content, lambda raw: decode_with_notes(raw, formats)[0], amiss)

    def _decode_by(self, name: str, content: bytes, decode: Callable[[bytes], object], amiss: str = "") -> Incoming:
        try:
            if amiss:
                raise BrokenImageError(amiss)
            image = decode(content)
            pixels = self.preprocessing(image) if self.preprocessing else np.asarray(image)  # type: ignore[arg-type]
        except BrokenImageError as error:
            return Incoming(name, amiss=" ".join(str(error).split()))
        except MemoryError:
            return Incoming(name, amiss="it does not fit into memory")
        return self._check_size(name, pixels)

    def _check_size(self, name: str, pixels: Pixels) -> Incoming:
        """The image, unless it is of another size: its pixels are then dropped at once, since they may be many."""
        (height, width), (tall, wide) = pixels.shape[:2], self.side
        if (height, width) != (tall, wide):
            return Incoming(name, amiss=f"it is {height} x {width} pixels, and the detector takes {tall} x {wide}")
        return Incoming(name, pixels)


def _number_parts(parts: Iterable[Pixels]) -> Iterator[tuple[int, Pixels]]:
    """Pair parts with the place of their first image; all but the last have `CHUNK` images."""
    return ((number * CHUNK, part) for number, part in enumerate(parts))


def _defer(work: Callable[..., Incoming], *arguments: object) -> Callable[[], Incoming]:
    return lambda: work(*arguments)


def _run_in_order(work: Iterator[Callable[[], Incoming]]) -> Iterator[Incoming]:
    """Yield what each piece of work gives, in their order, by threads that are a few pieces ahead."""
    decoders = min(cores(), MOST_DECODERS)
    with ThreadPoolExecutor(decoders, "decoder") as pool:
        underway: deque[Future[Incoming]] = deque()
        try:
            for piece in work:
                underway.append(pool.submit(piece))
                if len(underway) > AHEAD * decoders:
                    yield underway.popleft().result()
            while underway:
                yield underway.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
