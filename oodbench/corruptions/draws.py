"""Random numbers for corruptions, by a counter-based generator in tensor arithmetic.

They are made on the device where they are used, and an image gets the same numbers whatever else is in its batch.
"""

import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from oodbench.basics.files import digest


class Draws(Protocol):
    """Random numbers for N images; each call goes on where the last one stopped."""

    def uniform(self, *shape: int) -> Tensor:
        """Float64 (N, *shape) in [0, 1)."""

    def normal(self, *shape: int) -> Tensor:
        """Float64 (N, *shape), mean 0 and deviation 1."""

    def integers(self, low: int, high: int, *shape: int) -> Tensor:
        """Int64 (N, *shape) from `low` to `high` - 1."""


class CounterDraws:
    """One stream an image: the n-th number is a hash of the image's key and n. SplitMix64; Steele et al. 2014,
    doi:10.1145/2660193.2660195.

    Args:
        indices: (N,) of each image in its set.
        purpose: of the numbers; another purpose gives others.
        device: where the numbers are made.
    """

    def __init__(
        self, indices: Sequence[int] | npt.NDArray[np.int64], *purpose: int | str, device: torch.device | str = "cpu"
    ) -> None:
        base = int(digest(*(f"{type(part).__name__}:{part}" for part in purpose))[:16], 16)
        index = torch.as_tensor(np.asarray(indices, dtype=np.int64), device=device)
        self._keys = _mix(_mix(index * _GOLDEN) ^ _signed(base))
        self._drawn = 0

    def uniform(self, *shape: int) -> Tensor:
        """See `Draws`."""
        # The upper 53 bits, which is what a float64 holds.
        bits = self._bits(math.prod(shape)).bitwise_right_shift_(11).bitwise_and_((1 << 53) - 1)
        return bits.double().mul_(2.0**-53).view(-1, *shape)

    def normal(self, *shape: int) -> Tensor:
        """See `Draws`. Box and Muller 1958: two normal numbers of two uniform ones."""
        count = math.prod(shape)
        first, second = self.uniform(2, -(-count // 2)).unbind(1)
        radius = (1 - first).log_().mul_(-2).sqrt_()
        angle = second.mul_(2 * math.pi)
        both = torch.cat([angle.cos().mul_(radius), angle.sin().mul_(radius)], 1)
        return both[:, :count].reshape(-1, *shape)

    def integers(self, low: int, high: int, *shape: int) -> Tensor:
        """See `Draws`."""
        return low + (self.uniform(*shape) * (high - low)).long()

    def _bits(self, count: int) -> Tensor:
        counter = torch.arange(self._drawn + 1, self._drawn + count + 1, device=self._keys.device)
        self._drawn += count
        return _mix(self._keys[:, None] + counter * _GOLDEN)


def _signed(value: int) -> int:
    """The int64 with a 64-bit pattern."""
    return (value + (1 << 63)) % (1 << 64) - (1 << 63)


_GOLDEN, _FIRST, _SECOND = map(_signed, (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


def _mix(bits: Tensor) -> Tensor:
    """The finaliser of SplitMix64. Products of int64 wrap; its shifts are arithmetic, and masked to logical ones."""
    bits = (bits >> 30).bitwise_and_((1 << 34) - 1).bitwise_xor_(bits).mul_(_FIRST)
    bits = (bits >> 27).bitwise_and_((1 << 37) - 1).bitwise_xor_(bits).mul_(_SECOND)
    return (bits >> 31).bitwise_and_((1 << 33) - 1).bitwise_xor_(bits)
