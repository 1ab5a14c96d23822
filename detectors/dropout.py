"""MC dropout: what a network says on average when its dropout stays on. Gal and Ghahramani 2016, arXiv:1506.02142."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import log

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd
from torch.utils.checkpoint import checkpoint
from torch.utils.hooks import RemovableHandle

from oodbench.basics.draws import Draws
from oodbench.basics.errors import OodbenchError
from oodbench.basics.passes import Passes
from oodbench.detector import Detector
from oodbench.networks.network import Network, Representation

from .msp import log_odds_of_largest

ELEMENTS, CHANNELS = (nn.Dropout,), (nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)
"""Layers that drop single numbers, and layers that drop whole feature maps."""


class Dropout(Detector):
    r"""The largest of the mean softmax probabilities over passes with dropout, as its log-odds.

    The network's own dropout layers draw, and nothing else of it leaves evaluation mode. A network without any is
    refused, and so is one whose only dropout is a function called in its forward pass, which cannot be seen.

    $$s(x) = \log\frac{p}{1 - p}, \qquad p = \max_k \frac1n \sum_{i=1}^{n} \operatorname{softmax}(z_i(x))_k$$
    """

    name = "dropout"
    paper = "Gal and Ghahramani 2016, arXiv:1506.02142"
    only_by_name = True

    @dataclass(frozen=True)
    class Parameters:
        """The paper averages 10 to 1,000 passes.

        Attributes:
            n: passes, each a draw.
        """

        n: int = 20

        def __post_init__(self) -> None:
            if self.n < 1:
                raise ValueError(f"n is {self.n}: choose 1 pass or more")

    parameters: Parameters

    def attach(self, network: Network, classes: int) -> None:
        """Find the dropout layers.

        Raises:
            OodbenchError: there are none that drop anything, or some of a kind that is not known here.
        """
        super().attach(network, classes)
        active = {name: part for name, part in network.named_modules() if isinstance(part, _DropoutNd) and part.p > 0}
        if not active:
            raise OodbenchError(
                f"{self.name} needs a network with dropout layers, and {type(network).__name__} has none that drop "
                "anything: name a network with nn.Dropout, or leave this detector out"
            )
        for name, part in active.items():
            if type(part) not in (*ELEMENTS, *CHANNELS) or part.p >= 1:
                raise OodbenchError(
                    f"{self.name} cannot draw for {name!r} of {type(network).__name__}, {part}: it knows Dropout and "
                    "Dropout1d to Dropout3d with p below 1; leave this detector out"
                )
        self._layers = list(active)

    def draws(self) -> int:
        """A draw for each pass."""
        return self.parameters.n

    def score_drawn(self, images: Tensor, draws: Draws) -> Tensor:
        """log(p / (1 - p)) of the largest p among the K means, in the log domain."""

        def of_pass(some: Tensor, number: int) -> Tensor:
            with self._dropping(draws, number):
                logits: Tensor = self.network(some)[:, : self.classes]
                return logits.double().log_softmax(1)

        with_graph = torch.is_grad_enabled() and images.requires_grad
        passes = [
            checkpoint(of_pass, images, number, use_reentrant=False, preserve_rng_state=False)
            if with_graph
            else of_pass(images, number)
            for number in range(self.parameters.n)
        ]
        return log_odds_of_largest(torch.stack(passes).logsumexp(0) - log(self.parameters.n))

    @contextmanager
    def _dropping(self, draws: Draws, number: int) -> Iterator[None]:
        """What the dropout layers let through is that of draw `number`, though the network is in evaluation mode."""
        network, handles = self.network, list[RemovableHandle]()
        calls = dict.fromkeys(self._layers, 0)

        def hook(name: str, layer: _DropoutNd) -> RemovableHandle:
            share = float(layer.p)

            def drop(_: nn.Module, __: object, output: Tensor) -> Tensor:
                calls[name] += 1  # a layer that is used twice in a pass drops something else each time
                one = output
                for axis in range(2, output.ndim) if isinstance(layer, CHANNELS) else ():
                    one = one.narrow(axis, 0, 1)
                kept = draws.uniform(number, one, f"{name}/{calls[name]}") >= share
                return output * kept.to(output) / (1 - share)

            return layer.register_forward_hook(drop)

        try:
            for name, layer in network.named_modules():
                if isinstance(layer, _DropoutNd) and name in calls:
                    handles.append(hook(name, layer))
            yield
        finally:
            for handle in handles:
                handle.remove()

    def score_representation(self, representation: Representation) -> Tensor:
        """Not possible: it takes passes of its own."""
        raise TypeError(f"{self.name} scores images, not representations: it takes passes with dropout")

    def own_passes(self) -> Passes:
        """One for each draw."""
        return Passes(self.parameters.n)

    def published_objective(self, images: Tensor) -> Tensor:
        """The score without dropout, one pass: attacks on it are transferred."""
        return log_odds_of_largest(self.network(images)[:, : self.classes])
