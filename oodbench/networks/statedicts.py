"""Weights by name in a checkpoint's file, wherever in it they lie, read as data and never by running code."""

import argparse
import json
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from io import BytesIO
from pathlib import Path, PosixPath
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from oodbench.basics.errors import OodbenchError

ENTRY = "#"
"""Stands between a checkpoint's path and the name of the entry in it that is meant."""

TOP = "."
"""Name of the entry that is not nested in another."""

DEPTH = 4
"""The depth to which dicts of weights are looked for in others."""

LISTED = 100
"""The length up to which lists are searched for dicts of weights; longer ones are histories."""

Weights = Mapping[str, Tensor]

_GIVE = "give safetensors or torch.save(network.state_dict())"
_ARRAYS = np._core.multiarray  # type: ignore[attr-defined]  # where pickles of NumPy say that these functions live
_PLAIN: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
    np.dtype,
    np.ndarray,
    *(type(np.dtype(code)) for code in "?bhilqBHILQefdUS"),
    *((_ARRAYS.scalar, f"numpy.{module}.multiarray.scalar") for module in ("core", "_core")),
    *((_ARRAYS._reconstruct, f"numpy.{module}.multiarray._reconstruct") for module in ("core", "_core")),
    argparse.Namespace,
    PosixPath,
]
"""Classes that may lie beside weights since they run nothing: NumPy's scalars and arrays, as NumPy 1 and 2 pickle them
(an accuracy, say), and options as training scripts keep them."""

_BEGINNINGS: Mapping[bytes, str] = {
    b"version https://git-lfs": "a pointer of Git LFS and not the file itself: `git lfs pull` fetches that",
    b"\x89HDF\r\n": "an HDF5 file, as Keras writes weights: those are of no network here",
    b"\x1f\x8b": "compressed with gzip: uncompress it",
    b"BZh": "compressed with bzip2: uncompress it",
    b"\xfd7zXZ": "compressed with xz: uncompress it",
    b"\x28\xb5\x2f\xfd": "compressed with zstd: uncompress it",
    b"7z\xbc\xaf": "a 7z archive: unpack it and give the file of the weights in it",
    b"\x93NUMPY": "an array of NumPy and no weights by name",
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
    b"%PDF": "a PDF document",
    b"GGUF": "a GGUF file, which holds language models",
}


def split_entry(given: Path) -> tuple[Path, str]:
    """Split a path into the file and the name of an entry in it: `net.pth`, or `net.pth#ema`; no entry is ""."""
    path, mark, entry = str(given).rpartition(ENTRY)
    return (Path(path), entry) if mark and not given.is_file() else (given, "")


def state_dicts(path: Path) -> dict[str, dict[str, Tensor]]:
    """Read every dict of weights in a file, by the names of the dicts around it, joined by dots; `TOP` for none.

    Lists may be around it, too; their elements go by their places, from 0.

    The content decides, not the suffix: safetensors, or what `torch.save` makes of a dict. What lies beside weights
    (an epoch, options) is left out, and so is what optimizers keep.

    Raises:
        OodbenchError: there is no such file, it is damaged, or it holds something else; said as what it is.
    """
    return dict(_nested_dicts(_content(path), "", DEPTH))


def _nested_dicts(content: object, name: str, depth: int) -> Iterator[tuple[str, dict[str, Tensor]]]:
    if isinstance(content, list | tuple) and len(content) <= LISTED:
        content = {str(place): value for place, value in enumerate(content) if not isinstance(value, Tensor)}
    if not isinstance(content, Mapping) or not depth or "param_groups" in content:
        return
    weights = {str(key): value for key, value in content.items() if isinstance(key, str) and _is_weight(value)}
    if weights:
        yield name or TOP, weights
    for key, value in content.items():
        yield from _nested_dicts(value, f"{name}.{key}" if name else str(key), depth - 1)


def _is_weight(value: object) -> bool:
    """Whether an entry is what a network can take: dense, and with its data in the file."""
    return isinstance(value, Tensor) and value.layout == torch.strided and value.device.type == "cpu"


