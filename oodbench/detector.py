"""Detector: what a method must say to stand in the table."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from torch import Tensor

from oodbench.networks.network import Network, Representation
from oodbench.objective import Objective

Scores = npt.NDArray[np.float64]


@dataclass(frozen=True)
class NoParameters:
    """For a method without parameters."""


@dataclass(frozen=True)
class IDImages:
    """What a detector may fit on: ID training `images`, uint8 (N, C, H, W), and `labels`, int64 (N,)."""

    images: Tensor
    labels: Tensor


class Detector(ABC):
    """One method: how it trains, what it fits, how it scores.

    A file that defines a subclass with a `name` adds it to the registry. Higher scores are more in-distribution,
    always; scores are differentiable with respect to the images, so every detector can be attacked through its score.

    Attributes:
        name: what people type.
        paper: authors, year and where to read it.
        Parameters: a frozen dataclass; its defaults are the method's own, suites and `--set` override them.
    """

    name: ClassVar[str]
    paper: ClassVar[str]
    Parameters: ClassVar[type] = NoParameters

    def __init__(self, parameters: Any = None) -> None:
        self.parameters = self.Parameters() if parameters is None else parameters
        self._fitted: tuple[Network, int] | None = None

    @property
    def network(self) -> Network:
        """The network that was given to `fit`, in evaluation mode."""
        return self._when_fitted()[0]

    @property
    def classes(self) -> int:
        """K, the number of ID classes: the network's first K outputs."""
        return self._when_fitted()[1]

    def objective(self) -> Objective:
        """How this method's network is trained; plain cross-entropy unless the method says otherwise."""
        return Objective()

    def fit(self, network: Network, classes: int, train: IDImages | None) -> None:
        """Take a trained network and learn what the score needs, from ID training images only.

        Args:
            network: gives `classes` + the objective's reject outputs.
            classes: K, the number of ID classes.
            train: None where the suite has no ID training set; a method that needs one raises OodbenchError.
        """
        self._fitted = (network.eval(), classes)

    def score(self, images: Tensor) -> Tensor:
        """Scores (N,) of images, float (N, C, H, W) in [0, 1]; higher = more in-distribution.

        Float64 out of the log domain (log-odds, differences of logsumexp): a probability that rounds to 1.0 makes
        ties, and ties look like robustness.
        """
        return self.score_representation(self.network.represent(images))

    @abstractmethod
    def score_representation(self, representation: Representation) -> Tensor:
        """Scores (N,) from one forward pass, which all detectors of a network share.

        A method that needs passes of its own overrides `score` as well, and then answers here by raising TypeError.
        """

    def predict(self, representation: Representation) -> Tensor:
        """Predicted ID class (N,): the largest of the first K logits."""
        return representation.logits[:, : self.classes].argmax(1)

    def published_objective(self, images: Tensor) -> Tensor:
        """What the method's published attack climbs on OOD images (N,); the score itself unless the paper differs."""
        return self.score(images)

    @classmethod
    def as_published(cls, scores: Scores) -> Scores:
        """Stored scores as the paper prints them, float32 rounding and its ties included."""
        return scores.astype(np.float32).astype(np.float64)

    def _when_fitted(self) -> tuple[Network, int]:
        if self._fitted is None:
            raise RuntimeError(f"{self.name} was asked for a score before fit()")
        return self._fitted
