"""Evidence on disk: a zip archive of a description, arrays as safetensors, and networks that are kept nowhere else.

    evidence.json                  see `oodbench.board.description`
    rows/01.safetensors            id/scores; of each set ood/NAME/indices, ood/NAME/scores, and if images were kept
                                   ood/NAME/images, or ood/NAME/changes in their place
    networks/DIGEST.safetensors    weights, by their digest

Nothing else may be in it. It is read in memory, nothing is ever unpacked to where it says, and no pickle is opened.
"""

import io
import re
import stat
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from shlex import quote
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors
import safetensors.numpy

from oodbench.basics.arrays import Floats
from oodbench.basics.errors import OodbenchError
from oodbench.basics.files import write_atomic
from oodbench.basics.words import printable
from oodbench.board.description import Description, RefusedError, RowDescription, read
from oodbench.images.imageset import images_digest
from oodbench.sources.archives import DAMAGE

SAID = "evidence.json"
MOST = 512 * 2**20
"""Bytes that an archive may unpack to."""

MOST_MEMBERS = 250
ID_SCORES = "id/scores"
MOST_SAID = 4 * 2**20
"""Bytes of its description."""

_MEMBER = re.compile(r"evidence\.json|rows/\d\d\.safetensors|networks/[0-9a-f]{64}\.safetensors")
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the same evidence gives the same bytes
_ENCRYPTED = 0x1

Pixels = npt.NDArray[np.uint8]
Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class SetArrays:
    """The arrays of one OOD set.

    Attributes:
        indices: int64 (N,), places of the images in the whole set.
        scores: float64 (N,), of the attacked images.
        images: uint8 (N, H, W, 3), these; None where there are their changes, or the attack is to be carried out again.
        changes: uint8 (N, H, W, 3), each image less its source, modulo 256, which makes the image for whoever has the
            source and shows it to nobody else; None where there are the images, or neither.
    """

    indices: Indices
    scores: Floats
    images: Pixels | None
    changes: Pixels | None = None


@dataclass(frozen=True, eq=False)
class Row:
    """One row of evidence.

    Attributes:
        said: its description.
        id_scores: float64 (M,), of the ID images as they are.
        sets: by name, in the order of the description.
    """

    said: RowDescription
    id_scores: Floats
    sets: Mapping[str, SetArrays]


@dataclass(frozen=True, eq=False)
class Evidence:
    """A whole archive.

    Attributes:
        description: what it says of itself.
        rows: its rows, as described.
        networks: safetensors files by the digest that they are said to have.
        sha256: of the archive; "" of one that was not read.
    """

    description: Description
    rows: tuple[Row, ...]
    networks: Mapping[str, bytes] = field(default_factory=dict)
    sha256: str = ""


def pack_arrays(id_scores: Floats, sets: Mapping[str, SetArrays]) -> bytes:
    """Return the file of arrays of a row, safetensors."""
    found: dict[str, npt.NDArray[Any]] = {ID_SCORES: id_scores}
    for name, one in sets.items():
        found |= {_array_name(name, "indices"): one.indices, _array_name(name, "scores"): one.scores}
        kept = {"images": one.images, "changes": one.changes}
        found |= {
            _array_name(name, what): np.ascontiguousarray(each) for what, each in kept.items() if each is not None
        }
    return safetensors.numpy.save(found)


def write(path: Path, evidence: Evidence) -> None:
    """Put evidence into an archive, which is made anew, or replaced.

    Raises:
        OodbenchError: it is more than `load` would read.
        StorageError: it cannot be written.
    """
    contents = {SAID: evidence.description.written()}
    contents |= {_row_file(number): pack_arrays(row.id_scores, row.sets) for number, row in enumerate(evidence.rows, 1)}
    contents |= {f"networks/{digest}.safetensors": raw for digest, raw in evidence.networks.items()}
    if (size := sum(map(len, contents.values()))) > MOST:
        raise OodbenchError(
            f"that is {size >> 20:,} MiB of evidence, and an archive holds {MOST >> 20} at most: choose fewer rows "
            "with --detector and --task, or run on fewer images with --images"
        )
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in contents.items():
            about = zipfile.ZipInfo(name, _EPOCH)
            about.compress_type, about.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            archive.writestr(about, content)
    write_atomic(path, buffer.getvalue())


