"""Labels as people have them in their own code: whole numbers, or an error that says what they are instead."""

from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from oodbench.basics.errors import OodbenchError

Labels = npt.NDArray[np.int64]

EXPECTED = "a label is one whole number an image, counted from 0 in the order of the network's outputs"


def whole_numbers(value: Any, count: int, what: str, advice: str) -> Labels:
    """Convert the labels of `count` images to int64 (count,); columns (count, 1) are taken as well.

    Args:
        value: what stands where labels are expected.
        count: of the images.
        what: the name of the labels in the message.
        advice: that ends the message.

    Raises:
        OodbenchError: it is something else; the message says what.
    """
    labels = as_array(value)
    if labels.dtype.kind in "biu" and labels.size == count and labels.shape in ((), (count,), (count, 1)):
        return labels.ravel().astype(np.int64)
    raise OodbenchError(f"{what} {_problem_text(labels, value, count)}: {EXPECTED}; {advice}")


def as_array(value: Any) -> npt.NDArray[Any]:
    """Convert what is given to an array, of objects where no other comes of it."""
    if isinstance(value, Tensor):
        return value.detach().cpu().numpy()
    if isinstance(value, list | tuple) and any(isinstance(label, Tensor) for label in value):
        value = [as_array(label) for label in value]
    try:
        return np.asarray(value)
    except (TypeError, ValueError):  # of several lengths
        return np.empty((), object)


def _problem_text(labels: npt.NDArray[Any], value: Any, count: int) -> str:
    """Say what labels are that are not whole numbers, one an image."""
    kind = labels.dtype.kind
    if kind not in "biufU":
        return f"are no numbers, but of the type {_type_text(value)}"
    if kind == "U":
        return f"are texts, such as {str(labels.ravel()[0])!r:.60}" if labels.size else "are empty"
    if _is_one_hot(labels, count):
        return f"are one-hot, {labels.dtype} of shape {labels.shape}; their argmax is meant"
    if labels.size == count and labels.shape in ((), (count,), (count, 1)):
        return f"are {labels.dtype}, such as {labels.ravel()[0]}" if count else "are empty"
    if labels.ndim == 1 and count != 1:
        return f"are {len(labels)} numbers for {count} images"
    return f"are {labels.dtype} of shape {labels.shape} for {'one image' if count == 1 else f'{count} images'}"


def _type_text(value: Any) -> str:
    if isinstance(value, list | tuple) and value:
        return f"{type(value).__name__} of {type(value[0]).__name__}"
    return type(value).__name__


def _is_one_hot(labels: npt.NDArray[Any], count: int) -> bool:
    rows = labels[None] if labels.ndim == 1 and count == 1 else labels
    if rows.ndim != 2 or len(rows) != count or rows.shape[1] < 2:
        return False
    return bool(np.isin(rows, (0, 1)).all() and (rows.sum(1) == 1).all())
