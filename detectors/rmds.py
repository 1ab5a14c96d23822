"""RMDS: Mahalanobis distance relative to that of all classes at once. Ren et al. 2021."""

from torch import Tensor

from oodbench.detector import Detector
from oodbench.networks.network import Network, Representation

from .mahalanobis import Gaussians, squared_distances, whitening


class RMDS(Detector):
    """Distance of the features to the nearest class, less the distance to the whole training set."""

    name = "rmds"
    paper = "Ren et al. 2021, arXiv:2106.09022"

    def attach(self, network: Network, classes: int) -> None:
        """Forget what was seen before."""
        super().attach(network, classes)
        self._seen: Gaussians | None = None

    def observe(self, representation: Representation, labels: Tensor) -> None:
        """Running sums of the features."""
        features = representation.features
        if self._seen is None:
            self._seen = Gaussians(self.classes, features.shape[1], features.device)
        self._seen.add(features, labels)

    def settle(self) -> None:
        """A Gaussian for each class with a common covariance, and one for all of them."""
        assert self._seen is not None
        self._seen.require_every_class(self.name)
        self._classes = (self._seen.means, whitening(self._seen.within(), self._seen.freedom, self.name))
        self._background = (self._seen.mean, whitening(self._seen.total(), self._seen.freedom, self.name))

    def score_representation(self, representation: Representation) -> Tensor:
        """-min_c [d_c(f) - d_0(f)] with d squared distances (equation 3)."""
        nearest = squared_distances(representation.features, *self._classes).amin(1)
        return squared_distances(representation.features, *self._background)[:, 0] - nearest
