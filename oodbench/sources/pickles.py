"""Pickled batches of images, read without numpy's own unpickling: a hostile pickle can make that follow wild pointers.

A pickle may ask only for the stand-ins below, which know numbers and arrays of numbers.
"""

import pickle
from collections.abc import Mapping
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from oodbench.basics.errors import OodbenchError
from oodbench.sources.source import Pixels

NUMBERS = frozenset({"b1", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8"})
"""Types of numbers, without their byte order. Neither objects nor records, whose layout a pickle could forge."""


class _DType:
    """Stands in for numpy's dtype."""

    def __init__(self, code: str, *_: Any) -> None:
        self._code, self._order = code, "|"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self._order = state[1]

    def number(self) -> "np.dtype[Any]":
        """The type that is meant."""
        if self._code not in NUMBERS or self._order not in ("<", ">", "|", "="):
            raise pickle.UnpicklingError(f"it asks for an array of {self._code!r}")
        return np.dtype(self._order + self._code)


class _Array:
    """Stands in for numpy's ndarray, as long as the pickle is read."""

    array: npt.NDArray[Any] = np.empty(0, np.uint8)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, columns_first, content = state
        numbers = np.frombuffer(_bytes(content), dtype.number())
        self.array = numbers.reshape(shape, order="F" if columns_first else "C")


def _from_buffer(content: bytes, dtype: _DType, shape: tuple[int, ...], order: str) -> _Array:
    """Stand in for the function that arrays ask for in pickles of protocol 5."""
    array = _Array()
    array.array = np.frombuffer(content, dtype.number()).reshape(shape, order="F" if order == "F" else "C")
    return array


def _reconstruct(*_: Any) -> _Array:
    return _Array()


def _scalar(dtype: _DType, content: bytes | str) -> Any:
    return np.frombuffer(_bytes(content), dtype.number())[0]


def _bytes(content: bytes | str, *_: Any) -> bytes:
    """Give back the bytes that Python 2 wrote as text."""
    return content.encode("latin1") if isinstance(content, str) else content


KNOWN: Mapping[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy._core.multiarray", "scalar"): _scalar,
    ("numpy.core.numeric", "_frombuffer"): _from_buffer,
    ("numpy._core.numeric", "_frombuffer"): _from_buffer,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _DType,
    ("_codecs", "encode"): _bytes,
}
"""The names that a pickle of arrays asks for, and the stand-ins that it gets."""


class _Harmless(pickle.Unpickler):
    """Knows what stands in `KNOWN`; everything else is refused before it is built."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in KNOWN:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return KNOWN[module, name]


def read_batch(stream: IO[bytes], where: str) -> Mapping[str, Any]:
    """Read a pickled batch of images: a dict with an array `data`, and nothing in it that could run.

    Raises:
        OodbenchError: it is something else.
    """
    try:
        batch = _Harmless(stream, encoding="latin1").load()
    except Exception as error:  # a hostile pickle may raise anything
        raise OodbenchError(f"{where} is not a batch of images ({error}): get it again from where it came") from error
    if isinstance(batch, dict):  # keys are bytes where Python 3 read what Python 2 wrote, and wrote it again
        batch = {key.decode("latin1") if isinstance(key, bytes) else str(key): value for key, value in batch.items()}
    if not isinstance(batch, dict) or not isinstance(batch.get("data"), _Array):
        raise OodbenchError(f"{where} holds no array 'data': it is not a batch of images")
    return {name: value.array if isinstance(value, _Array) else value for name, value in batch.items()}


def pixels_of(batch: Mapping[str, Any], labels: str, side: int, where: str) -> Pixels:
    """Return the images of a batch, whose rows are planar, and its labels as they are.

    Args:
        batch: of `read_batch`.
        labels: name of the labels in it.
        side: of the images, in pixels.
        where: the batch is, for errors.

    Raises:
        OodbenchError: these are no images of that size, or have no labels.
    """
    rows, numbers = batch["data"], _integers(batch.get(labels))
    if rows.dtype != np.uint8 or numbers is None or rows.shape != (len(numbers), 3 * side * side):
        raise OodbenchError(
            f"{where} holds {rows.dtype} {rows.shape}, which are no images of {side} pixels with labels"
        )
    return np.ascontiguousarray(rows.reshape(-1, 3, side, side).transpose(0, 2, 3, 1)), numbers


def _integers(values: object) -> npt.NDArray[np.int64] | None:
    """A list or an array of integers; None if it is something else."""
    try:
        numbers = np.asarray(values)
    except ValueError:
        return None
    return numbers.astype(np.int64) if numbers.ndim == 1 and numbers.dtype.kind in "iu" else None
