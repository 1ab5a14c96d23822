"""fDBD: how far the features are from the decision boundaries. Liu and Qin 2024, arXiv:2312.11536."""

from dataclasses import dataclass

import torch
from torch import Tensor

from oodbench.basics.errors import OodbenchError
from oodbench.detector import Detector
from oodbench.networks.network import Network, Representation

SMALLEST = 1e-12
"""Distances from the mean feature count as this at least."""


class FDBD(Detector):
    r"""Distances of the features to the boundaries of all other classes, relative to that to the mean feature.

    Not tuned: the paper's regularisation is by the distance to the mean of the training features. OpenOOD v1.5 chooses
    between that and the length of the features on OOD images.

    $$s(x) = \frac{1}{\lVert f - \bar f \rVert_2} \sum_{c \ne \hat y} \frac{\lvert z_{\hat y} - z_c \rvert}{\lVert
    w_{\hat y} - w_c \rVert_2}$$
    """

    name = "fdbd"
    paper = "Liu and Qin 2024, arXiv:2312.11536"
    reads_labels = False

    @dataclass(frozen=True)
    class Parameters:
        """Default of the paper.

        Attributes:
            normalizer: what boundaries are relative to: "distance" of the features from their training mean, or their
                "norm".
        """

        normalizer: str = "distance"

        def __post_init__(self) -> None:
            if self.normalizer not in ("distance", "norm"):
                raise ValueError(f"normalizer is {self.normalizer!r}: choose 'distance' or 'norm'")

    parameters: Parameters

    def attach(self, network: Network, classes: int) -> None:
        """Forget what was seen before."""
        super().attach(network, classes)
        self._sum: Tensor | None = None
        self._count = 0

    def observe(self, representation: Representation, labels: Tensor) -> None:
        """Running sum of the features."""
        total = representation.features.sum(0, dtype=torch.float64)
        self._sum = total if self._sum is None else self._sum + total
        self._count += len(representation.features)

    def settle(self) -> None:
        """The mean feature, and of each pair of classes one over the distance of their weights, (K, K)."""
        assert self._sum is not None
        mean = self._sum / self._count
        self._origin = mean if self.parameters.normalizer == "distance" else torch.zeros_like(mean)
        weight = self.network.head.weight[: self.classes].detach().double()
        gaps = torch.cdist(weight, weight, compute_mode="donot_use_mm_for_euclid_dist")
        gaps.fill_diagonal_(torch.inf)
        if not (gaps > 0).all():
            one, other = torch.nonzero(gaps == 0)[0].tolist()
            raise OodbenchError(
                f"{self.name}: classes {one} and {other} have the same weights in the last layer of "
                f"{type(self.network).__name__}, so there is no boundary between them: leave {self.name} out for this "
                "network"
            )
        self._steepness = 1 / gaps

    def score_representation(self, representation: Representation) -> Tensor:
        """sum_c |z_y - z_c| / ||w_y - w_c|| / ||f - m||, y the predicted class (equation 6).

        The sum over classes is not divided by their number, as in the authors' code.
        """
        logits, far = self._logits_and_distances(representation)
        predicted = self.predict(representation)
        signed = (logits.gather(1, predicted[:, None]) - logits) * self._steepness[predicted]
        return signed.sum(1) / far

    def targets(self, images: Tensor) -> Tensor:
        """The same with each class in place of the predicted one, boundaries on whose wrong side it is negative."""
        logits, far = self._logits_and_distances(self.network.represent(images))
        # Sums over all pairs of classes as products of matrices: K x K for each image would be much at 1,000 classes.
        signed = logits * self._steepness.sum(1) - logits @ self._steepness
        return signed / far[:, None]

    def _logits_and_distances(self, representation: Representation) -> tuple[Tensor, Tensor]:
        """Logits (N, K), and what distances to boundaries are relative to, (N,), float64."""
        far = torch.linalg.vector_norm(representation.features.double() - self._origin, dim=1)
        return representation.logits[:, : self.classes].double(), far.clamp(min=SMALLEST)
