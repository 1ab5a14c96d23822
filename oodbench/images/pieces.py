"""Packs in pieces: to carry them to a machine without a network, where files must not exceed some size.

The pieces of the pack `NAME.h5` are `NAME.h5.xz.1`, `NAME.h5.xz.2` and so on: the pack compressed as a whole, then cut.
`NAME.pieces.json` says what they are, and what images must come of them.
"""

import json
import lzma
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import h5py

from oodbench.basics.errors import OodbenchError
from oodbench.basics.files import atomic, read_text, write_atomic
from oodbench.basics.hdf5 import new_hdf5
from oodbench.basics.strict_dataclasses import DeclarationError, build
from oodbench.images.imageset import LONGEST_NAME, is_name
from oodbench.images.packs import read_pack

LISTED = ".pieces.json"
"""The end, behind the set's name, of the name of the file that lists its pieces."""

PIXELS = ({"id": lzma.FILTER_DELTA, "dist": 3}, {"id": lzma.FILTER_LZMA2, "preset": 1})
"""Each pixel as its difference from the one to its left, three bytes before. That leaves 71 % of CIFAR-10's bytes, gzip
9 leaves 92."""

AS_IT_IS = ({"id": lzma.FILTER_LZMA2, "preset": 0},)
"""For image files, which are compressed already."""

BLOCK = 1 << 24
"""Bytes that are held in memory at a time beside a piece."""

MEMORY = 1 << 28
"""Bytes that decompression may take; the filters above take some 10 million."""


@dataclass(frozen=True)
class Pieces:
    """The pieces of a pack, and the images that must come of them.

    Attributes:
        name: of the image set.
        fingerprint: of its images and labels, see `oodbench.images.imageset.ImageSet`.
        size: of the pack in bytes, once it is put together.
        digests: SHA-256 (hex) of each piece, in their order.
    """

    name: str
    fingerprint: str
    size: int
    digests: tuple[str, ...]

    def __post_init__(self) -> None:
        if not is_name(self.name):
            raise ValueError(f"{self.name[:LONGEST_NAME]!r} is not the name of an image set")
        if self.size < 1 or not self.digests:
            raise ValueError("size and digests must be of at least one byte and one piece")

    def files(self, folder: Path) -> list[Path]:
        """Paths of the pieces in `folder`, in their order."""
        return [_piece(folder, self.name, number) for number, _ in enumerate(self.digests, 1)]

    def missing_files(self, folder: Path) -> list[str]:
        """Names of the pieces that are not in `folder`."""
        return [file.name for file in self.files(folder) if not file.is_file()]


def split(name: str, data: Path, folder: Path, most: int) -> Pieces:
    """Write the pack of image set `name` in `data` to `folder`, in pieces of at most `most` bytes.

    Raises:
        OodbenchError: there is no such pack, or it is broken.
        StorageError: the pieces cannot be written.
    """
    if not is_name(name):
        raise OodbenchError(f"{name!r} is not the name of an image set: name a pack in {data}, without its path")
    pack = data / f"{name}.h5"
    fingerprint = read_pack(pack, name).fingerprint
    folder.mkdir(parents=True, exist_ok=True)
    digests = []
    with tempfile.TemporaryDirectory(prefix=f".{name}.", dir=folder) as beside:
        plain, filters = _uncompress_pixels(pack, Path(beside) / pack.name)
        size = plain.stat().st_size
        for number, piece in enumerate(_cut(_compress(plain, filters), most), 1):
            write_atomic(_piece(folder, name, number), piece)
            digests.append(sha256(piece).hexdigest())
    pieces = Pieces(name, fingerprint, size, tuple(digests))
    write_atomic(folder / f"{name}{LISTED}", json.dumps(asdict(pieces), indent=1).encode())
    return pieces


def pieces_in(folder: Path) -> list[Pieces]:
    """The sets whose pieces, or some of them, are in `folder`.

    Raises:
        OodbenchError: a file that should say what its pieces are does not.
    """
    return [_read(path) for path in sorted(folder.glob(f"*{LISTED}"))]