def _content(path: Path) -> object:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise cannot_open(path, error) from error
    if kind := _foreign_kind(raw):
        raise OodbenchError(f"checkpoint {path} is {kind}; {_GIVE}")
    try:
        if raw[8:9] == b"{":
            return safetensors.torch.load(raw)
        return plain_content(BytesIO(raw))
    except Exception as error:  # a damaged or hostile file makes the readers raise nearly anything
        raise OodbenchError(f"cannot read checkpoint {path}: {reading_problem(BytesIO(raw))}; {_GIVE}") from error


def _foreign_kind(raw: bytes) -> str:
    """Say what a file is that has no weights for torch or safetensors to read; "" where it may have some."""
    if not raw:
        return "empty, so it is damaged: fetch or copy it again"
    for beginning, kind in _BEGINNINGS.items():
        if raw.startswith(beginning):
            return kind
    text = raw[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype", b"<html", b"<head", b"<?xml")):
        return "a web page and not the file: open its address in a browser to see what it wants"
    if text.startswith((b"{", b"[")) and raw[8:9] != b"{":
        return _kind_of_json(raw)
    if raw[257:262] == b"ustar":
        return "a tar archive: unpack it and give the file of the weights in it"
    if raw[:1] == b"\x08" and any(mark in raw[:256] for mark in (b"onnx", b"pytorch", b"ONNX", b"ir_version")):
        return "an ONNX graph: weights are wanted, as torch saves them"
    return _kind_of_zip(raw) if raw.startswith(b"PK\x03\x04") else ""


def _kind_of_json(raw: bytes) -> str:
    with suppress(ValueError):
        if "weight_map" in json.loads(raw):
            return "the index of weights that lie in several files: join those with safetensors into one"
    return "a JSON text and no weights"


def _kind_of_zip(raw: bytes) -> str:
    try:
        with zipfile.ZipFile(BytesIO(raw)) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        return ""  # cut off, which the reader says
    ends = {name.rpartition("/")[2] for name in names}
    if "constants.pkl" in ends or any("/code/" in name for name in names):
        return "a TorchScript archive, which holds code: save network.state_dict() where it was made"
    if "data.pkl" in ends:
        return ""
    if any(name.endswith(".npy") for name in names):
        return "an archive of NumPy arrays (.npz)"
    if any(name.endswith(".weights.h5") for name in names):
        return "a network of Keras: give one of PyTorch"
    return "a zip archive of something else: unpack it and give the file of the weights in it"


def plain_content(file: Path | BytesIO) -> object:
    """Read what `torch.save` wrote: tensors, and what may lie beside them since it runs nothing.

    Raises:
        Exception: of nearly any kind, on a damaged or hostile file; `reading_problem` says why.
    """
    with torch.serialization.safe_globals(_PLAIN):
        return torch.load(file, map_location="cpu", weights_only=True)


def reading_problem(file: Path | BytesIO) -> str:
    """Say why `plain_content` gave up: objects that only code could make, or bytes that are missing."""
    foreign: list[str] = []
    with suppress(Exception), torch.serialization.safe_globals(_PLAIN):
        foreign = sorted(torch.serialization.get_unsafe_globals_in_checkpoint(file))  # of zip files only
    if any(name.startswith("torch.nn.") for name in foreign):
        return (
            "it is a whole pickled network, made by torch.save(network), which only code could bring back and is "
            "refused; where it was made, load it and save its weights"
        )
    if foreign:
        more = f" and {len(foreign) - 3} kinds more" if len(foreign) > 3 else ""
        return (
            f"it holds objects besides tensors and numbers ({', '.join(foreign[:3])}{more}), which only code could "
            "bring back and are refused; where it was made, save its weights without them"
        )
    return "it is damaged, or holds objects besides tensors, which are refused"


def cannot_open(path: Path, error: OSError) -> OodbenchError:
    """The error for a file that the system does not let be read."""
    return OodbenchError(
        f"cannot open checkpoint {path}: {error.strerror or 'not a readable file'}; give the file of a trained network"
    )
