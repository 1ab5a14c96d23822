"""MDS ensemble: Mahalanobis distances in all taps, weighed by a regression on OOD images. Lee et al. 2018."""

from dataclasses import dataclass

from torch import Tensor

from oodbench.basics.errors import OodbenchError

from .mahalanobis import Mahalanobis


class MDSEnsemble(Mahalanobis):
    r"""What `mahalanobis` is, its regression and step fitted to ID images against OOD images, as in the paper.

    For its table 2 the paper takes images of the OOD test set; here they are the suite's reserved outliers, which no
    test set shares.
    What OpenOOD v1.5 calls MDSEns is the mean of the first layer alone with weight 1, which is no ensemble: its
    figures are not what this method should reach.

    $$s(x) = -\beta_0 - \sum_l \beta_l M_l(x), \qquad M_l(x) = -\tfrac12 \min_c\, (f_l - \mu_{l,c})^\top \Sigma_l^{-1}
    (f_l - \mu_{l,c})$$
    """

    name = "mds-ensemble"

    @dataclass(frozen=True)
    class Parameters(Mahalanobis.Parameters):
        """The paper's choice of images to tune on; `mahalanobis` has what the other parameters are.

        Attributes:
            negatives: what is told from ID images in tuning: reserved "outliers", or "perturbed" ID images.
        """

        negatives: str = "outliers"

    parameters: Parameters

    def settle(self) -> None:
        """Means and whitening of every tap, of which there must be several."""
        if len(self._seen) < 2:
            raise OodbenchError(
                f"{self.name} weighs several taps and has {len(self._seen)} of {type(self.network).__name__}: one is "
                f"no ensemble; leave {self.name} out for this network, or give --set {self.name}.taps=[...] more"
            )
        super().settle()

    def published_objective(self, images: Tensor) -> Tensor:
        """The score: the paper attacks nothing, and what Chen et al. 2021 climb is flat over much of its range."""
        return self.score(images)
