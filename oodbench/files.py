"""Files that are either whole or absent, and digests of what is in them."""

import errno
import hashlib
import os
import tempfile
from pathlib import Path

from oodbench.errors import StorageError


def write_atomic(path: Path, content: bytes) -> None:
    """Put `content` at `path` so that a reader, a kill or a full disk never meets half of it.

    Raises:
        StorageError: the folder cannot be written, or the disk is full; nothing is left behind.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    except OSError as error:
        raise _cannot_write(path, content, error) from error
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except OSError as error:
        raise _cannot_write(path, content, error) from error
    finally:
        Path(temporary).unlink(missing_ok=True)


def _cannot_write(path: Path, content: bytes, error: OSError) -> StorageError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageError(
            f"the disk is full: {path} needs {len(content) / 2**20:.1f} MiB; free some space and run the same command "
            "again, it goes on where it stopped"
        )
    return StorageError(f"cannot write {path}: {error.strerror}; choose another folder")


def digest(*parts: bytes | str) -> str:
    """SHA-256 (hex) over `parts`, each with its length in front so that no two sequences collide."""
    sha = hashlib.sha256()
    for part in parts:
        raw = part.encode() if isinstance(part, str) else part
        sha.update(len(raw).to_bytes(8, "little"))
        sha.update(raw)
    return sha.hexdigest()
