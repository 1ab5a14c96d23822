"""Mahalanobis++: distance to class Gaussians over features of unit length. Mueller and Hein 2025, arXiv:2505.18032."""

from torch import Tensor

from oodbench.networks.network import Representation

from .mahalanobis import squared_distances, whitening
from .rmds import RMDSPlusPlus


class MahalanobisPlusPlus(RMDSPlusPlus):
    r"""Distance of the unit features to the nearest class mean, under one covariance for all classes.

    Of the last layer's features alone, without steps or tuning, unlike `mahalanobis`. How long features are no longer
    counts: on large networks lengths differ from class to class, and a Gaussian with one covariance cannot say so.

    $$s(x) = -\min_c\, (u - \mu_c)^\top \Sigma^{-1} (u - \mu_c), \qquad u = f / \lVert f \rVert_2$$
    """

    name = "mahalanobis++"

    def settle(self) -> None:
        """A Gaussian for each class with a common covariance."""
        assert self._seen is not None
        self._seen.require_every_class(self.name)
        self._classes = (self._seen.means, whitening(self._seen.within(), self._seen.freedom, self.name))

    def score_representation(self, representation: Representation) -> Tensor:
        """-min_c (f - m_c)' S^-1 (f - m_c) (section 4)."""
        return -squared_distances(self.vectors(representation), *self._classes).amin(1)

    def targets(self, images: Tensor) -> Tensor:
        """Minus the squared distance to each class (N, K)."""
        return -squared_distances(self.vectors(self.network.represent(images)), *self._classes)
