"""Members of archives, in memory: nothing is ever written to a path that an archive names."""

import io
import lzma
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

from oodbench.basics.errors import OodbenchError

LARGEST = 256 * 2**20
"""Bytes that one member may have where it is read whole; the largest real one is a batch of CIFAR of 155 MB."""

UTF_8 = 0x800
"""The bit by which a zip says that a name is UTF-8."""

MOST_PACKED = 100
"""The factor by which a file of arrays beyond `LARGEST` may grow when unpacked; photographs hardly shrink at all."""


def members(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of every regular file in a tar (compressed or not) or zip archive, in its order.

    Links, devices and folders are passed over. Names are only compared with, never opened, so a name with `..` or a
    leading slash does nothing.

    Raises:
        OodbenchError: the file is no such archive, is damaged, or holds a member that is too large.
    """
    for name, stream in streams(path):
        with reading_archive(path):
            content = stream.read(LARGEST + 1)
        yield name, _require_bounded(content, path, name)


def streams(path: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Yield name and stream of every regular file, each to be read before the next one is asked for.

    Read it inside `reading_archive`.

    Raises:
        OodbenchError: the file is no such archive, or is damaged.
    """
    for entry in entries(path):
        if entry.kind == "file":
            with reading_archive(path):
                stream = entry.open()
            with stream:
                yield entry.name, stream


DAMAGE = (tarfile.TarError, zipfile.BadZipFile, lzma.LZMAError, zlib.error, struct.error, EOFError, UnicodeError)
"""Exceptions of Python's readers for an archive that is not whole, beside those of the system."""


@dataclass(frozen=True)
class Entry:
    """An entry that an archive lists.

    Attributes:
        name: as the archive says it: only to be compared with, never opened.
        kind: "file", "folder", "link" or "device".
        open: its stream, if it is a file; before the next entry is asked for, and inside `reading_archive`.
    """

    name: str
    kind: str
    open: Callable[[], IO[bytes]]


class BoundedStream(io.RawIOBase):
    """A member's stream that ends in an error where it unpacks to more than `most` bytes: archives may be bombs.

    Raises:
        OodbenchError: on reading beyond that.
    """

    def __init__(self, stream: IO[bytes], most: int, where: str) -> None:
        self._stream, self._left, self._problem = stream, most, f"{where} unpacks to more than {most >> 20} MiB"

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        read = self._stream.read(len(buffer))
        self._left -= len(read)
        if self._left < 0:
            raise OodbenchError(f"{self._problem}: this is not the archive it should be")
        buffer[: len(read)] = read
        return len(read)


def refuse_bomb(path: Path, unpacked: int, size: int | None = None) -> None:
    """Refuse to read a file of arrays that says that it unpacks to more bytes than images or scores can have.

    Args:
        path: of the file.
        unpacked: bytes that it says to hold.
        size: of the file, where it lies in another one.

    Raises:
        OodbenchError: it says so.
    """
    if unpacked > max(LARGEST, MOST_PACKED * (path.stat().st_size if size is None else size)):
        raise OodbenchError(
            f"{path} unpacks to {unpacked >> 20:,} MiB, more than {MOST_PACKED} times its size: neither images nor "
            "scores shrink so far; get it again from where it came"
        )


def is_tar(path: Path) -> bool:
    """Whether it is a tar archive, compressed or not; False for one that breaks off at its beginning."""
    try:
        return tarfile.is_tarfile(path)
    except (EOFError, zlib.error, lzma.LZMAError):  # which Python lets through
        return False


@contextmanager
def random_access(path: Path) -> Iterator[tuple[list[str], Callable[[str], bytes]]]:
    """Give the names of all regular files in a zip or an uncompressed tar archive, and a function that reads one.

    Raises:
        OodbenchError: as `members`.
    """
    with reading_archive(path):
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as of_zip:
                names = [member.filename for member in of_zip.infolist() if not member.is_dir()]
                yield names, lambda name: _read(of_zip.open(name), path, name)
        else:
            with tarfile.open(path, "r:") as of_tar:
                members = {member.name: member for member in of_tar if member.isreg()}
                yield list(members), lambda name: _read(of_tar.extractfile(members[name]), path, name)


@contextmanager
def reading_archive(path: Path) -> Iterator[None]:
    """Inside, only the archive `path` is read, so an error means that it is damaged.

    Raises:
        OodbenchError: it is damaged, or packed in a way that Python does not read.
    """
    try:
        yield
    except (NotImplementedError, RuntimeError) as error:  # zipfile's, of compressions and ciphers
        raise OodbenchError(
            f"{path} cannot be read ({error}): make it again without a password, with plain compression, or give the "
            "folder that it was made from"
        ) from error
    except (*DAMAGE, OSError) as error:
        raise OodbenchError(f"{path} is not a whole archive ({error}): get it again from where it came") from error


def entries(path: Path) -> Iterator[Entry]:
    """Yield all that a tar (compressed or not) or zip archive lists, in its order.

    Raises:
        OodbenchError: as `streams`.
    """
    with reading_archive(path):
        yield from _zip_entries(path) if zipfile.is_zipfile(path) else _tar_entries(path)


def _zip_entries(path: Path) -> Iterator[Entry]:
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            name = _name_in_zip(member)
            # PowerShell ends folders with a backslash.
            is_folder = member.is_dir() or name.endswith("\\")
            is_link = stat.S_ISLNK(member.external_attr >> 16)
            kind = "folder" if is_folder else "link" if is_link else "file"
            yield Entry(name, kind, partial(archive.open, member))


def _name_in_zip(member: zipfile.ZipInfo) -> str:
    """The name of a member; some programs write UTF-8 without saying so, which Python takes for what DOS wrote."""
    if member.flag_bits & UTF_8:
        return member.filename
    try:
        return member.filename.encode("cp437").decode()
    except UnicodeError:
        return member.filename


def _tar_entries(path: Path) -> Iterator[Entry]:
    with tarfile.open(path, "r|*") as archive:
        for member in archive:
            is_link = member.issym() or member.islnk()
            kind = "file" if member.isreg() else "folder" if member.isdir() else "link" if is_link else "device"
            yield Entry(member.name, kind, partial(_open_member, archive, member))


def _open_member(archive: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    stream = archive.extractfile(member)
    assert stream is not None  # it is a regular file
    return stream


def _read(stream: IO[bytes] | None, path: Path, name: str) -> bytes:
    if stream is None:
        raise OodbenchError(f"{path}: {name} is not a regular file")
    with stream:
        return _require_bounded(stream.read(LARGEST + 1), path, name)


def _require_bounded(content: bytes, path: Path, name: str) -> bytes:
    if len(content) > LARGEST:
        raise OodbenchError(
            f"{path}: {name} unpacks to more than {LARGEST >> 20} MiB: this is not the archive it should be"
        )
    return content
