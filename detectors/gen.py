"""GEN: the generalised entropy of the most probable classes. Liu, Lochman and Zach 2023 (CVPR)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from oodbench.detector import Detector
from oodbench.networks.network import Representation

from .msp import log_odds_of_largest


class GEN(Detector):
    r"""Minus the generalised entropy of the largest softmax probabilities.

    pytorch-ood takes the mean in place of the sum, and keeps probabilities 1e-7 away from 0 and 1, where confident
    images then tie.

    $$s(x) = -\sum_{m=1}^{M} p_{(m)}^{\gamma}\, \bigl(1 - p_{(m)}\bigr)^{\gamma}, \qquad p_{(1)} \ge p_{(2)} \ge
    \dots$$
    """

    name = "gen"
    paper = "Liu, Lochman and Zach 2023, CVPR, 'GEN: Pushing the Limits of Softmax-Based OOD Detection'"

    @dataclass(frozen=True)
    class Parameters:
        """Defaults of the paper.

        Attributes:
            gamma: exponent, between 0 and 1.
            top: probabilities that count, the largest ones; more than there are classes means all.
        """

        gamma: float = 0.1
        top: int = 100

        def __post_init__(self) -> None:
            if not 0 < self.gamma < 1 or self.top < 1:
                raise ValueError(
                    f"gamma is {self.gamma} and top {self.top}: gamma lies between 0 and 1, top is 1 or more"
                )

    parameters: Parameters

    def score_representation(self, representation: Representation) -> Tensor:
        """-sum_m p_m^gamma (1 - p_m)^gamma over the `top` largest p (equation 5), in the log domain."""
        logits = representation.logits[:, : self.classes].double()
        log_p = logits.log_softmax(1).topk(min(self.parameters.top, self.classes), dim=1).values
        # 1 - p of the largest p would round to 0; its log follows from the log-odds, which do not.
        log_rest_of_largest = log_p[:, :1] - log_odds_of_largest(logits)[:, None]
        log_rest = torch.cat([log_rest_of_largest, torch.log1p(-log_p[:, 1:].exp())], 1)
        return -(self.parameters.gamma * (log_p + log_rest)).exp().sum(1)
