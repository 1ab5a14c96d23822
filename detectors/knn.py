"""KNN: distance to the k-th nearest training image. Sun et al. 2022, arXiv:2204.06507."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from oodbench.basics.gradient import PerImage
from oodbench.detector import Detector
from oodbench.networks.network import Network, Representation

from .drawing import Drawn, require_neighbours, require_share


class KNN(Detector):
    r"""Minus the distance of the normalised features to the k-th nearest of the ID training set.

    Features are kept in the precision of the network: 8 KB an image at 2048 features in float32, so ImageNet's 1.28
    million take 10.5 GB and twice that while they are joined. One in a hundred of them (`bank=0.01`; the paper takes
    k = 10 there) takes 105 MB, 280 MB while they are drawn. To score 128 images takes 4 bytes more for each of them and
    each image of the bank, 6.6 MB; what `linf-adaptive` climbs beside the score takes 8 for each of them, neighbour and
    feature, 21 MB at k = 10 and 2.1 GB at k = 1000.

    $$s(x) = -\lVert u - u_{(k)} \rVert_2, \qquad u = f / \lVert f \rVert_2, \quad u_{(k)} \text{ the } k\text{-th
    nearest of the training images}$$
    """

    name = "knn"
    paper = "Sun et al. 2022, arXiv:2204.06507"
    reads_labels = False

    @dataclass(frozen=True)
    class Parameters:
        """Default of the paper for CIFAR-10.

        Attributes:
            k: which neighbour, 1 is the nearest; the paper takes 50 for CIFAR-10, 200 for CIFAR-100, 1000 for ImageNet.
            bank: share of the ID training images to look among, above 0, at most 1.
            bank_seed: of the draw of that share.
        """

        k: int = 50
        bank: float = 1.0
        bank_seed: int = 0

        def __post_init__(self) -> None:
            if self.k < 1:
                raise ValueError(f"k is {self.k}: choose 1 or more")
            require_share(self.bank)

    parameters: Parameters

    def attach(self, network: Network, classes: int) -> None:
        """Forget what was seen before."""
        super().attach(network, classes)
        self._drawn = Drawn(self.parameters.bank, self.parameters.bank_seed)

    def observe(self, representation: Representation, labels: Tensor) -> None:
        """Keep the normalised features of the share that is drawn."""
        self._drawn.add(normalize(representation.features))

    def settle(self) -> None:
        """All of them as one matrix."""
        self._bank = self._drawn.rows()
        require_neighbours(self.name, self.parameters.k, len(self._bank), self._drawn.images)
        del self._drawn  # the bank is all that is left to hold

    def surrogates(self) -> Mapping[str, PerImage]:
        """Minus the mean distance to all k neighbours: which of them is the k-th changes all the time."""
        return {"all neighbours": self._closeness}

    def score_representation(self, representation: Representation) -> Tensor:
        """-||f - f_k|| of unit vectors (section 3)."""
        features = normalize(representation.features)
        with torch.no_grad():
            neighbour = (features.to(self._bank) @ self._bank.T).topk(self.parameters.k, dim=1).indices[:, -1]
        # Which neighbour is found in float32; how far it is, exactly.
        distances: Tensor = torch.linalg.vector_norm(features.double() - self._bank[neighbour].double(), dim=1)
        return -distances

    def _closeness(self, images: Tensor) -> Tensor:
        features = normalize(self.network.represent(images).features)
        with torch.no_grad():
            neighbours = (features.to(self._bank) @ self._bank.T).topk(self.parameters.k, dim=1).indices
        distances = torch.linalg.vector_norm(features.double()[:, None] - self._bank[neighbours].double(), dim=2)
        mean: Tensor = distances.mean(1)
        return -mean
