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

BENT = (F.relu6, F.hardtanh, F.leaky_relu, F.max_pool2d, torch.relu, torch.sigmoid, torch.tanh, torch.Tensor.relu)
"""What intervals go through and planes do not: there they stay intervals."""


class _BentError(Exception):
    """Something through which only intervals are known."""


class LinearBounder(Bounder):
    """A network in float64 whose logits are bounded by planes, or by intervals where these are the tighter ones.

    Planes go through convolutions, linear layers, batch norm, averages, sums, concatenations and `F.relu` (`nn.ReLU`)
    that is not done in place; a network with anything else has interval bounds.
    """

    def bounds(self, low: Tensor, high: Tensor) -> LogitBounds:
        """As `Bounder.bounds`, and never wider."""
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
    relaxed = _Relaxed(seen.intervals)
    center, radius = ((low + high) / 2).requires_grad_(), (high - low) / 2
    with torch.enable_grad():
        with relaxed:
            logits = network.represent(center).logits
        if relaxed.left:
            raise _BentError

        def top(function: Tensor) -> Tensor:
            relaxed.above.zero_()
            (slope,) = torch.autograd.grad(function.sum(), center, retain_graph=True)
            return function.detach() + relaxed.above + (slope.abs() * radius).flatten(1).sum(1)

        outputs = range(logits.shape[1])
        tops = torch.stack([top(logits[:, one]) for one in outputs], 1)
        apart = torch.zeros(len(low), len(outputs), len(outputs), dtype=low.dtype, device=low.device)
        for one in outputs:
            for other in outputs:
                if one != other:
                    apart[:, one, other] = top(logits[:, one] - logits[:, other])
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

    def __init__(self, intervals: Sequence[tuple[Tensor, Tensor]]) -> None:
        self.left = list(intervals)
        self.above = intervals[0][0].new_zeros(len(intervals[0][0])) if intervals else torch.zeros(())

    def __torch_function__(self, function: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        """Each function that the network calls."""
        named = kwargs or {}
        if function is F.relu:
            if named.get("inplace") or args[1:] == (True,) or not self.left:
                raise _BentError
            return _Lines.apply(args[0], *self.left.pop(0), self.above)
        if function in BENT:
            raise _BentError
        return function(*args, **named)


class _Lines(torch.autograd.Function):
    """A ReLU whose way back follows the line above it where a plane has a positive share of it, else the one below."""

    @staticmethod
    def forward(ctx: Any, seen: Tensor, low: Tensor, high: Tensor, above: Tensor) -> Tensor:
        ctx.save_for_backward(seen, low, high)
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
        ctx.above += (over * upper + under * flat * seen - share * seen.relu()).flatten(1).sum(1)
        return over * steep + under * flat, None, None, None
