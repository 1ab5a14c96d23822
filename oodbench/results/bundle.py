"""A suite's results in one small file, so that any metric can be computed again: `oodbench table digits-adv.zip`.

A zip archive of what lies in a results folder, SUITE/DETECTOR/FILE.h5. Scores and what an attack left about each image
are float32 there, and the attacked images themselves are left out. Whoever unpacks it has a results folder.
"""

import io
import re
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from oodbench.basics.errors import OodbenchError
from oodbench.basics.files import write_atomic

SUFFIX = ".zip"
LARGEST = 64 * 2**20
"""Bytes of one result; an archive that says more of itself is not read."""

_MEMBER = re.compile(r"([a-z0-9][a-z0-9._-]*/){2}[a-z0-9][a-z0-9._-]*\.h5")
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the same results give the same bytes


def holder(path: Path) -> Path | None:
    """The bundle that a result of this path lies in; None for one that is a file of its own."""
    return next((above for above in path.parents if above.suffix == SUFFIX and above.is_file()), None)


def members(bundle: Path) -> list[Path]:
    """Paths of the results in a bundle, as if it were a folder, sorted.

    Raises:
        OodbenchError: it is no zip archive, or holds something else.
    """
    with _opened(bundle) as archive:
        names = archive.namelist()
    if not names or not all(map(_MEMBER.fullmatch, names)) or len(set(names)) < len(names):
        raise OodbenchError(
            f"{bundle} is not a bundle of results: name a results folder, or an archive that "
            "`oodbench check --update --scores DIR` wrote"
        )
    return [bundle / name for name in sorted(names)]


def read(path: Path) -> bytes:
    """The content of one of `members`.

    Raises:
        OodbenchError: it is not there, damaged, or larger than any result.
    """
    bundle = holder(path)
    assert bundle is not None
    name = path.relative_to(bundle).as_posix()
    with _opened(bundle) as archive:
        try:
            if archive.getinfo(name).file_size > LARGEST:
                raise OodbenchError(f"{name} in {bundle} is larger than any result of oodbench: it is not read")
            return archive.read(name)
        except (KeyError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError) as error:
            raise OodbenchError(f"cannot read {name} in {bundle} ({error}): get the archive again") from error


def write(bundle: Path, contents: Iterable[tuple[str, bytes]], leave: Sequence[Path] = ()) -> None:
    """Put results into a bundle.

    Args:
        bundle: made anew, or replaced.
        contents: SUITE/DETECTOR/FILE.h5 and its bytes.
        leave: of the present `members`, those that stay as they are.

    Raises:
        StorageError: it cannot be written.
    """
    everything = {path.relative_to(bundle).as_posix(): read(path) for path in leave} | dict(contents)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name in sorted(everything):
            archive.writestr(_described(name), everything[name])
    write_atomic(bundle, buffer.getvalue())


def _described(name: str) -> zipfile.ZipInfo:
    about = zipfile.ZipInfo(name, _EPOCH)
    about.compress_type = zipfile.ZIP_DEFLATED
    about.external_attr = 0o644 << 16
    return about


def _opened(bundle: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(bundle)
    except (OSError, zipfile.BadZipFile) as error:
        raise OodbenchError(f"cannot read {bundle} as a zip archive ({error}): name a results folder") from error
