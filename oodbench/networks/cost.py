"""The cost of a network, counted before it is used."""

import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from oodbench.networks.network import Network

# Where torch has come without Triton, as for CPUs, it would warn of kernels that none of these networks has.
logging.getLogger("torch.utils.flop_counter").setLevel(logging.ERROR)
from torch.utils.flop_counter import flop_registry  # noqa: E402


class _Counting:
    """Adds up the cost of each operation by torch's formulas.

    What torch finds in the class of a mode itself it keeps from being compiled, and imports its compiler for that,
    which takes longer than a small run: so it is inherited, and torch's own `FlopCounterMode` is not used.
    """

    supports_higher_order_operators = True

    def __init__(self) -> None:
        super().__init__()
        self.operations = 0

    def __torch_dispatch__(
        self, function: Callable[..., Any], types: Any, args: Any = (), named: dict[str, Any] | None = None
    ) -> Any:
        named = named or {}
        formula = flop_registry.get(getattr(function, "overloadpacket", None))
        if formula is None and isinstance(function, torch._ops.OpOverload):
            with self:  # type: ignore[attr-defined]
                result = function.decompose(*args, **named)
            if result is not NotImplemented:
                return result
        result = function(*args, **named)
        if formula is not None:
            self.operations += formula(*args, **named, out_val=result)
        return result


class _Counter(_Counting, TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the operations of what is computed inside."""


def operations(network: Network, shape: tuple[int, int, int]) -> int:
    """Floating-point operations of a forward pass of `network` over one image, (C, H, W), as torch counts them.

    Images that it cannot take are not refused here; what was counted until then is given.
    """
    counter = _Counter()
    with torch.no_grad(), counter, suppress(RuntimeError, ValueError):
        network.represent(torch.zeros(1, *shape))
    return counter.operations
