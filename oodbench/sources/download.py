"""One file from the net to the disk: resumed, from several mirrors, and never believed before its digest is right."""

import hashlib
import http
import http.client
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlparse

from oodbench.errors import OodbenchError, StorageError
from oodbench.progress import progress
from oodbench.sources.source import RemoteFile

TIMEOUT = 30
"""Seconds without a byte after which a connection is given up."""

ATTEMPTS = 3
"""Connections to one mirror that may break before the next one is tried; each goes on where the last one stopped."""

BLOCK = 1 << 16

SLACK = 4
"""A file may be larger than its declared size, which is a round figure, by this factor before it is refused."""


def download(file: RemoteFile, folder: Path) -> Path:
    """`file` in `folder`, verified; not downloaded again if it is there.

    What was received of it stays in a `.part` file, and the next call goes on from there.

    Raises:
        OodbenchError: no mirror has the right file, with what each of them said.
        StorageError: the disk is full or cannot be written.
    """
    target = folder / file.name
    if target.is_file():
        if _digest(target, file) == file.digest:
            return target
        target.unlink()
    part = target.with_name(f"{target.name}.part")
    with _storing(part):
        folder.mkdir(parents=True, exist_ok=True)
        part.touch()
    said = []
    for url in file.urls:
        try:
            _receive(url, part, file)
        except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
            said.append(f"{url}: {getattr(error, 'reason', None) or error}")
            continue
        found = _digest(part, file)
        if found == file.digest:
            part.replace(target)
            return target
        said.append(f"{url}: {_wrong(part, found, file)}")
        part.unlink()
    if part.is_file() and not part.stat().st_size:
        part.unlink()
    raise OodbenchError(
        f"{file.name} could not be fetched: {'; '.join(said)}. Try again later, or put the file into {folder} yourself"
    )


def _receive(url: str, part: Path, file: RemoteFile) -> None:
    """All of `url` appended to what is there of it, over several connections if they break."""
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
    there = part.stat().st_size if part.is_file() else 0
    request = urllib.request.Request(url, headers={"User-Agent": "oodbench"})
    if there:
        request.add_header("Range", f"bytes={there}-")
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return  # all of it is there already
        raise
    with response:
        if response.status != http.HTTPStatus.PARTIAL_CONTENT:
            there = 0  # the server does not resume: from the beginning
        length = response.headers.get("Content-Length")
        total = there + int(length) if length else file.size
        with progress(f"fetching {file.name}", total, "bytes") as advance, part.open("ab" if there else "wb") as disk:
            advance(there)
            while block := response.read(BLOCK):
                with _storing(part):
                    disk.write(block)
                    disk.flush()
                there += len(block)
                advance(len(block))
                if there > SLACK * file.size + BLOCK:
                    raise OSError(f"it is larger than the {file.size:,} bytes that were expected")
        if length and there < total:
            raise http.client.IncompleteRead(b"", total - there)


@contextmanager
def _storing(part: Path) -> Iterator[None]:
    """What goes wrong in here is the disk's fault and not the net's."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"cannot write {part}: {error.strerror}; choose another --data folder") from error


def _digest(path: Path, file: RemoteFile) -> str:
    """The digest of a file, of the kind that is known of it, in the same form."""
    kind = file.digest.partition(":")[0]
    with path.open("rb") as stream:
        return f"{kind}:{hashlib.file_digest(stream, kind).hexdigest()}"


def _wrong(part: Path, found: str, file: RemoteFile) -> str:
    with part.open("rb") as stream:
        start = stream.read(512).lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return "a web page came instead of the file"
    return f"its digest is {found}, expected {file.digest}"
