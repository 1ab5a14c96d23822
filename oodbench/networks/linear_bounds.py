"""Linear bounds of logits: a plane above each, found backwards from it. CROWN; Zhang et al. 2018, arXiv:1811.00866.

Between what a ReLU sees at least and at most it lies between two lines. Which of the two counts says the sign of what
the logit has of it, which is known on the way back from the logit. Autograd goes that way: where a ReLU's derivative is
the slope of its line, a gradient is the slope of a plane. What ReLUs see is bounded by intervals (CROWN-IBP; Zhang et
al. 2020, arXiv:1906.06316): one pass forward, and one back for each logit or difference of two, are all that it takes.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from oodbench.networks.bounds import Bounder, Box, LogitBounds
from oodbench.networks.network import Network

FACTS = frozenset(
    {torch.Tensor.dim, torch.Tensor.size, torch.Tensor.__len__, torch.Tensor.shape.__get__}  # type: ignore[attr-defined]
)
"""Functions that say nothing of the values of a tensor."""

SUMS = frozenset(
    {
        *(torch.Tensor.add, torch.Tensor.add_, torch.add, torch.Tensor.neg, torch.neg),
        *(torch.Tensor.sub, torch.Tensor.sub_, torch.sub, torch.Tensor.__rsub__),
        *(torch.Tensor.mean, torch.mean, F.avg_pool2d, F.adaptive_avg_pool2d),
        *(torch.Tensor.flatten, torch.flatten, torch.Tensor.reshape, torch.Tensor.view, torch.Tensor.squeeze),
        *(torch.Tensor.contiguous, torch.Tensor.__getitem__, torch.cat, F.pad, F.dropout),
    }
)
"""Affine in all that they are given together. `F.dropout` draws nothing: boxes go through no other."""

PRODUCTS = frozenset({torch.Tensor.mul, torch.Tensor.mul_, torch.mul})
"""Affine in each factor while the others are constants."""

OF_THE_FIRST = frozenset({F.conv2d, F.linear, F.batch_norm, torch.Tensor.div, torch.Tensor.div_})
"""Affine in their first argument while the others are constants."""


class _BentError(Exception):
    """Something through which no planes are known, though intervals may be."""


class LinearBounder(Bounder):
    """A network in float64 whose logits are bounded by planes, or by intervals where these are the tighter ones.

    Planes go through convolutions, linear layers, batch norm, averages, sums, concatenations and `F.relu` (`nn.ReLU`)
    that is not done in place; a network with anything else has interval bounds. What planes go through is listed, and
    not what they do not: of a function that nobody thought of, a gradient is no plane.
    """

    def __init__(self, network: Network) -> None:
        super().__init__(network)
        self._network.requires_grad_(False)  # so that what requires a gradient is what depends on images

    def bounds(self, low: Tensor, high: Tensor) -> LogitBounds:
        """Bounds of the logits, as `Bounder.bounds` gives them and never wider."""
        intervals = super().bounds(low, high)
        try:
            tops, apart = _planes(self._network, low.double(), high.double())
        except _BentError:
            return intervals
        return LogitBounds(torch.minimum(intervals.high, tops), torch.minimum(intervals.differences, apart))


def _planes(network: Network, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """The most that logits (N, outputs) and their differences (N, outputs, outputs) are on planes above them."""
    seen = _Seen()
    with torch.no_grad(), seen:
        network.represent(Box.between(low, high))  # type: ignore[arg-type]
    relaxed = _Relaxed(seen.intervals, low.new_zeros(len(low)))
    center, radius = ((low + high) / 2).requires_grad_(), (high - low) / 2
    with torch.enable_grad():
        images = center.clone()  # the network may write into it, which autograd forbids for what has no past
        with relaxed:
            logits = network.represent(images).logits
        if relaxed.left or not logits.requires_grad or _has_other_autograd(logits):
            raise _BentError

        def top(function: Tensor) -> Tensor:
            relaxed.above.zero_()
            (slope,) = torch.autograd.grad(function.sum(), center, retain_graph=True)
            return function.detach() + relaxed.above + (slope.abs() * radius).flatten(1).sum(1)

        outputs = range(logits.shape[1])
        tops = torch.stack([top(logits[:, output]) for output in outputs], 1)
        apart = torch.zeros(len(low), len(outputs), len(outputs), dtype=low.dtype, device=low.device)
        for output in outputs:
            for other_output in outputs:
                if output != other_output:
                    apart[:, output, other_output] = top(logits[:, output] - logits[:, other_output])
    return tops, apart


class _Seen(TorchFunctionMode):
    """Notes the box that each ReLU of a network sees."""

    def __init__(self) -> None:
        self.intervals: list[tuple[Tensor, Tensor]] = []

    def __torch_function__(self, function: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        """Each function that the network calls."""
        if function is F.relu and isinstance(args[0], Box):
            self.intervals.append((args[0].low, args[0].high))
        return function(*args, **(kwargs or {}))


class _Relaxed(TorchFunctionMode):
    """Gives each ReLU of a network its two lines.

    Attributes:
        above: how far, since it was last set to 0, planes lie above their functions at the center, (N,).
        left: intervals that no ReLU has taken.
    """

    def __init__(self, intervals: Sequence[tuple[Tensor, Tensor]], above: Tensor) -> None:
        self.left, self.above = list(intervals), above

    def __torch_function__(self, function: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        """Each function that the network calls."""
        named = kwargs or {}
        moving = _depending_on_images((args, named))
        if not moving or function in FACTS:
            return function(*args, **named)
        if not torch.is_grad_enabled():  # its result would pass for a constant
            raise _BentError
        if function is F.relu and not named.get("inplace") and args[1:] != (True,):
            return self._line(args[0])
        if not _is_affine(function, args, moving):
            raise _BentError
        return function(*args, **named)

    def _line(self, seen: Tensor) -> Tensor:
        if not self.left or self.left[0][0].shape != seen.shape or seen.shape[:1] != self.above.shape:
            raise _BentError
        line: Tensor = _Lines.apply(seen, *self.left.pop(0), self.above)
        return line


def _depending_on_images(given: Any) -> list[Tensor]:
    """The tensors among arguments that depend on the images."""
    if isinstance(given, Tensor):
        return [given] if given.requires_grad else []
    if isinstance(given, dict):
        given = list(given.values())
    return (
        [tensor for part in given for tensor in _depending_on_images(part)] if isinstance(given, list | tuple) else []
    )


def _is_affine(function: Any, args: Sequence[Any], moving: Sequence[Tensor]) -> bool:
    if function in SUMS:
        return True
    if len(moving) > 1:
        return False
    return function in PRODUCTS or (function in OF_THE_FIRST and moving[0] is args[0])


def _has_other_autograd(logits: Tensor) -> bool:
    """Whether the network has an autograd function of its own, which may say of its gradient what it likes."""
    waiting, known = [logits.grad_fn], set()
    while waiting:
        node = waiting.pop()
        if node is None or node in known:
            continue
        known.add(node)
        if getattr(type(node), "_forward_cls", _Lines) is not _Lines:
            return True
        waiting += [before for before, _ in node.next_functions]
    return False


class _Lines(torch.autograd.Function):
    """A ReLU whose way back follows the line above it where a plane has a positive share of it, else the one below."""

    @staticmethod
    def forward(ctx: Any, seen: Tensor, low: Tensor, high: Tensor, above: Tensor) -> Tensor:
        ctx.save_for_backward(seen.clone(), low, high)  # the network may write into it afterwards
        ctx.above = above
        return seen.relu()

    @staticmethod
    def backward(ctx: Any, share: Tensor) -> tuple[Tensor, None, None, None]:
        seen, low, high = ctx.saved_tensors
        crossing = (low < 0) & (high > 0)
        passes = (low >= 0).to(share)
        steep = torch.where(crossing, high / (high - low).clamp(min=torch.finfo(share.dtype).tiny), passes)
        flat = torch.where(crossing, (high > -low).to(share), passes)
        over, under = share.clamp(min=0), share.clamp(max=0)
        upper = steep * seen - torch.where(crossing, steep * low, 0)
        ctx.above += (over * upper + under * flat * seen - share * seen.relu()).reshape(len(share), -1).sum(1)
        return over * steep + under * flat, None, None, None
