"""Which tensors in the result of somebody's module may be its logits."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from oodbench.basics.errors import OodbenchError

TOLERANCE = 1e-4
"""The distance from 1 that the sum of an image's probabilities may have."""


def returned_values(result: Any) -> list[Any]:
    """Return what of a module's result may be logits: the result itself, its parts if it is a tuple, or its logits.

    Not only tensors: bounds run a network on boxes in place of images.
    """
    if not isinstance(result, Tensor) and hasattr(result, "logits"):
        result = result.logits
    elif isinstance(result, Mapping) and "logits" in result:
        result = result["logits"]
    return list(result) if isinstance(result, tuple | list) else [result]


def possible_logits(module: str, result: Any) -> dict[int, Tensor]:
    """The tensors that could be logits in what the module called so returned, by their places in `returned_values`.

    Raises:
        OodbenchError: there is none.
    """
    values = returned_values(result)
    possible = {
        place: value
        for place, value in enumerate(values)
        if isinstance(value, Tensor) and value.ndim == 2 and value.is_floating_point()
    }
    if not possible:
        raise OodbenchError(
            f"{module} returns {_kind_text(values[0] if len(values) == 1 else result)} and no logits (N, K): return "
            "them, a tuple with them, or an object with .logits"
        )
    return possible


def doubt_about_logits(possible: Sequence[Tensor]) -> str:
    """Say why what a module returned, and no linear layer gave, cannot be taken for logits; "" if it can."""
    if len(possible) > 1:
        shapes = ", ".join(str(tuple(tensor.shape)) for tensor in possible)
        return f"returns {len(possible)} tensors that may be logits ({shapes}), and no linear layer gives one of them"
    first = possible[0].double()
    ones = torch.ones(len(first), dtype=first.dtype, device=first.device)
    if (first >= 0).all() and torch.allclose(first.sum(1), ones, atol=TOLERANCE):
        return "returns probabilities, and scores such as the energy need logits: leave the softmax out"
    if (first <= 0).all() and torch.allclose(first.exp().sum(1), ones, atol=TOLERANCE):
        return "returns log-probabilities, and scores such as the energy need logits: leave the log-softmax out"
    return ""


def _kind_text(result: Any) -> str:
    return f"a tensor {tuple(result.shape)}" if isinstance(result, Tensor) else f"a {type(result).__name__}"
