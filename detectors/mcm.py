"""MCM and GL-MCM: how well an image matches the text of one class, by CLIP-like networks. arXiv:2211.13445, 2304.04521.

Both look at cosines, whatever the temperature of the network's logits.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from oodbench.basics.errors import OodbenchError
from oodbench.detector import Detector
from oodbench.networks.network import Network, Representation

from .msp import log_odds_of_largest

ALIKE = 0.01
"""How far the rows of a last layer may be from one length, as a share of it: half precision rounds."""


def text_directions(network: Network, who: str) -> Tensor:
    """The rows of a last layer that is a matrix of text embeddings, at unit length, float64 (outputs, D).

    Raises:
        OodbenchError: it has a bias, or rows of several lengths, which embeddings over a temperature have not.
    """
    head = network.head
    lengths = head.weight.detach().double().norm(dim=1)
    biased = head.bias is not None and bool(head.bias.detach().abs().max() > 0)
    if biased or float(lengths.max() - lengths.min()) > ALIKE * float(lengths.max()):
        raise OodbenchError(
            f"{who} compares images with texts, and the last layer of {type(network).__name__} is no matrix of text "
            f"embeddings ({'it has a bias' if biased else 'its rows are of several lengths'}): name a network such as "
            f"oodbench.networks.of_text.TextNetwork, or leave {who} out"
        )
    return normalize(head.weight.detach().double(), dim=1)


class MCM(Detector):
    r"""The largest softmax probability of the cosines between an image and the texts of the classes, as its log-odds.

    $$s(x) = \max_k\, \operatorname{softmax}(\cos(f(x), t_k) / \tau)_k \text{, as its log-odds}$$
    """

    name = "mcm"
    paper = "Ming et al. 2022, arXiv:2211.13445"
    only_by_name = True

    @dataclass(frozen=True)
    class Parameters:
        """Default of the paper, whose cosines are not as sharp as CLIP's own temperature of 0.01 would make them.

        Attributes:
            temperature: tau, above 0.
        """

        temperature: float = 1.0

        def __post_init__(self) -> None:
            if not self.temperature > 0:
                raise ValueError(f"temperature is {self.temperature}: choose one above 0")

    parameters: Parameters

    def attach(self, network: Network, classes: int) -> None:
        """Take the text embeddings."""
        super().attach(network, classes)
        self._texts = text_directions(network, self.name)[:classes]

    def score_representation(self, representation: Representation) -> Tensor:
        """Log-odds of the largest of softmax(cos / tau)."""
        return log_odds_of_largest(self._cosines(representation.features) / self.parameters.temperature)

    def _cosines(self, vectors: Tensor) -> Tensor:
        """Of vectors (..., D) with the text of each class, float64 (..., K)."""
        return normalize(vectors.double(), dim=-1) @ self._texts.T


class GLMCM(MCM):
    r"""MCM of the whole image, and of the patch and the class that match best.

    $$s(x) = \max_k\, \operatorname{softmax}(\cos(f(x), t_k) / \tau)_k + \lambda \max_{i, k}\,
    \operatorname{softmax}(\cos(f_i(x), t_k) / \tau)_k$$

    The sum is one of probabilities, as in the paper. How the authors take patches out of CLIP is not followed: patches
    are what the network has as its last tap, for `oodbench.networks.of_text.TimmTower` the outputs of its last block,
    through the norm and the projection of the whole image.
    """

    name = "gl-mcm"
    paper = "Miyai et al. 2023, arXiv:2304.04521"
    only_by_name = True

    @dataclass(frozen=True)
    class Parameters(MCM.Parameters):
        """Defaults of the authors' code.

        Attributes:
            share: lambda, what the patches count beside the whole image, from 0.
        """

        share: float = 1.0

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.share < 0:
                raise ValueError(f"share is {self.share}: choose 0 or more")

    parameters: Parameters

    def score_representation(self, representation: Representation) -> Tensor:
        """The sum of both, from 0 to 1 + lambda.

        Raises:
            OodbenchError: the network gives no patches in the space of the embeddings.
        """
        whole = self._largest(representation.features)
        taps = representation.taps
        if not taps or taps[-1].shape[1] != representation.features.shape[1]:
            raise OodbenchError(
                f"{self.name} needs patch tokens in the space of the embeddings, as the last tap of the network, and "
                f"{type(self.network).__name__} gives none: take mcm, or a tower that gives them"
            )
        patches = self._largest(taps[-1].flatten(2).transpose(1, 2)).amax(1)
        return whole + self.parameters.share * patches

    def _largest(self, vectors: Tensor) -> Tensor:
        cosines = self._cosines(vectors)
        return torch.softmax(cosines / self.parameters.temperature, -1).amax(-1)