def load(path: Path) -> Evidence:
    """Return the evidence in an archive.

    Raises:
        RefusedError: it is not valid evidence, or the archive plays tricks; the message says by what.
        OodbenchError: there is no such file.
    """
    try:
        if path.is_dir():
            raise OodbenchError(
                f"{path} is a folder: `oodbench evidence {quote(str(path))} -o evidence.zip` makes evidence of it"
            )
        if not path.is_file():
            raise OodbenchError(
                f"there is no evidence {path}: `oodbench evidence RESULTS -o {quote(path.name)}` makes some"
            )
        if path.stat().st_size > MOST:
            raise RefusedError(f"it is larger than {MOST >> 20} MiB, and evidence is not")
        raw = path.read_bytes()
    except OSError as error:
        raise OodbenchError(f"cannot read {path}: {error.strerror or error}; mend its permissions") from error
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            contents = {member.filename: _content(archive, member) for member in _members(archive)}
    except (*DAMAGE, OSError, NotImplementedError, RuntimeError, ValueError) as error:
        raise RefusedError(f"it is not a whole zip archive ({_short_text(error)})") from error
    return _read_evidence(contents, sha256(raw).hexdigest())


def _members(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """Return the files that an archive lists.

    Raises:
        RefusedError: it lists what no evidence has.
    """
    found = archive.infolist()
    if len(found) > MOST_MEMBERS:
        raise RefusedError(f"it lists {len(found):,} files, and evidence has {MOST_MEMBERS} at most")
    seen: set[str] = set()
    for member in found:
        name = printable(member.orig_filename)[:120]
        if member.filename in seen:
            raise RefusedError(f"it holds two files called {name}: which of them counts depends on who reads it")
        seen.add(member.filename)
        # zipfile cuts a name at a null byte.
        if member.filename != member.orig_filename or not _MEMBER.fullmatch(member.filename):
            raise RefusedError(f"it holds a file called {name}, and evidence has none of that name")
        mode = member.external_attr >> 16
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
            raise RefusedError(f"its {name} is a link or a device, not a file")
        if member.flag_bits & _ENCRYPTED:
            raise RefusedError(f"its {name} is behind a password")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise RefusedError(f"its {name} is packed by another method than deflate")
    if (unpacked := sum(member.file_size for member in found)) > MOST:
        raise RefusedError(f"it unpacks to {unpacked >> 20:,} MiB, and evidence to {MOST >> 20} at most")
    if SAID not in seen:
        raise RefusedError(f"it holds no {SAID}")
    return found


def _content(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    """Unpack a file, of which no more is read than the size that it states."""
    if member.filename == SAID and member.file_size > MOST_SAID:
        raise RefusedError(f"its {SAID} has {member.file_size >> 20} MiB, and no description is so long")
    with archive.open(member) as stream:
        content = stream.read(member.file_size + 1)
    if len(content) != member.file_size:
        raise RefusedError(
            f"its {member.filename} has {len(content):,} bytes, and the archive says {member.file_size:,}"
        )
    return content


def _read_evidence(contents: Mapping[str, bytes], digest: str) -> Evidence:
    description = read(contents[SAID])
    expected = {SAID, *(_row_file(number) for number in range(1, len(description.rows) + 1))}
    expected |= {f"networks/{one}.safetensors" for one in description.networks}
    if odd := sorted(expected ^ contents.keys()):
        raise RefusedError(f"{odd[0]} is {'not in it' if odd[0] in expected else 'in it, and it does not say so'}")
    if unused := {*description.networks} - {said.case.network_digest for said in description.rows}:
        raise RefusedError(f"it carries a network that no row is of, {min(unused)[:12]}")
    rows = tuple(_read_row(said, contents[_row_file(n)], _row_file(n)) for n, said in enumerate(description.rows, 1))
    networks = {one: contents[f"networks/{one}.safetensors"] for one in description.networks}
    for one, raw in networks.items():
        _require_tensors(raw, f"network {one[:12]}")
    return Evidence(description, rows, networks, digest)


def _read_row(said: RowDescription, raw: bytes, name: str) -> Row:
    """Return a row, once its arrays are those that its description says."""
    if sha256(raw).hexdigest() != said.arrays:
        raise RefusedError(f"reused digest: {name} is not the file whose SHA-256 the description has")
    found = _tensors(raw, name)
    wanted = {ID_SCORES} | {_array_name(one.name, what) for one in said.sets for what in ("indices", "scores")}
    for one in said.sets:
        changes = _array_name(one.name, "changes")
        wanted |= {changes if changes in found else _array_name(one.name, "images")} if one.kept else set()
    if odd := sorted(wanted ^ found.keys()):
        raise RefusedError(f"{name}: {printable(odd[0])[:80]} is missing, or nothing that a row has")
    sets = {one.name: _read_set(one.name, one.count, found, name) for one in said.sets}
    for one in said.sets:
        images = sets[one.name].images
        if images is not None and images_digest(images) != one.images:
            raise RefusedError(f"reused digest: the images of {one.name} in {name} have another SHA-256 than it says")
    return Row(said, _read_scores(found[ID_SCORES], None, f"{name}: {ID_SCORES}"), sets)


def _read_set(one: str, count: int, found: Mapping[str, npt.NDArray[Any]], name: str) -> SetArrays:
    indices = found[_array_name(one, "indices")]
    images, changes = (found.get(_array_name(one, what)) for what in ("images", "changes"))
    if indices.dtype != np.int64 or indices.shape != (count,):
        raise RefusedError(
            f"{name}: the indices of {one} are {indices.dtype} {indices.shape}, expected int64 ({count},)"
        )
    if len(np.unique(indices)) != count:
        raise RefusedError(f"{name}: {one} has an image twice, and an image counts once")
    for what, pixels in (("images", images), ("changes", changes)):
        if pixels is not None:
            _require_pixels(pixels, count, f"{what} of {one} in {name}")
    return SetArrays(
        indices, _read_scores(found[_array_name(one, "scores")], count, f"{name}: scores of {one}"), images, changes
    )


def _require_pixels(pixels: npt.NDArray[Any], count: int, what: str) -> None:
    if pixels.dtype != np.uint8:
        raise RefusedError(f"off the grid: the {what} are {pixels.dtype}, and 8-bit ones are uint8")
    if pixels.ndim != 4 or len(pixels) != count or pixels.shape[3] != 3 or not pixels.size:
        raise RefusedError(f"the {what} have the shape {pixels.shape}, expected ({count}, H, W, 3)")


def _read_scores(array: npt.NDArray[Any], count: int | None, where: str) -> Floats:
    if array.dtype != np.float64 or array.ndim != 1 or not array.size or (count is not None and len(array) != count):
        raise RefusedError(f"{where} are {array.dtype} {array.shape}, expected float64 ({count or 'N'},)")
    if not np.isfinite(array).all():
        raise RefusedError(f"{where} are not all finite")
    return array


def _tensors(raw: bytes, name: str) -> dict[str, npt.NDArray[Any]]:
    try:
        return safetensors.numpy.load(raw)
    except Exception as error:  # numbers that NumPy has not are a KeyError, a damaged header one of safetensors' own
        raise RefusedError(f"{name} is no safetensors file ({_short_text(error)})") from error


def _require_tensors(raw: bytes, name: str) -> None:
    """Refuse whatever else calls itself safetensors, such as a pickle, before any reader gets it."""
    try:
        safetensors.deserialize(raw)  # type: ignore[no-untyped-call]
    except Exception as error:
        raise RefusedError(f"{name} is no safetensors file ({_short_text(error)})") from error


def _array_name(name: str, what: str) -> str:
    return f"ood/{name}/{what}"  # no set's name has a slash


def _row_file(number: int) -> str:
    return f"rows/{number:02}.safetensors"


def _short_text(error: Exception) -> str:
    return printable(" ".join(str(error).split()) or type(error).__name__)[:200]
