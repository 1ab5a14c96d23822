"""RMDS: Mahalanobis distance relative to that of all classes at once. Ren et al. 2021.

RMDS++ brings features to unit length before anything else: Mueller and Hein 2025.
"""

from torch import Tensor
from torch.nn.functional import normalize

from oodbench.detector import Detector
from oodbench.networks.network import Network, Representation

from .mahalanobis import Gaussians, squared_distances, whitening


class RMDS(Detector):
    r"""Distance of the features to the nearest class, less the distance to the whole training set.

    Covariances are means over training images; those of pytorch-ood are sums, so that its scores are smaller by their
    number and order alike.

    $$s(x) = -\min_c \bigl[ (f - \mu_c)^\top \Sigma^{-1} (f - \mu_c) - (f - \mu_0)^\top \Sigma_0^{-1} (f - \mu_0)
    \bigr]$$
    """

    name = "rmds"
    paper = "Ren et al. 2021, arXiv:2106.09022"

    def attach(self, network: Network, classes: int) -> None:
        """Forget what was seen before."""
        super().attach(network, classes)
        self._seen: Gaussians | None = None

    def observe(self, representation: Representation, labels: Tensor) -> None:
        """Running sums of the features."""
        features = self.vectors(representation)
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
        vectors = self.vectors(representation)
        nearest = squared_distances(vectors, *self._classes).amin(1)
        return squared_distances(vectors, *self._background)[:, 0] - nearest

    def vectors(self, representation: Representation) -> Tensor:
        """What the Gaussians are over, (N, D)."""
        return representation.features


class RMDSPlusPlus(RMDS):
    r"""The same over features of unit length, for the Gaussians of the classes and the common one alike.

    The authors' code fits the common Gaussian to features that were not brought to unit length, where it runs their
    method called `Mahalanobis_norm` first; here both are over unit vectors, as their paper has it.

    $$s(x) = -\min_c \bigl[ (u - \mu_c)^\top \Sigma^{-1} (u - \mu_c) - (u - \mu_0)^\top \Sigma_0^{-1} (u - \mu_0)
    \bigr], \qquad u = f / \lVert f \rVert_2$$
    """

    name = "rmds++"
    paper = "Mueller and Hein 2025, arXiv:2505.18032"

    def vectors(self, representation: Representation) -> Tensor:
        """Features of unit length, float64; those that are all zero stay zero."""
        return normalize(representation.features.double())
