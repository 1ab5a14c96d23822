"""Interval bounds through a network: what its logits can be at most while every pixel moves within its own interval.

Gowal et al. 2018, arXiv:1810.12715. A network is run as it is, on boxes in place of images: each operation on the way
says what it does to a box.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from oodbench.basics.errors import OodbenchError
from oodbench.networks.network import Network


@dataclass(frozen=True)
class LogitBounds:
    """What holds of the logits z everywhere in a box, float64.

    Attributes:
        high: (N, outputs), z_j is at most this.
        differences: (N, outputs, outputs), z_j - z_k is at most this; tighter than what `high` and lows would give.
    """

    high: Tensor
    differences: Tensor


class Box:
    """Intervals around `center` of half-width `radius`, both (N, ...): an image, a feature map or logits."""

    def __init__(self, center: Tensor, radius: Tensor) -> None:
        self.center, self.radius = center, radius

    @classmethod
    def between(cls, low: Tensor, high: Tensor) -> "Box":
        """The box with these ends."""
        return cls((high + low) / 2, (high - low) / 2)

    @property
    def low(self) -> Tensor:
        """Its lower ends."""
        return self.center - self.radius

    @property
    def high(self) -> Tensor:
        """Its upper ends."""
        return self.center + self.radius

    @property
    def shape(self) -> torch.Size:
        """Of the center."""
        return self.center.shape

    def dim(self) -> int:
        """Number of axes."""
        return self.center.dim()

    def size(self, axis: int) -> int:
        """Length of an axis."""
        return self.center.size(axis)

    def flatten(self, start: int) -> "Box":
        """Axes from `start` on joined to one."""
        return Box(self.center.flatten(start), self.radius.flatten(start))

    def mean(self, axes: int | tuple[int, ...], keepdim: bool = False) -> "Box":
        """The mean over some axes."""
        return Box(self.center.mean(axes, keepdim=keepdim), self.radius.mean(axes, keepdim=keepdim))

    def __add__(self, other: "Box | Tensor | float") -> "Box":
        if isinstance(other, Box):
            return Box(self.center + other.center, self.radius + other.radius)
        return Box(self.center + other, self.radius)

    def __sub__(self, other: "Tensor | float") -> "Box":
        return Box(self.center - other, self.radius)

    def __truediv__(self, divisor: Tensor) -> "Box":
        return Box(self.center / divisor, self.radius / divisor.abs())

    @classmethod
    def __torch_function__(
        cls, function: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> "Box":
        if function not in _RULES:
            name = getattr(function, "__name__", str(function))
            raise OodbenchError(
                f"no interval bounds are known through {name}: the certified task takes networks of convolutions, "
                "linear layers, batch norm, ReLU, pooling, sums and concatenations; leave it out for this one"
            )
        return _RULES[function](*args, **(kwargs or {}))


def _linear(apply: Callable[..., Tensor]) -> Callable[..., Box]:
    """The rule of an operation with weights: the center goes through it, the radius through the weights' sizes."""

    def rule(box: Box, weight: Tensor, bias: Tensor | None = None, *others: Any, **named: Any) -> Box:
        center = apply(box.center, weight, bias, *others, **named)
        return Box(center, apply(box.radius, weight.abs(), None, *others, **named))

    return rule


def _averaging(apply: Callable[..., Tensor]) -> Callable[..., Box]:
    """The rule of an operation whose results are weighted sums with weights from 0 up."""
    return lambda box, *others, **named: Box(apply(box.center, *others, **named), apply(box.radius, *others, **named))


def _rising(apply: Callable[..., Tensor]) -> Callable[..., Box]:
    """The rule of an operation that never falls when what it sees rises."""
    return lambda box, *others, **named: Box.between(
        apply(box.low, *others, **named), apply(box.high, *others, **named)
    )


def _batch_norm(
    box: Box,
    running_mean: Tensor,
    running_var: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Box:
    center = F.batch_norm(box.center, running_mean, running_var, weight, bias, training, momentum, eps)
    scale = (torch.ones_like(running_var) if weight is None else weight.abs()) / (running_var + eps).sqrt()
    return Box(center, box.radius * scale.view(1, -1, *(1,) * (box.dim() - 2)))


def _cat(boxes: Sequence[Box], dim: int = 0) -> Box:
    return Box(torch.cat([box.center for box in boxes], dim), torch.cat([box.radius for box in boxes], dim))


_RULES: dict[Callable[..., Any], Callable[..., Box]] = {
    F.conv2d: _linear(F.conv2d),
    F.linear: _linear(F.linear),
    F.batch_norm: _batch_norm,
    F.relu: _rising(F.relu),
    F.max_pool2d: _rising(F.max_pool2d),
    F.avg_pool2d: _averaging(F.avg_pool2d),
    F.adaptive_avg_pool2d: _averaging(F.adaptive_avg_pool2d),
    torch.flatten: lambda box, start_dim=0, end_dim=-1: box.flatten(start_dim),
    torch.cat: _cat,
}


class Bounder:
    """A network in float64 that takes boxes.

    Args:
        network: in evaluation mode; a copy is used.
    """

    def __init__(self, network: Network) -> None:
        self._network = copy.deepcopy(network).double().eval()

    def bounds(self, low: Tensor, high: Tensor) -> LogitBounds:
        """Bounds of the logits while images lie between `low` and `high`, float (N, C, H, W).

        Raises:
            OodbenchError: the network does something whose effect on a box is not known.
        """
        with torch.no_grad():
            box: Any = Box.between(low.double(), high.double())
            features: Any = self._network.represent(box).features
            head: nn.Linear = self._network.head
            logits = _RULES[F.linear](features, head.weight, head.bias)
            # The difference of two logits is one linear function of the features: bounded as such, and not as the
            # difference of two bounds, it keeps what they have in common.
            apart = head.weight[:, None] - head.weight[None]
            center = logits.center[:, :, None] - logits.center[:, None]
            radius = torch.einsum("nd,jkd->njk", features.radius, apart.abs())
            return LogitBounds(logits.high, center + radius)
