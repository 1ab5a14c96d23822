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
from oodbench.images.decoding import DECODERS, MARKED, SUFFIXES, BrokenImageError, examined, formats_of, suffix
from oodbench.images.packs import CHUNK, holds_files, read_pack, read_parts
from oodbench.images.photographs import Photographs
from oodbench.images.preprocessing import Preprocessing
from oodbench.sources.archives import LARGEST, is_tar
from oodbench.sources.folders import contents, few, survey

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
class Incomers:
    """Where images come from.

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
        """OodbenchError unless there is something behind each name: a file, a folder or an image set."""
        known = catalogue.names(self.data)
        lacking = [one for one in given if not Path(one).exists() and one not in known]
        if lacking:
            raise OodbenchError(
                f"there is no {few(lacking)}: give image files, folders, archives, packs, or names of image sets "
                "(`oodbench data list`)"
            )
        odd = [one for one in given if Path(one).exists() and not (Path(one).is_file() or Path(one).is_dir())]
        if odd:
            raise OodbenchError(f"{few(odd)}: neither file nor folder")

    def of(self, given: str) -> Iterator[Incoming]:
        """The images behind one name, in their order; where a folder, archive or pack breaks off, it says so itself."""
        found = False
        try:
            for one in self._of(given):
                found = True
                yield one
        except OodbenchError as error:
            yield Incoming(given, amiss=str(error))
        else:
            if not found:
                self.left_out(f"{given}: there is no image in it")

    def _of(self, given: str) -> Iterator[Incoming]:
        path = Path(given)
        if not path.exists():
            path = self.data / f"{given}.h5"
            if given in BUILTINS:
                images = catalogue.load(given, self.data)
                return (self._sized(f"{given}#{at}", images.pixels(slice(at, at + 1))[0]) for at in range(len(images)))
        if path.is_dir():
            return self._surveyed(path)
        if suffix(path.name) in SUFFIXES:
            return self._single(path)
        if h5py.is_hdf5(path):
            return self._pack(path)
        if zipfile.is_zipfile(path) or is_tar(path):
            return self._surveyed(path)
        return self._single(path)

    def _single(self, path: Path) -> Iterator[Incoming]:
        try:
            with path.open("rb") as stream:
                content = stream.read(LARGEST + 1)
        except OSError as error:
            yield Incoming(str(path), amiss=str(error.strerror))
            return
        if len(content) > LARGEST:
            yield Incoming(str(path), amiss=f"it is larger than {LARGEST >> 20} MiB")
            return
        yield self._decoded(str(path), content, "", formats_of(path.name))

    def _surveyed(self, path: Path) -> Iterator[Incoming]:
        """What lies in a folder or an archive."""
        found = survey(path)
        for reason, names in found.left_out.items():
            self.left_out(f"{path}: left out ({reason}): {few(names)}")

        def work() -> Iterator[Callable[[], Incoming]]:
            for picture, content in contents(found):
                name = str(picture.key) if isinstance(picture.key, Path) else f"{path}/{picture.name}"
                yield _later(self._decoded, name, content, picture.amiss, formats_of(picture.name))

        yield from _in_order(work())

    def _pack(self, path: Path) -> Iterator[Incoming]:
        if not holds_files(path):
            for start, part in _numbered(read_parts(path)):
                yield from (self._sized(f"{path}#{start + at}", pixels) for at, pixels in enumerate(part))
            return
        images = read_pack(path, path.stem, self.preprocessing or Preprocessing()).images
        assert isinstance(images, Photographs)
        names, decode = images.names(), DECODERS[images.decoding]

        def work() -> Iterator[Callable[[], Incoming]]:
            for name, content in zip(names, images.files(), strict=True):
                yield _later(self._stored, f"{path}/{name}", content, decode)

        yield from _in_order(work())

    def _decoded(self, name: str, content: bytes, amiss: str, formats: tuple[str, ...] = MARKED) -> Incoming:
        return self._stored(name, content, lambda raw: examined(raw, formats)[0], amiss)

    def _stored(self, name: str, content: bytes, decode: Callable[[bytes], object], amiss: str = "") -> Incoming:
        try:
            if amiss:
                raise BrokenImageError(amiss)
            image = decode(content)
            pixels = self.preprocessing(image) if self.preprocessing else np.asarray(image)  # type: ignore[arg-type]
        except BrokenImageError as error:
            return Incoming(name, amiss=" ".join(str(error).split()))
        except MemoryError:
            return Incoming(name, amiss="it does not fit into memory")
        return self._sized(name, pixels)

    def _sized(self, name: str, pixels: Pixels) -> Incoming:
        """An image, unless it is of another size: it is then let go at once, since it may be a large one."""
        (height, width), (tall, wide) = pixels.shape[:2], self.side
        if (height, width) != (tall, wide):
            return Incoming(name, amiss=f"it is {height} x {width} pixels, and the detector takes {tall} x {wide}")
        return Incoming(name, pixels)


def _numbered(parts: Iterable[Pixels]) -> Iterator[tuple[int, Pixels]]:
    """Parts with the place of their first image; all but the last have `CHUNK`."""
    return ((number * CHUNK, part) for number, part in enumerate(parts))


def _later(work: Callable[..., Incoming], *arguments: object) -> Callable[[], Incoming]:
    return lambda: work(*arguments)


def _in_order(work: Iterator[Callable[[], Incoming]]) -> Iterator[Incoming]:
    """What each piece of work gives, in their order, by threads that are a few pieces ahead."""
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
