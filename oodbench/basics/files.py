"""Files that are either whole or absent, and digests of what is in them."""

import codecs
import errno
import glob
import hashlib
import os
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path, PurePosixPath, PureWindowsPath

from oodbench.basics.errors import OodbenchError, StorageError


def write_atomic(path: Path, content: bytes) -> None:
    """Put `content` at `path` so that a reader, a kill or a full disk never meets half of it.

    Raises:
        StorageError: the folder cannot be written, or the disk is full; nothing is left behind.
    """
    with atomic(path, len(content)) as temporary:
        temporary.write_bytes(content)


@contextmanager
def atomic(path: Path, size: int = 0) -> Iterator[Path]:
    """Give a temporary file beside `path` to write to, which becomes `path` when the block ends well.

    What a killed process left behind of the same file is removed. Where `path` is a symbolic link, the file that it
    leads to is written and the link stays; a file that was there keeps its permissions.

    Args:
        path: its folder is made if need be.
        size: bytes that it will have, if known, for the message about a full disk.

    Raises:
        StorageError: the folder cannot be written, or the disk is full; nothing is left behind.
    """
    try:
        path = path.resolve() if path.is_symlink() else path
        path.parent.mkdir(parents=True, exist_ok=True)
        mode = stat.S_IMODE(path.stat().st_mode) if path.is_file() else 0o644
        _clear_leftovers(path)
        handle, temporary = _locked_temporary(path)
    except OSError as error:
        raise _cannot_write(path, size, error) from error
    try:
        yield temporary
        os.fsync(handle)
        temporary.chmod(mode)
        temporary.replace(path)
    except OSError as error:
        raise _cannot_write(path, size, error) from error
    finally:
        os.close(handle)
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def require_writable(folder: Path, option: str) -> None:
    """Make `folder` if need be and try to write there, so that hours of work are not lost at their end.

    Args:
        folder: to be written to.
        option: of the command line that names it, such as "--out".

    Raises:
        StorageError: it cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise StorageError(
            f"cannot write to {folder}: {error.strerror}; choose another folder with {option}"
        ) from error


def _locked_temporary(path: Path) -> tuple[int, Path]:
    """Make a temporary file of `path`, open and locked, and return its handle and its path.

    Between its making and its locking another writer may take it for what a killed one left, and clear it away.
    """
    while True:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        _try_lock(handle)
        if _still_has_name(handle, Path(name)):
            return handle, Path(name)
        os.close(handle)


def _clear_leftovers(path: Path) -> None:
    """Remove temporary files of `path` that nobody has locked any more."""
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        with suppress(OSError):
            handle = os.open(leftover, os.O_RDWR)
            try:
                if _try_lock(handle):
                    leftover.unlink()
            finally:
                os.close(handle)


# Why not filelock: what is locked here is the file that is written itself, and filelock is for files that hold nothing
# (3.13 empties what it opens). Temporary files, `.part` files and the locks of `update_alone` are also renamed or
# removed by the process that holds them, so that no lock file stays behind among data. `oodbench.results.store` takes
# filelock, for a lock file that stays.
# Windows lets nobody write, rename or remove a file that is locked, so nothing is locked there: a killed process leaves
# its temporary file behind, and two that write the same file do not wait for each other, though each puts a whole one
# in its place.


def _try_lock(handle: int) -> bool:
    """Lock an open file until it is closed or its process ends, and return whether that was possible."""
    if sys.platform == "win32":
        return False
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False  # somebody writes it, or the file system knows no locks
    return True


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Lock a file, which is made if need be; others that want it wait, except on Windows.

    Inside it may be written, renamed or removed: whoever waited then gets a new one of its name.

    Raises:
        OSError: it cannot be made.
    """
    if sys.platform == "win32":
        path.touch()
        yield
        return
    import fcntl

    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            with suppress(OSError):  # a file system without locks: nobody waits
                fcntl.flock(handle, fcntl.LOCK_EX)
            if _still_has_name(handle, path):
                yield
                return
        finally:
            os.close(handle)


def _still_has_name(handle: int, path: Path) -> bool:
    """Whether an open file still has this name, which another process may take away at any moment."""
    try:
        return os.path.samestat(path.stat(), os.fstat(handle))
    except FileNotFoundError:
        return False


@contextmanager
def update_alone(path: Path) -> Iterator[None]:
    """Lock a file for reading it and writing it anew inside the block, which nobody else does meanwhile.

    Raises:
        StorageError: its folder cannot be written.
    """
    file = path.resolve() if path.is_symlink() else path
    lock = file.with_name(f".{file.name}.lock")
    with ExitStack() as stack:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(locked(lock))
        except OSError as error:
            raise _cannot_write(path, 0, error) from error
        try:
            yield
        finally:
            with suppress(OSError):
                lock.unlink()


def _cannot_write(path: Path, size: int, error: OSError) -> StorageError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        needs = f" needs {size / 2**20:.1f} MiB" if size else " needs more than there is"
        return StorageError(
            f"the disk is full: {path}{needs}; free some space and run the same command again, it goes on where it "
            "stopped"
        )
    return StorageError(f"cannot write {path}: {error.strerror or error}; choose another folder")


_MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32-le",  # before UTF-16, whose mark begins it
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
"""The byte order marks that editors put in front of a text, and the encodings that they tell."""


def without_folders(path: str) -> str:
    """A path as it may be shown to others: a relative one as it is, of an absolute one the name alone."""
    if PurePosixPath(path).is_absolute() or PureWindowsPath(path).is_absolute():
        return PureWindowsPath(path).name  # which takes both kinds of slashes
    return path


def read_text(path: Path) -> str:
    """Read a text file that people write: UTF-8, or what its byte order mark says; the mark is taken off.

    Raises:
        OodbenchError: it cannot be read, or is in another encoding; with the line that shows it.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise OodbenchError(f"cannot read {path}: {error.strerror or error}; give the path of a text file") from error
    mark = next((mark for mark in _MARKS if raw.startswith(mark)), b"")
    encoding = _MARKS.get(mark, "utf-8")
    raw = raw.removeprefix(mark)
    if encoding == "utf-8" and b"\0" in raw:
        raise OodbenchError(
            f"{path} has null bytes: it is not a text, or UTF-16 without a byte order mark; save it as UTF-8"
        )
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        if mark:
            problem = f"begins as {encoding.upper()} and breaks off"
        else:
            problem = (
                f"is not UTF-8, line {line} has the byte 0x{raw[error.start]:02x}: it may be Latin-1 or Windows-1252"
            )
        raise OodbenchError(f"{path} {problem}; save it as UTF-8") from error


def digest(*parts: bytes | memoryview | str) -> str:
    """SHA-256 (hex) over `parts`, or views of bytes, each with its length in front so that no two sequences collide."""
    sha = hashlib.sha256()
    for part in parts:
        raw = part.encode() if isinstance(part, str) else part
        sha.update(len(raw).to_bytes(8, "little"))
        sha.update(raw)
    return sha.hexdigest()
