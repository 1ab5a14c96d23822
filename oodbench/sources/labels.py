"""Labels as people have them in their own code: which of them are whole numbers, and what the others are."""

from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from oodbench.basics.errors import OodbenchError

Labels = npt.NDArray[np.int64]

EXPECTED = "a label is one whole number an image, counted from 0 in the order of the network's outputs"


def whole_numbers(value: Any, count: int, what: str, advice: str) -> Labels:
    """The labels of `count` images, int64 (count,); columns (count, 1) are taken as well.

    Args:
        value: what stands where labels are expected.
        count: of the images.
        what: it is called in the message.
        advice: that ends the message.

    Raises:
        OodbenchError: it is something else; the message says what.
    """
    found = as_array(value)
    if found.dtype.kind in "biu" and found.size == count and found.shape in ((), (count,), (count, 1)):
        return found.ravel().astype(np.int64)
    raise OodbenchError(f"{what} {_described(found, value, count)}: {EXPECTED}; {advice}")


def as_array(value: Any) -> npt.NDArray[Any]:
    """What is given as an array, of objects where no other comes of it."""
    if isinstance(value, Tensor):
        return value.detach().cpu().numpy()
    if isinstance(value, list | tuple) and any(isinstance(one, Tensor) for one in value):
        value = [as_array(one) for one in value]
    try:
        return np.asarray(value)
    except (TypeError, ValueError):  # of several lengths
        return np.empty((), object)


def _described(found: npt.NDArray[Any], value: Any, count: int) -> str:
    """What labels are that are no whole numbers, one an image."""
    kind = found.dtype.kind
    if kind not in "biufU":
        return f"are no numbers, but of the type {_type(value)}"
    if kind == "U":
        return f"are texts, such as {str(found.ravel()[0])!r:.60}" if found.size else "are empty"
    if _is_one_hot(found, count):
        return f"are one-hot, {found.dtype} of shape {found.shape}; their argmax is meant"
    if found.size == count and found.shape in ((), (count,), (count, 1)):
        return f"are {found.dtype}, such as {found.ravel()[0]}" if count else "are empty"
    if found.ndim == 1 and count != 1:
        return f"are {len(found)} numbers for {count} images"
    return f"are {found.dtype} of shape {found.shape} for {'one image' if count == 1 else f'{count} images'}"


def _type(value: Any) -> str:
    if isinstance(value, list | tuple) and value:
        return f"{type(value).__name__} of {type(value[0]).__name__}"
    return type(value).__name__


def _is_one_hot(found: npt.NDArray[Any], count: int) -> bool:
    rows = found[None] if found.ndim == 1 and count == 1 else found
    if rows.ndim != 2 or len(rows) != count or rows.shape[1] < 2:
        return False
    return bool(np.isin(rows, (0, 1)).all() and (rows.sum(1) == 1).all())
