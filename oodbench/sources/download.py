"""One file from the net to the disk: resumed, from several mirrors, and never believed before its digest is right."""

import hashlib
import http
import http.client
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import count
from pathlib import Path
from urllib.parse import urlparse

from oodbench.basics.errors import OodbenchError, StorageError
from oodbench.basics.files import locked
from oodbench.basics.progress import progress
from oodbench.sources.source import RemoteFile

TIMEOUT = 30
"""Seconds without a byte after which a connection is given up."""

ATTEMPTS = 3
"""Connections to one mirror that may break before the next one is tried; each goes on where the last one stopped."""

BLOCK = 1 << 16

SLACK = 4
"""A file may be larger than its declared size, which is a round figure, by this factor before it is refused."""


def download(file: RemoteFile, folder: Path, unverified: bool = False) -> Path:
    """Return the path of `file` in `folder`, verified; it is not downloaded again if it is there.

    What was received of it stays in a `.part` file, and the next call goes on from there. A file of its name that is
    another one is kept beside it, as `NAME.other`.

    Args:
        file: which one.
        folder: where to.
        unverified: take a file that has no published digest.

    Raises:
        OodbenchError: no mirror has the right file, with what each of them said; it takes a login and is not there; or
            nothing proves what it is.
        StorageError: the disk is full or cannot be written.
    """
    require_obtainable(file, folder, unverified)
    target = folder / file.name
    if not file.urls:
        return _check_brought_file(file, target)
    if target.is_file():
        if _is_right(target, file) and not _is_page(target):
            return target
        _set_aside(target)
    part = target.with_name(f"{target.name}.part")
    with _disk_errors(part):
        folder.mkdir(parents=True, exist_ok=True)
    # Of two that want it at once, the second one waits and finds it there.
    with _locked_part(part):
        if target.is_file():
            part.unlink()
            return target
        return _download_from_mirrors(file, part, target)


def _set_aside(target: Path) -> None:
    """Move another file of the wanted name away: it may be somebody's own, and is kept under another name."""
    numbers = (f"{target.name}.other{number or ''}" for number in count())
    place = next(place for name in numbers if not (place := target.with_name(name)).exists())
    with suppress(FileNotFoundError), _disk_errors(place):  # another process may have been faster
        target.replace(place)


@contextmanager
def _locked_part(part: Path) -> Iterator[None]:
    with ExitStack() as stack:
        with _disk_errors(part):
            stack.enter_context(locked(part))
        yield


def _download_from_mirrors(file: RemoteFile, part: Path, target: Path) -> Path:
    """Download `file` to `target` from the first mirror that has it, received into `part`."""
    failures = []
    for url in file.urls:
        try:
            _receive(url, part, file)
        except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
            failures.append(f"{url}: {getattr(error, 'reason', None) or error}")
            continue
        if _is_right(part, file) and not _is_page(part):
            part.replace(target)
            return target
        failures.append(f"{url}: {_reason_for_wrong(part, file)}")
        part.unlink()
    if part.is_file() and not part.stat().st_size:
        part.unlink()
    raise OodbenchError(
        f"{file.name} could not be fetched: {'; '.join(failures)}. Try again later, or put the file into "
        f"{target.parent} yourself"
    )


def require_obtainable(file: RemoteFile, folder: Path, unverified: bool) -> None:
    """Check what can be checked before anything is downloaded.

    Raises:
        OodbenchError: nothing proves what the file is, and that was not allowed; or it takes a login and is not there.
    """
    if not file.urls and not (folder / file.name).is_file():
        raise OodbenchError(f"{file.name} cannot be downloaded ({file.where}): put it into {folder}")
    if not file.proven and not unverified:
        raise OodbenchError(
            f"nobody publishes a digest of {file.name}, so nothing proves that what comes is what it should be: say "
            "--unverified to take it all the same, and what its digest is gets recorded"
        )


def _check_brought_file(file: RemoteFile, target: Path) -> Path:
    """Check a file that a person put there; it is theirs, so it is never removed."""
    if _is_page(target) or not _is_right(target, file):
        raise OodbenchError(
            f"{target} is not the right file: {_reason_for_wrong(target, file)}; get it again ({file.where})"
        )
    return target


def _receive(url: str, part: Path, file: RemoteFile) -> None:
    """Append all of `url` to what is there of it, over several connections if they break."""
    if urlparse(url).scheme not in ("http", "https"):
        raise OSError("not an address of the web")
    for attempt in range(1, ATTEMPTS + 1):
        try:
            _receive_once(url, part, file)
        except (http.client.IncompleteRead, ConnectionError, TimeoutError):
            if attempt == ATTEMPTS:
                raise
        else:
            return


def _receive_once(url: str, part: Path, file: RemoteFile) -> None:
    received = part.stat().st_size if part.is_file() else 0
    request = urllib.request.Request(url, headers={"User-Agent": "oodbench"})
    if received:
        request.add_header("Range", f"bytes={received}-")
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return  # all of it is there already
        raise
    with response:
        if response.status != http.HTTPStatus.PARTIAL_CONTENT:
            received = 0  # the server does not resume: from the beginning
        length = response.headers.get("Content-Length")
        full_size = received + int(length) if length else None
        total = full_size or file.size
        with (
            progress(f"fetching {file.name}", total, "bytes") as advance,
            part.open("ab" if received else "wb") as disk,
        ):
            advance(received)
            while block := response.read1(BLOCK):  # what is there: a slow server is seen to be slow
                with _disk_errors(part):
                    disk.write(block)
                    disk.flush()
                received += len(block)
                advance(len(block))
                if file.size is not None and received > SLACK * file.size + BLOCK:
                    raise OSError(f"it is larger than the {file.size:,} bytes that were expected")
        if full_size is not None and received < full_size:
            raise http.client.IncompleteRead(b"", full_size - received)


@contextmanager
def _disk_errors(part: Path) -> Iterator[None]:
    """Inside, what goes wrong is the disk's fault and not the net's: it becomes StorageError."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"cannot write {part}: {error.strerror}; choose another --data folder") from error


def actual_digest(path: Path, kind: str) -> str:
    """The actual digest of a file, as "sha256:..." or of another kind; for the kind "size" its size in bytes."""
    if kind == "size":
        return f"size:{path.stat().st_size}"
    with path.open("rb") as stream:
        return f"{kind}:{hashlib.file_digest(stream, kind).hexdigest()}"


def _is_right(path: Path, file: RemoteFile) -> bool:
    """Whether it has the known digest, or the known digits of it; True where nothing is known."""
    kind = file.digest.partition(":")[0]
    if not kind:
        return True
    actual = actual_digest(path, kind)
    return actual.startswith(file.digest) if file.abridged else actual == file.digest


def _reason_for_wrong(path: Path, file: RemoteFile) -> str:
    if _is_page(path):
        return "a web page came instead of the file"
    actual = actual_digest(path, file.digest.partition(":")[0])
    return f"its digest is {actual}, expected {file.digest}{'...' if file.abridged else ''}"


def _is_page(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(512).lstrip().lower().startswith((b"<!doctype html", b"<html"))
