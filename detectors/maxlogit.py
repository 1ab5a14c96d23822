"""MaxLogit: the largest logit. Hendrycks et al. 2022, arXiv:1911.11132."""

from torch import Tensor

from oodbench.detector import Detector
from oodbench.networks.bounds import LogitBounds
from oodbench.networks.network import Representation


class MaxLogit(Detector):
    r"""The largest of the K class logits.

    $$s(x) = \max_k\, z_k(x)$$
    """

    name = "maxlogit"
    paper = "Hendrycks et al. 2022, arXiv:1911.11132"

    def score_representation(self, representation: Representation) -> Tensor:
        """max_k z_k."""
        return representation.logits[:, : self.classes].double().amax(1)

    def upper_bound(self, bounds: LogitBounds) -> Tensor:
        """The highest that any logit can be."""
        return bounds.high[:, : self.classes].amax(1)
