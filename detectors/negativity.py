"""Whether features are activations, for methods that cut them or weigh them as if none were negative."""

import torch
from torch import Tensor

from oodbench.basics.errors import OodbenchError
from oodbench.networks.network import Network

MOST = 0.25
"""Share of all magnitude up to which negative features are taken for activations.

Behind a ReLU it is 0. SiLU and GELU go no further below zero than 0.28 and 0.17, so it is small behind these in a
network whose activations are larger than that; behind a layer norm, as in ViT, Swin and ConvNeXt, it is about a half.
"""


class Negativity:
    """How much of the features that were seen is negative."""

    def __init__(self) -> None:
        self._negative = torch.zeros((), dtype=torch.float64)
        self._all = torch.zeros((), dtype=torch.float64)

    def add(self, features: Tensor) -> None:
        """Take in features (B, D)."""
        features = features.detach()
        self._negative = self._negative.to(features.device) + features.clamp(max=0).abs().sum(dtype=torch.float64)
        self._all = self._all.to(features.device) + features.abs().sum(dtype=torch.float64)

    @property
    def share(self) -> float:
        """Of the negative ones in the sum of all magnitudes, 0 to 1."""
        return float(self._negative / self._all) if self._all > 0 else 0.0

    def require_activations(self, name: str, network: Network) -> None:
        """Nothing where the features pass for activations.

        Raises:
            OodbenchError: too much of them is negative for the method `name`.
        """
        if self.share > MOST:
            raise OodbenchError(
                f"{name} takes features for activations, which are not negative, and {self.share:.0%} of the magnitude "
                f"of those of {type(network).__name__} is negative, as behind a layer norm: its scores would mean "
                f"nothing; leave {name} out for this network, or name one whose last features pass a ReLU"
            )
