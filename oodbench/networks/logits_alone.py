"""Networks of logits alone: modules whose logits no linear layer gives, so that nobody knows which features they have.

A head that is a 1x1 convolution makes such a network, or one that calls `F.linear`. MSP, MaxLogit, the energy and
whatever else looks at logits alone work on it; a detector that asks for features is refused by its name. The mirror
image, features without logits, is `oodbench.networks.headless`.
"""

from __future__ import annotations

from typing import Any, NoReturn

from torch import Tensor

from oodbench.networks.network import MissingPartError, Representation

LOGITS_ALONE = "logits alone: "
"""What texts about such a network begin with."""


class NoFeaturesError(MissingPartError):
    """Features, or the layer behind them, were asked of a network of logits alone.

    Args:
        network: what it is called.
    """

    def __init__(self, network: str) -> None:
        super().__init__(
            "needs features and the linear layer that makes logits of them, and nobody knows which features the logits "
            f"of {network} are made of, since no linear layer gives them: name the last linear layer with head=, give "
            "the network one, or take detectors that look at logits alone, such as msp, maxlogit, energy and gen"
        )


class LogitsAlone(Representation):
    """A representation whose features say that there are none when they are asked for."""

    network: str
    """What the network is called."""

    @classmethod
    def of(cls, network: str, logits: Tensor, nothing: Tensor, taps: tuple[Tensor, ...]) -> LogitsAlone:
        """Return the representation with `logits` (N, outputs) and `taps` that the network called so gives.

        Args:
            network: what it is called.
            logits: (N, outputs).
            nothing: (N, 0), which stands in the place of the features.
            taps: feature maps (N, C_l, H_l, W_l).
        """
        made = cls(logits, nothing, taps)
        made.network = network
        return made

    @property
    def features(self) -> NoReturn:
        """Never there.

        Raises:
            NoFeaturesError: always.
        """
        raise NoFeaturesError(self.network)

    def _replace(self, **changes: Any) -> LogitsAlone:
        """Return the same representation with other `changes` in the places that they name."""
        made = super()._replace(**changes)
        made.network = self.network
        return made


def logits_alone_text(network: str, linear_layers: str) -> str:
    """Say that a network is one of logits alone, and why.

    Args:
        network: what it is called.
        linear_layers: those that it has all the same, in words.
    """
    return (
        f"{LOGITS_ALONE}no linear layer gives the outputs of {network}, so nobody knows which features they "
        "are made of, and detectors that need features are refused; head= names the last linear layer (there are "
        f"{linear_layers})"
    )
