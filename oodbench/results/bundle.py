"""A suite's results in one small file, so that any metric can be computed again: `oodbench table digits-adv.zip`.

A zip archive of what lies in a results folder, SUITE/DETECTOR/FILE.h5. Scores and what an attack left about each image
are float32 there, unless that would lose something, and the attacked images themselves are left out. Whoever unpacks it
has a results folder.
"""

import io
import re
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from oodbench.basics.errors import OodbenchError
from oodbench.basics.files import write_atomic
from oodbench.sources.archives import DAMAGE
from oodbench.statistics.repeatability import spread_of

SUFFIX = ".zip"
LARGEST = 64 * 2**20
"""Bytes of one result; an archive that says more of itself is not read."""

STILL_APART = 0.99
"""Of different values, how many must be different in float32: of 10,000 that are spread out evenly, 9,994 are."""

_MEMBER = re.compile(r"[a-z0-9][a-z0-9._-]*/[a-z0-9][a-z0-9._+-]*/[a-z0-9][a-z0-9._-]*\.h5")
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the same results give the same bytes


def containing_bundle(path: Path) -> Path | None:
    """The bundle that a result of this path lies in; None for one that is a file of its own."""
    return next((above for above in path.parents if above.suffix == SUFFIX and above.is_file()), None)


def member_paths(bundle: Path) -> list[Path]:
    """Paths of the results in a bundle, as if it were a folder, sorted.

    Raises:
        OodbenchError: it is no zip archive, or holds something else.
    """
    with _open_archive(bundle) as archive:
        names = archive.namelist()
    if not names or not all(map(is_member, names)) or len(set(names)) < len(names):
        raise OodbenchError(
            f"{bundle} is not a bundle of results: name a results folder, or an archive that "
            "`oodbench check --update --scores DIR` wrote"
        )
    return [bundle / name for name in sorted(names)]


def is_member(name: str) -> bool:
    """True if a result may have this name in a bundle: SUITE/DETECTOR/FILE.h5, which leads out of no folder."""
    return _MEMBER.fullmatch(name) is not None


def read(path: Path) -> bytes:
    """The content of one of `member_paths`.

    Raises:
        OodbenchError: it is not there, damaged, or larger than any result.
    """
    bundle = containing_bundle(path)
    assert bundle is not None
    name = path.relative_to(bundle).as_posix()
    with _open_archive(bundle) as archive:
        try:
            if archive.getinfo(name).file_size > LARGEST:
                raise OodbenchError(f"{name} in {bundle} is larger than any result of oodbench: it is not read")
            return archive.read(name)
        except (*DAMAGE, OSError, KeyError, NotImplementedError, RuntimeError) as error:
            raise OodbenchError(f"cannot read {name} in {bundle} ({error}): get the archive again") from error


def write(bundle: Path, contents: Mapping[str, bytes]) -> None:
    """Put results into a bundle, which is made anew, or replaced.

    Args:
        bundle: its path.
        contents: by their names, see `is_member`.

    Raises:
        StorageError: it cannot be written.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in sorted(contents):
            archive.writestr(_zip_info(name), contents[name])
    write_atomic(bundle, buffer.getvalue())


def _zip_info(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _EPOCH)
    # A third smaller than deflated: row numbers, labels and predictions recur from detector to detector.
    info.compress_type = zipfile.ZIP_LZMA
    info.external_attr = 0o644 << 16
    return info


def _open_archive(bundle: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(bundle)
    except (*DAMAGE, OSError, NotImplementedError) as error:
        raise OodbenchError(f"cannot read {bundle} as a zip archive ({error}): name a results folder") from error


def fits_float32(parts: Iterable[npt.NDArray[np.float64]]) -> bool:
    """True if numbers that are held against each other say the same in float32, so that a bundle may keep them so.

    That is a question of their spread, too: scores close to 1 round to the same value long before they are equal, and
    ties change every metric. All parts stay what they are where one must: in two precisions, values that were equal
    are so no longer.

    Args:
        parts: (N,) each, such as the scores of ID images and of each OOD set.
    """
    return all(map(_fits_float32, parts))


def _fits_float32(numbers: npt.NDArray[np.float64]) -> bool:
    with np.errstate(over="ignore", under="ignore"):
        small = numbers.astype(np.float32)
    if not np.allclose(small, numbers, rtol=1e-6, atol=0, equal_nan=True):
        return False
    finite = np.isfinite(numbers)
    moved = np.abs(small[finite] - numbers[finite])
    if moved.size == 0 or not moved.any():
        return True
    kept = len(np.unique(small)) / len(np.unique(numbers))
    return bool(moved.max() <= 1e-5 * spread_of(numbers[finite])) and kept >= STILL_APART
