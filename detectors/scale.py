"""SCALE: energy of features that are all scaled alike. Xu et al. 2024, arXiv:2310.00227."""

from dataclasses import dataclass

from torch import Tensor

from .ash import ASH, largest_and_scale


class SCALE(ASH):
    r"""Energy of the logits after all features are scaled up by how much of their sum the largest make up.

    The same factor as ASH-S, and nothing is dropped, so that predictions stay what they are. The training with which
    the paper goes with it (ISH) is not done: the network is trained plainly.

    $$s(x) = \log \sum_k \exp \bigl(W f' + b\bigr)_k, \qquad f' = f \exp\Bigl(\frac{\sum_j f_j}{\sum_{j \in
    \text{top}} f_j}\Bigr)$$
    """

    name = "scale"
    paper = "Xu et al. 2024, arXiv:2310.00227"

    @dataclass(frozen=True)
    class Parameters(ASH.Parameters):
        """Default of OpenOOD v1.5.

        Attributes:
            percentile: of an image's features, above which they count as the largest; from 0, below 100.
        """

        percentile: float = 85.0

    parameters: Parameters

    def shape(self, features: Tensor) -> Tensor:
        """Features (N, D), times exp(sum of all / sum of the largest) of their image (equation 5)."""
        _, _, scale = largest_and_scale(features, self.parameters.percentile)
        return features * scale
