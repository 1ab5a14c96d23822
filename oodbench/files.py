"""Files that are either whole or absent, and digests of what is in them."""

import errno
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from oodbench.errors import StorageError


def write_atomic(path: Path, content: bytes) -> None:
    """Put `content` at `path` so that a reader, a kill or a full disk never meets half of it.

    Raises:
        StorageError: the folder cannot be written, or the disk is full; nothing is left behind.
    """
    with atomic(path, len(content)) as temporary:
        temporary.write_bytes(content)


@contextmanager
def atomic(path: Path, size: int = 0) -> Iterator[Path]:
    """A temporary file beside `path` to write to, which becomes `path` when the block ends well.

    Args:
        path: its folder is made if need be.
        size: bytes that it will have, if known, for the message about a full disk.

    Raises:
        StorageError: the folder cannot be written, or the disk is full; nothing is left behind.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        os.close(handle)
    except OSError as error:
        raise _cannot_write(path, size, error) from error
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        raise _cannot_write(path, size, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def _cannot_write(path: Path, size: int, error: OSError) -> StorageError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        needs = f" needs {size / 2**20:.1f} MiB" if size else " needs more than there is"
        return StorageError(
            f"the disk is full: {path}{needs}; free some space and run the same command again, it goes on where it "
            "stopped"
        )
    return StorageError(f"cannot write {path}: {error.strerror or error}; choose another folder")


def digest(*parts: bytes | memoryview | str) -> str:
    """SHA-256 (hex) over `parts`, or views of bytes, each with its length in front so that no two sequences collide."""
    sha = hashlib.sha256()
    for part in parts:
        raw = part.encode() if isinstance(part, str) else part
        sha.update(len(raw).to_bytes(8, "little"))
        sha.update(raw)
    return sha.hexdigest()