def join(pieces: Pieces, folder: Path, data: Path) -> Path:
    """Put a pack together in `data`, once it holds the images that were taken apart; it is whole or not there.

    Nothing is done where a pack with these images is there already.

    Raises:
        OodbenchError: pieces are missing or damaged, other images came of them, or another pack of that name is there.
        StorageError: the pack cannot be written.
    """
    pack = data / f"{pieces.name}.h5"
    if pack.is_file():
        if read_pack(pack, pieces.name).fingerprint == pieces.fingerprint:
            return pack
        raise OodbenchError(f"{pack} has other images than the pieces in {folder}: join them in another data folder")
    if missing := pieces.missing_files(folder):
        raise OodbenchError(
            f"{folder} lacks {', '.join(missing)}: put all pieces of {pieces.name} there, then join them"
        )
    with atomic(pack, pieces.size) as temporary:
        with temporary.open("wb") as file:
            for block in _decompress(pieces, folder):
                file.write(block)
        if _fingerprint(temporary, pieces, folder) != pieces.fingerprint:
            raise OodbenchError(f"other images came of the pieces of {pieces.name} in {folder} than were taken apart")
    return pack


def _fingerprint(made: Path, pieces: Pieces, folder: Path) -> str:
    """The fingerprint of the pack that came of pieces; errors name the pieces and not the temporary file `made`."""
    try:
        return read_pack(made, pieces.name).fingerprint
    except OodbenchError as error:
        problem = str(error).replace(str(made), "what came of them")
        raise OodbenchError(f"the pieces of {pieces.name} in {folder} are of no pack: {problem}") from error


def _piece(folder: Path, name: str, number: int) -> Path:
    return folder / f"{name}.h5.xz.{number}"


def _read(path: Path) -> Pieces:
    try:
        table = json.loads(read_text(path))
        if not isinstance(table, dict):
            raise DeclarationError([], f"expected an object, got {type(table).__name__}")
        return build(Pieces, table)
    except (ValueError, RecursionError, DeclarationError) as error:
        raise OodbenchError(f"{path} does not say what its pieces are ({error}): carry it over once more") from error


def _uncompress_pixels(pack: Path, plain: Path) -> tuple[Path, Sequence[dict[str, Any]]]:
    """Return the pack with its pixels uncompressed, so that they are compressed once, and the filters for that."""
    with h5py.File(pack, "r", locking=False) as compressed:
        if "files" in compressed:
            return pack, AS_IT_IS
        with new_hdf5(plain) as target:
            for name in ("images", "labels"):
                if name in compressed:
                    target.file.create_dataset(name, data=compressed[name][()])
            for name, value in compressed.attrs.items():
                target.file.attrs[name] = value
    return plain, PIXELS


def _compress(path: Path, filters: Sequence[dict[str, Any]]) -> Iterator[bytes]:
    compressor = lzma.LZMACompressor(lzma.FORMAT_XZ, filters=filters)
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            yield compressor.compress(block)
    yield compressor.flush()


def _cut(blocks: Iterator[bytes], most: int) -> Iterator[bytes]:
    """Cut bytes anew, `most` at a time."""
    buffer = bytearray()
    for block in blocks:
        buffer += block
        while len(buffer) >= most:
            yield bytes(buffer[:most])
            del buffer[:most]
    if buffer:
        yield bytes(buffer)


def _decompress(pieces: Pieces, folder: Path) -> Iterator[bytes]:
    """Yield the pack's bytes, no more of them than there should be, whatever the pieces hold."""
    decompressor, left = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MEMORY), pieces.size
    for file, digest in zip(pieces.files(folder), pieces.digests, strict=True):
        content = file.read_bytes()
        if sha256(content).hexdigest() != digest:
            raise OodbenchError(f"{file} is not as it was when the pack was taken apart: carry it over once more")
        try:
            while not decompressor.eof and (content or not decompressor.needs_input):
                block = decompressor.decompress(content, max_length=min(BLOCK, left + 1))
                content = b""
                left -= len(block)
                if left < 0:
                    raise OodbenchError(
                        f"the pieces of {pieces.name} in {folder} hold more than the pack that they are of"
                    )
                yield block
        except lzma.LZMAError as error:
            raise OodbenchError(f"{file} cannot be decompressed ({error}): carry it over once more") from error
    if left or not decompressor.eof:
        raise OodbenchError(f"the pieces of {pieces.name} in {folder} end before the pack does: split it once more")
