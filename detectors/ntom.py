"""NTOM: natural training with informative outlier mining, ATOM without the attack. Chen et al. 2021."""

from oodbench.objective import Objective

from .atom import MinedOutliers, MiningParameters, OutlierClass


class NTOM(OutlierClass):
    r"""Mined as ATOM, scored as ATOM, trained on clean outliers only.

    $$\min_\theta\; \mathbb{E}_{\text{ID}}\bigl[-\log p_y\bigr] + \beta\, \mathbb{E}_{\text{mined
    outliers}}\bigl[-\log p_{K+1}\bigr], \qquad s(x) = \log \frac{1 - p_{K+1}}{p_{K+1}}$$
    """

    name = "ntom"
    paper = "Chen et al. 2021, arXiv:2006.15207"
    Parameters = MiningParameters
    parameters: MiningParameters

    def objective(self) -> Objective:
        """Mined outliers, all of them clean."""
        return MinedOutliers(q=self.parameters.q, weight=self.parameters.weight, minings=self.parameters.minings)
