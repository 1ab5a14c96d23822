"""NNGuide: energy, guided by the energies of the nearest training images. Park et al. 2023, arXiv:2309.14888."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag, normalize

from oodbench.basics.errors import OodbenchError
from oodbench.detector import Detector
from oodbench.networks.network import Network, Representation

from .drawing import Drawn, require_neighbours, require_share
from .energy import energy


class NNGuide(Detector):
    r"""Energy times the mean similarity to the nearest of a bank of training images, each of which weighs its energy.

    A row of the bank takes 8 KB at 2048 features in float32: one in a hundred of ImageNet's 1.28 million images takes
    105 MB, 280 MB while they are drawn, and a batch of 128 images another 6.6 MB. Energies must be positive, or both
    factors turn round; a network whose training images mostly have none is refused.

    $$s(x) = E(x) \cdot \frac1k \sum_{j \in \text{nearest } k} E(x_j) \Bigl\langle \frac{f}{\lVert f \rVert},
    \frac{f_j}{\lVert f_j \rVert} \Bigr\rangle, \qquad E = \log \sum_k \exp z_k$$
    """

    name = "nnguide"
    paper = "Park et al. 2023, arXiv:2309.14888"
    reads_labels = False

    @dataclass(frozen=True)
    class Parameters:
        """Defaults of OpenOOD v1.5.

        Attributes:
            k: how many neighbours are averaged over.
            bank: share of the ID training images to look among, above 0, at most 1; five for each neighbour are taken
                in any case, as many as 1 % of CIFAR's 50,000 are.
            bank_seed: of the draw of that share. OpenOOD takes the first batches, so that the order decides.
        """

        k: int = 100
        bank: float = 0.01
        bank_seed: int = 0

        def __post_init__(self) -> None:
            if self.k < 1:
                raise ValueError(f"k is {self.k}: choose 1 or more")
            require_share(self.bank)

    parameters: Parameters

    def attach(self, network: Network, classes: int) -> None:
        """Forget what was seen before."""
        super().attach(network, classes)
        self._drawn = Drawn(self.parameters.bank, self.parameters.bank_seed, 5 * self.parameters.k)

    def observe(self, representation: Representation, labels: Tensor) -> None:
        """Keep unit features and, as a last column, energies of the share that is drawn."""
        features, energies = self._unit_and_energy(representation)
        self._drawn.add(torch.cat([features, energies[:, None]], 1).float())

    def settle(self) -> None:
        """The bank: unit features, each times its energy."""
        rows = self._drawn.rows()
        require_neighbours(self.name, self.parameters.k, len(rows), self._drawn.images)
        energies = rows[:, -1:]
        if (energies > 0).double().mean() < 0.5:
            raise OodbenchError(
                f"{self.name} weighs training images by their energies, and those of most are negative with "
                f"{type(self.network).__name__}: its scores would be the wrong way round; leave {self.name} out for "
                "this network"
            )
        self._bank = rows[:, :-1] * energies
        del self._drawn  # the bank is all that is left to hold

    def score_representation(self, representation: Representation) -> Tensor:
        """LSE(z) times the mean of the k largest <f / ||f||, bank> (section 3)."""
        features, energies = self._unit_and_energy(representation)
        with torch.no_grad():
            nearest = (features.to(self._bank) @ self._bank.T).topk(self.parameters.k, dim=1).indices
            # A mean of products with one vector is the product with the mean.
            guide = embedding_bag(nearest, self._bank, mode="mean").double()
        similarity: Tensor = (features * guide).sum(1)
        return energies * similarity

    def _unit_and_energy(self, representation: Representation) -> tuple[Tensor, Tensor]:
        """Features of unit length (N, D), and energies (N,), float64."""
        features = normalize(representation.features.double())
        return features, energy(representation.logits[:, : self.classes])
