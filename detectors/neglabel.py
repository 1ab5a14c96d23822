"""NegLabel: whether an image matches the classes' texts better than texts of no class. arXiv:2403.20078."""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import expit
from torch import Tensor
from torch.nn.functional import logsigmoid, normalize

from oodbench.basics.errors import OodbenchError
from oodbench.detector import Detector, Scores
from oodbench.networks.network import Network, Representation

from .mcm import text_directions


class NegLabel(Detector):
    r"""The share that the classes' texts take of an image, against each of several groups of negative labels.

    $$s(x) = \frac{1}{G} \sum_g \frac{\sum_k e^{\cos(f, t_k) / \tau}}{\sum_k e^{\cos(f, t_k) / \tau} +
    \sum_{j \in g} e^{\cos(f, n_j) / \tau}} \text{, as its log-odds}$$

    Negative labels are the network's outputs behind those of the classes. Which words they are is not chosen here; the
    authors take those of WordNet that are least like the classes' names.
    """

    name = "neglabel"
    paper = "Jiang et al. 2024, arXiv:2403.20078"
    only_by_name = True

    @dataclass(frozen=True)
    class Parameters:
        """Defaults of the authors' code.

        Attributes:
            temperature: tau, above 0.
            groups: that negative labels are split into by chance, 1 or more; as many as there are labels at most. The
                authors leave out the labels that would make groups unequal; here some have one more.
            seed: of that split.
        """

        temperature: float = 0.01
        groups: int = 100
        seed: int = 0

        def __post_init__(self) -> None:
            if not self.temperature > 0 or self.groups < 1:
                raise ValueError(
                    f"temperature is {self.temperature} and groups {self.groups}: choose a temperature above 0 and 1 "
                    "group or more"
                )

    parameters: Parameters

    def attach(self, network: Network, classes: int) -> None:
        """Take the text embeddings, and split the negative ones into groups.

        Raises:
            OodbenchError: the network has none.
        """
        super().attach(network, classes)
        every = text_directions(network, self.name)
        self._texts, self._negatives = every[:classes], every[classes:]
        count = len(self._negatives)
        if not count:
            raise OodbenchError(
                f"{self.name} needs texts of no class, as outputs of the network behind its {classes} classes, "
                "and there are none: give TextNetwork negatives, or take mcm"
            )
        order = torch.randperm(count, generator=torch.Generator().manual_seed(self.parameters.seed))
        self._groups = torch.tensor_split(order.to(every.device), min(self.parameters.groups, count))

    def score_representation(self, representation: Representation) -> Tensor:
        """Log-odds of the mean share, in the log domain."""
        directions = normalize(representation.features.double(), dim=1)
        ours = (directions @ self._texts.T / self.parameters.temperature).logsumexp(1)
        others = directions @ self._negatives.T / self.parameters.temperature
        odds = torch.stack([ours - others[:, group].logsumexp(1) for group in self._groups], 1)
        # The groups' number falls out of the difference.
        return logsigmoid(odds).logsumexp(1) - logsigmoid(-odds).logsumexp(1)

    @classmethod
    def as_published(cls, scores: Scores) -> Scores:
        """The mean share, rounded to float32."""
        return np.asarray(expit(scores), np.float32).astype(np.float64)
