"""SHE: likeness of the features to the stored pattern of their class. Zhang et al. 2023 (ICLR)."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, normalize

from oodbench.basics.errors import OodbenchError
from oodbench.detector import Detector
from oodbench.networks.network import Network, Representation


class SHE(Detector):
    r"""Inner product of the features with the mean features of the predicted class.

    The pattern of a class is the mean over its training images that the network classifies correctly. Without the
    perturbation of inputs that the paper calls SHE+ adds.

    $$s(x) = \langle f, \mu_{\hat y} \rangle, \qquad \mu_c \text{ the mean feature of training images of class } c
    \text{ that are recognised}$$
    """

    name = "she"
    paper = "Zhang et al. 2023, https://openreview.net/forum?id=KkazG4lgKL"

    @dataclass(frozen=True)
    class Parameters:
        """Default of the paper.

        Attributes:
            metric: how features are held against a pattern: "inner_product", "euclidean" or "cosine".
        """

        metric: str = "inner_product"

        def __post_init__(self) -> None:
            if self.metric not in ("inner_product", "euclidean", "cosine"):
                raise ValueError(f"metric is {self.metric!r}: choose 'inner_product', 'euclidean' or 'cosine'")

    parameters: Parameters

    def attach(self, network: Network, classes: int) -> None:
        """Forget what was seen before."""
        super().attach(network, classes)
        self._sums: Tensor | None = None

    def observe(self, representation: Representation, labels: Tensor) -> None:
        """Running sums over the images that are classified correctly."""
        features = representation.features.double()
        if self._sums is None:
            self._sums = features.new_zeros(self.classes, features.shape[1])
            self._counts = features.new_zeros(self.classes)
        right = self.predict(representation) == labels
        self._sums.index_add_(0, labels[right], features[right])
        self._counts += torch.bincount(labels[right], minlength=self.classes)

    def settle(self) -> None:
        """The mean of each class."""
        assert self._sums is not None
        if (self._counts == 0).any():
            empty = ", ".join(map(str, torch.nonzero(self._counts == 0).flatten().tolist()))
            raise OodbenchError(
                f"{self.name}: no ID training image of class {empty} is classified correctly, so it has no pattern: "
                "give more images, or a network that knows these classes"
            )
        self._patterns = self._sums / self._counts[:, None]

    def score_representation(self, representation: Representation) -> Tensor:
        """<f, s_y> with y the predicted class (equation 8), or another likeness."""
        return self._likeness(representation.features.double(), self._patterns[self.predict(representation)])

    def targets(self, images: Tensor) -> Tensor:
        """Likeness to the pattern of each class (N, K)."""
        features = self.network.represent(images).features.double()
        if self.parameters.metric == "euclidean":
            return -torch.cdist(features, self._patterns)
        if self.parameters.metric == "cosine":
            return normalize(features) @ normalize(self._patterns).T
        return features @ self._patterns.T

    def _likeness(self, features: Tensor, patterns: Tensor) -> Tensor:
        """Of features (N, D) and a pattern each, (N, D): (N,)."""
        if self.parameters.metric == "euclidean":
            distances: Tensor = torch.linalg.vector_norm(features - patterns, dim=1)
            return -distances
        if self.parameters.metric == "cosine":
            return cosine_similarity(features, patterns, dim=1)
        return (features * patterns).sum(1)
