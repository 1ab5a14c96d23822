"""Members of archives, one after the other, in memory: nothing is ever written where an archive says."""

import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from oodbench.errors import OodbenchError

LARGEST = 256 * 2**20
"""Bytes that one member may have; the largest real one is a batch of CIFAR images of 155 MB."""


def members(path: Path) -> Iterator[tuple[str, bytes]]:
    """Name and content of every regular file in a tar (compressed or not) or zip archive, in its order.

    Links, devices and folders are passed over. Names are only compared with, never opened, so a name with `..` or a
    leading slash does nothing.

    Raises:
        OodbenchError: the file is no such archive, is damaged, or holds a member that is too large.
    """
    try:
        if zipfile.is_zipfile(path):
            yield from _of_zip(path)
        else:
            yield from _of_tar(path)
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
        raise OodbenchError(f"{path} is not a whole archive ({error}): remove it and fetch it again") from error


def _of_zip(path: Path) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if not member.is_dir():
                with archive.open(member) as stream:
                    yield member.filename, _bounded(stream.read(LARGEST + 1), path, member.filename)


def _of_tar(path: Path) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(path, "r|*") as archive:
        for member in archive:
            stream = archive.extractfile(member) if member.isreg() else None
            if stream:
                yield member.name, _bounded(stream.read(LARGEST + 1), path, member.name)


def _bounded(content: bytes, path: Path, name: str) -> bytes:
    if len(content) > LARGEST:
        raise OodbenchError(
            f"{path}: {name} unpacks to more than {LARGEST >> 20} MiB: this is not the archive it should be"
        )
    return content
