"""ASH: energy of shaped features. Djurisic et al. 2023, arXiv:2209.09858; the variant ASH-S."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import log

import torch
from torch import Tensor
from torch.nn.functional import linear

from oodbench.basics.gradient import PerImage
from oodbench.detector import Detector
from oodbench.networks.network import Network, Representation

from .energy import energy
from .negativity import Negativity


class ASH(Detector):
    r"""Energy of the logits after small features are dropped and the others scaled up (ASH-S).

    Made for features that are not negative: how much of their sum the largest make up says nothing otherwise, and the
    method is refused where much of what it has scored since it was fitted was negative.

    $$s(x) = \log \sum_k \exp \bigl(W f' + b\bigr)_k, \qquad f'_i = f_i \exp\Bigl(\frac{\sum_j f_j}{\sum_{j \in
    \text{top}} f_j}\Bigr) \text{ for } i \in \text{top, else } 0$$
    """

    name = "ash"
    paper = "Djurisic et al. 2023, arXiv:2209.09858"

    @dataclass(frozen=True)
    class Parameters:
        """Default of the paper for ImageNet.

        Attributes:
            percentile: of an image's features, below which they are dropped; from 0, below 100.
        """

        percentile: float = 90.0

        def __post_init__(self) -> None:
            if not 0 <= self.percentile < 100:
                raise ValueError(f"percentile is {self.percentile}: choose from 0 to below 100")

    parameters: Parameters

    def attach(self, network: Network, classes: int) -> None:
        """Forget what was seen before."""
        super().attach(network, classes)
        self._negativity = Negativity()

    def score_representation(self, representation: Representation) -> Tensor:
        """Energy of the last layer over the shaped features.

        In float64: features that are all alike are scaled by up to exp(1 / share kept), which at the 99th percentile
        is beyond float32.
        """
        head = self.network.head
        self._negativity.add(representation.features)
        self._negativity.require_activations(self.name, self.network)
        features = self.shape(representation.features.double())
        bias = None if head.bias is None else head.bias.double()
        return energy(linear(features, head.weight.double(), bias)[:, : self.classes])

    def shape(self, features: Tensor) -> Tensor:
        """What the last layer is given for features (N, D)."""
        return shaped(features, self.parameters.percentile)

    def published_objective(self, images: Tensor) -> Tensor:
        """The score, which rises with it, on a logarithmic scale to both sides of zero.

        The paper attacks nothing. Scores may be as large as exp(1 / share kept), and so are their gradients, which
        networks in float32 cannot hold; on this scale they are as large as those of other energies.
        """
        return _logarithmic(self.score(images))

    def surrogates(self) -> Mapping[str, PerImage]:
        """The same, for whoever climbs everything."""
        return {"logarithm": lambda images: _logarithmic(self.score(images))}


def _logarithmic(scores: Tensor) -> Tensor:
    return scores.sign() * scores.abs().log1p()


def shaped(features: Tensor, percentile: float) -> Tensor:
    """The largest features (N, D) of each image, times exp(sum of all / sum of those kept); zero elsewhere.

    Algorithm 3 of the paper, for activations that are not negative.
    """
    largest, positions, scale = largest_and_scale(features, percentile)
    return features.new_zeros(features.shape).scatter(1, positions, largest * scale)


def largest_and_scale(features: Tensor, percentile: float) -> tuple[Tensor, Tensor, Tensor]:
    """The largest features of each image, (N, k), their positions, and exp(sum of all / sum of these), (N, 1).

    Exponents end where the type does, which in float64 takes 700 features, all alike, for each one that is kept.
    """
    count = features.shape[1]
    kept = max(count - round(count * percentile / 100), 1)
    largest, positions = features.topk(kept, dim=1)
    highest = log(torch.finfo(features.dtype).max) - 10
    scale = (features.sum(1) / largest.sum(1).clamp(min=1e-12)).clamp(max=highest).exp()
    return largest, positions, scale[:, None]
