"""Interval bounds through a network: the most that its logits can be while every pixel moves within its own interval.

Gowal et al. 2018, arXiv:1810.12715. A network is run as it is, on boxes in place of images: each operation on the way
says what it does to a box.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from oodbench.basics.errors import OodbenchError
from oodbench.networks.logits_alone import LogitsAlone
from oodbench.networks.network import Network


@dataclass(frozen=True)
class LogitBounds:
    """Bounds of the logits z that hold everywhere in a box, float64.

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
        """The shape of the center."""
        return self.center.shape

    def dim(self) -> int:
        """Number of axes."""
        return self.center.dim()

    def size(self, *axis: int) -> Any:
        """Length of an axis, or of all."""
        return self.center.size(*axis)

    def __len__(self) -> int:
        return len(self.center)

    def flatten(self, start_dim: int = 0, end_dim: int = -1) -> "Box":
        """Axes from `start_dim` to `end_dim` joined to one."""
        return Box(self.center.flatten(start_dim, end_dim), self.radius.flatten(start_dim, end_dim))

    def reshape(self, *shape: Any) -> "Box":
        """The box with its numbers in other axes."""
        return Box(self.center.reshape(*shape), self.radius.reshape(*shape))

    view = reshape

    def squeeze(self, *axes: Any) -> "Box":
        """The box without axes of length 1."""
        return Box(self.center.squeeze(*axes), self.radius.squeeze(*axes))

    def contiguous(self, **named: Any) -> "Box":
        """The box itself, or a copy where a tensor would be copied: what is written into a copy, others do not see."""
        return Box(self.center.contiguous(**named), self.radius.contiguous(**named))

    def mean(self, dim: int | Sequence[int] = (), keepdim: bool = False) -> "Box":
        """The mean over some axes, or over all."""
        axes = dim if isinstance(dim, int) else tuple(dim)
        return Box(self.center.mean(axes, keepdim=keepdim), self.radius.mean(axes, keepdim=keepdim))

    def relu(self) -> "Box":
        """The box with all below 0 raised to 0."""
        return Box.between(self.low.relu(), self.high.relu())

    def relu_(self) -> "Box":
        """Raise all below 0 to 0, in place."""
        return self.become(self.relu())

    def become(self, other: "Box") -> "Box":
        """Take the intervals of another box: what is written into a feature map, all see that hold it or a view of it.

        So it is written into the memory of this one, which its views share as those of a tensor do.
        """
        self.center.copy_(other.center)
        self.radius.copy_(other.radius)
        return self

    def moved_to(self, center: Tensor) -> "Box":
        """A box as wide around another center, which may be broadcast; on memory of its own, as `become` needs."""
        return Box(center, self.radius.expand_as(center).clone())

    def __add__(self, other: "Box | Tensor | float") -> "Box":
        if isinstance(other, Box):
            return Box(self.center + other.center, self.radius + other.radius)
        return self.moved_to(self.center + other)

    __radd__ = __add__

    def __iadd__(self, other: "Box | Tensor | float") -> "Box":
        return self.become(self + other)

    def __getitem__(self, which: Any) -> "Box":
        return Box(self.center[which], self.radius[which])

    def __mul__(self, factor: "Box | Tensor | float") -> "Box":
        if isinstance(factor, Box):
            raise _no_bounds_error("a product of two feature maps")
        size: Any = abs(factor)
        return Box(self.center * factor, self.radius * size)

    __rmul__ = __mul__

    def __imul__(self, factor: "Box | Tensor | float") -> "Box":
        return self.become(self * factor)

    def __neg__(self) -> "Box":
        return self.moved_to(-self.center)

    def __pos__(self) -> "Box":
        return self

    def __sub__(self, other: "Box | Tensor | float") -> "Box":
        if isinstance(other, Box):
            return Box(self.center - other.center, self.radius + other.radius)
        return self.moved_to(self.center - other)

    def __rsub__(self, other: "Tensor | float") -> "Box":
        return -self + other

    def __isub__(self, other: "Box | Tensor | float") -> "Box":
        return self.become(self - other)

    def __truediv__(self, divisor: "Box | Tensor | float") -> "Box":
        if isinstance(divisor, Box):
            raise _no_bounds_error("a division by a feature map")
        size: Any = abs(divisor)
        return Box(self.center / divisor, self.radius / size)

    def __itruediv__(self, divisor: "Box | Tensor | float") -> "Box":
        return self.become(self / divisor)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # asked by Python itself
            raise AttributeError(name)
        raise _no_bounds_error(name)

    @classmethod
    def __torch_function__(
        cls, function: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> "Box":
        name = getattr(function, "__name__", str(function))
        if function not in _RULES:
            raise _no_bounds_error(name)
        with _explaining(f"{name} as it is called here"):
            return _RULES[function](*args, **(kwargs or {}))


class _UnboundedError(OodbenchError, AttributeError):
    """Something whose effect on a box is not known; `hasattr` is told as it expects."""


def _no_bounds_error(what: str) -> _UnboundedError:
    return _UnboundedError(
        f"no interval bounds are known through {what}: the certified task takes networks of convolutions, linear "
        "layers, batch norm, activations that never fall, pooling, sums and concatenations; leave it out for this one"
    )


@contextmanager
def _explaining(what: str) -> Iterator[None]:
    """Inside, errors of type from calls that a box does not take become errors that say that no bounds are known."""
    try:
        yield
    except OodbenchError:
        raise
    except (TypeError, AttributeError) as error:
        raise _no_bounds_error(f"{what} ({error})") from error


_REFUSED = {
    **dict.fromkeys(("pow", "rpow", "ipow"), "the operator **"),
    **dict.fromkeys(("matmul", "rmatmul", "imatmul"), "the operator @"),
    **dict.fromkeys(("floordiv", "rfloordiv", "ifloordiv"), "the operator //"),
    **dict.fromkeys(("mod", "rmod", "imod", "divmod", "rdivmod"), "the operator %"),
    **dict.fromkeys(("lt", "le", "gt", "ge", "eq", "ne", "contains"), "a comparison of values"),
    **dict.fromkeys(("and", "or", "xor", "rand", "ror", "rxor", "invert", "bool"), "a decision by values"),
    **dict.fromkeys(("float", "int", "index", "complex", "array"), "values taken out of PyTorch"),
    **dict.fromkeys(("round", "trunc", "floor", "ceil"), "rounding"),
    "rtruediv": "a division by a feature map",
    "abs": "abs",
    "setitem": "an assignment to a part of a feature map",
}
"""Operators without bounds. Python looks them up in the class, past `__getattr__`, and has a meaning of its own for
comparisons and decisions, under which a network would run on wrongly."""


def _refusal(what: str) -> Callable[..., Any]:
    def refuse(*_: Any) -> Any:
        raise _no_bounds_error(what)

    return refuse


for _operator, _what in _REFUSED.items():
    setattr(Box, f"__{_operator}__", _refusal(_what))


def _dropout(box: Box, p: float = 0.5, training: bool = True, inplace: bool = False) -> Box:
    if training:
        raise _no_bounds_error("dropout that draws")
    return box


def _pad(box: Box, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Box:
    return Box(F.pad(box.center, pad, mode, value), F.pad(box.radius, pad, mode, 0 if mode == "constant" else None))


def _linear(apply: Callable[..., Tensor]) -> Callable[..., Box]:
    """The rule of an operation with weights: the center goes through it, the radius through the weights' sizes."""

    def rule(box: Box, weight: Tensor, bias: Tensor | None = None, *others: Any, **named: Any) -> Box:
        center = apply(box.center, weight, bias, *others, **named)
        return Box(center, apply(box.radius, weight.abs(), None, *others, **named))

    return rule


def _leaky_relu(box: Box, negative_slope: float = 0.01, inplace: bool = False) -> Box:
    if negative_slope < 0:
        raise _no_bounds_error("a leaky ReLU that falls below 0")
    return _activation(F.leaky_relu)(box, negative_slope, inplace)


def _averaging(apply: Callable[..., Tensor]) -> Callable[..., Box]:
    """The rule of an operation whose results are weighted sums with weights from 0 up."""
    return lambda box, *others, **named: Box(apply(box.center, *others, **named), apply(box.radius, *others, **named))


def _rising(apply: Callable[..., Tensor]) -> Callable[..., Box]:
    """The rule of an operation that never falls when what it sees rises."""
    return lambda box, *others, **named: Box.between(
        apply(box.low, *others, **named), apply(box.high, *others, **named)
    )


def _activation(apply: Callable[..., Tensor]) -> Callable[..., Box]:
    """The rule of an operation that never falls, whose last option is `inplace`."""
    rising = _rising(apply)

    def rule(box: Box, *others: Any, **named: Any) -> Box:
        result = rising(box, *others, **named)
        return box.become(result) if named.get("inplace") or others[-1:] == (True,) else result

    return rule


def _batch_norm(
    box: Box,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Box:
    if training or running_mean is None or running_var is None:
        raise _no_bounds_error("batch norm by the statistics of a batch")
    scale = (torch.ones_like(running_var) if weight is None else weight) / (running_var + eps).sqrt()
    shift = -running_mean * scale if bias is None else bias - running_mean * scale
    # Not by F.batch_norm: through the mean and the variance it has no gradients, and a training by bounds needs them.
    channels = (1, -1, *(1,) * (box.dim() - 2))
    return Box(box.center * scale.view(channels) + shift.view(channels), box.radius * scale.abs().view(channels))


def _cat(boxes: Sequence[Box], dim: int = 0) -> Box:
    return Box(torch.cat([box.center for box in boxes], dim), torch.cat([box.radius for box in boxes], dim))


def _sum(one: Any, other: Any) -> Any:
    # Where a tensor stands first, it would ask for this rule again.
    return one + other if isinstance(one, Box) else other + one


def _product(one: Any, other: Any) -> Any:
    return one * other if isinstance(one, Box) else other * one


_RULES: dict[Callable[..., Any], Callable[..., Box]] = {
    F.conv2d: _linear(F.conv2d),
    F.linear: _linear(F.linear),
    F.batch_norm: _batch_norm,
    **{rising: _activation(rising) for rising in (F.relu, F.relu6, F.hardtanh)},
    **{rising: _rising(rising) for rising in (torch.relu, torch.sigmoid, torch.tanh)},
    F.leaky_relu: _leaky_relu,
    F.dropout: _dropout,
    F.pad: _pad,
    F.max_pool2d: _rising(F.max_pool2d),
    F.avg_pool2d: _averaging(F.avg_pool2d),
    F.adaptive_avg_pool2d: _averaging(F.adaptive_avg_pool2d),
    torch.flatten: lambda box, start_dim=0, end_dim=-1: box.flatten(start_dim, end_dim),
    torch.mean: lambda box, dim=(), keepdim=False: box.mean(dim, keepdim),
    torch.neg: lambda box: -box,
    **dict.fromkeys((torch.add, torch.Tensor.add), _sum),
    **dict.fromkeys((torch.sub, torch.Tensor.sub), lambda one, other: _sum(one, -other)),
    **dict.fromkeys((torch.mul, torch.Tensor.mul), _product),
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
        with torch.no_grad(), _explaining("a network that does not take boxes"):
            return self._bounds(Box.between(low.double(), high.double()))

    def _bounds(self, box: Any) -> LogitBounds:
        found = self._network.represent(box)
        if isinstance(found, LogitsAlone):
            return _bounds_of(found.logits)
        features: Any = found.features
        head: nn.Linear = self._network.head
        logits = _RULES[F.linear](features, head.weight, head.bias)
        # The difference of two logits is one linear function of the features: bounded as such, and not as the
        # difference of two bounds, it keeps what they have in common.
        apart = head.weight[:, None] - head.weight[None]
        center = logits.center[:, :, None] - logits.center[:, None]
        radius = torch.einsum("nd,jkd->njk", features.radius, apart.abs())
        return LogitBounds(logits.high, center + radius)


def _bounds_of(logits: Any) -> LogitBounds:
    """Bounds of a box of logits (N, outputs) of which no linear layer tells what two of them have in common."""
    apart = logits.high[:, :, None] - logits.low[:, None]
    same = torch.eye(apart.shape[1], dtype=torch.bool, device=apart.device)
    return LogitBounds(logits.high, apart.masked_fill(same, 0))
