"""NTOM: natural training with informative outlier mining, ATOM without the attack. Chen et al. 2021."""

from oodbench.objective import Objective

from .atom import MinedOutliers, MiningParameters, OutlierClass


class NTOM(OutlierClass):
    """Mined as ATOM, scored as ATOM, trained on clean outliers only."""

    name = "ntom"
    paper = "Chen et al. 2021, arXiv:2006.15207"
    Parameters = MiningParameters
    parameters: MiningParameters

    def objective(self) -> Objective:
        """Mined outliers, all of them clean."""
        return MinedOutliers(q=self.parameters.q, weight=self.parameters.weight, minings=self.parameters.minings)
