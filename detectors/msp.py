"""MSP: the largest softmax probability. Hendrycks and Gimpel 2017, arXiv:1610.02136."""

import numpy as np
import torch
from scipy.special import expit
from torch import Tensor

from oodbench.detector import Detector, Published, Scores
from oodbench.networks.bounds import LogitBounds
from oodbench.networks.network import Representation


class MSP(Detector):
    r"""The largest softmax probability over the K classes, as its log-odds.

    $$s(x) = \log\frac{p}{1 - p}, \qquad p = \max_k\, \operatorname{softmax}(z(x))_k$$
    """

    name = "msp"
    paper = "Hendrycks and Gimpel 2017, arXiv:1610.02136"

    def score_representation(self, representation: Representation) -> Tensor:
        """log(p / (1 - p)) of the largest softmax probability p: it orders images as p does and never saturates."""
        return log_odds_of_largest(representation.logits)

    def targets(self, images: Tensor) -> Tensor:
        """log(p_k / (1 - p_k)) of every class; the score is the largest."""
        return log_odds(self.network(images)[:, : self.classes])

    def upper_bound(self, bounds: LogitBounds) -> Tensor:
        """max_k -logsumexp of the lowest that the other logits can lie above z_k."""
        return log_odds_bound(bounds.differences[:, : self.classes, : self.classes])

    def published_objective(self, images: Tensor) -> Tensor:
        """Cross-entropy to the uniform distribution, up to a constant: the attack of Chen et al. 2021 on MSP."""
        return cross_entropy_to_uniform(self.network(images))

    def published(self, representation: Representation) -> Published | None:
        """The probability itself, of a softmax in float32: its ties at 1 are the paper's."""
        return largest_probability(representation.logits)

    @classmethod
    def as_published(cls, scores: Scores) -> Scores:
        """The probability, rounded to float32: exactly 1 from log-odds of 17.33 on, a float32 softmax earlier."""
        return np.asarray(expit(scores), np.float32).astype(np.float64)


def largest_probability(logits: Tensor) -> Published:
    """max_k p_k of p = softmax(logits) in float32, logits (N, K): what is printed, and what is searched by."""
    probability = logits.float().softmax(1).amax(1)
    return Published(probability, probability)


def log_odds_of_largest(logits: Tensor) -> Tensor:
    """max_k log(p_k / (1 - p_k)) of p = softmax(logits), float64; logits (N, K) to (N,)."""
    logits = logits.double()
    largest, winner = logits.max(1)
    others = logits.scatter(1, winner[:, None], -torch.inf)
    return largest - others.logsumexp(1)


def log_odds(logits: Tensor) -> Tensor:
    """log(p_k / (1 - p_k)) of each p_k of softmax(logits), float64; logits (N, K) to (N, K)."""
    logits = logits.double()
    itself = torch.eye(logits.shape[1], dtype=torch.bool, device=logits.device)
    others = logits[:, None].expand(-1, logits.shape[1], -1).masked_fill(itself, -torch.inf)
    return logits - others.logsumexp(2)


def log_odds_bound(differences: Tensor) -> Tensor:
    """The most that max_k log(p_k / (1 - p_k)) can be, (N,), where z_j - z_k is at most `differences`, (N, K, K)."""
    itself = torch.eye(differences.shape[1], dtype=torch.bool, device=differences.device)
    return (-(-differences).masked_fill(itself, -torch.inf).logsumexp(2)).amax(1)


def cross_entropy_to_uniform(logits: Tensor) -> Tensor:
    """U(z) = logsumexp(z) - mean(z), which is 0 cost for no class: logits (N, K) to (N,)."""
    return logits.logsumexp(1) - logits.mean(1)
