"""DivOE: Outlier Exposure with half of the outliers extrapolated, a little way towards ID. Zhu et al. 2023.

Loss, shares and constants are those of the authors' code, which starts from a plain network. Its radius, 0.01 of the
pixel range, is 2.55/255; here attacks go by whole levels of 1/255. Extrapolation is what ACET does to the same half: of
ACET this is the fine-tuning at a small radius.
"""

from dataclasses import dataclass

from oodbench.attacks.training import TrainingAttack

from .acet import AttackedExposure
from .finetuning import FineTuning, FineTuningParameters
from .msp import MSP


@dataclass(frozen=True)
class ExtrapolatedExposure(FineTuning, AttackedExposure):
    """Fine-tuning by Outlier Exposure, the second half of the outliers moved to where the network is more confident."""

    outlier_batch: int = 128
    weight: float = 0.5
    attack: TrainingAttack = TrainingAttack(epsilon=3, step=1, steps=5)


class DivOE(MSP):
    r"""A plain network fine-tuned with extrapolated outliers: scored as MSP.

    $$\min_\theta\; \mathbb{E}_{\text{ID}}\bigl[-\log p_y\bigr] + \lambda\,
    \mathbb{E}_{\text{outliers}}\Bigl[\max_{\lVert \delta \rVert_\infty \le \epsilon} -\tfrac1K \textstyle\sum_k \log
    p_k(x + \delta)\Bigr], \qquad s(x) \text{ as MSP}$$

    where the maximum is taken for half of the outliers and $\delta = 0$ for the others.
    """

    name = "divoe"
    paper = "Zhu et al. 2023 (NeurIPS), 'Diversified Outlier Exposure for Out-of-Distribution Detection'"

    @dataclass(frozen=True)
    class Parameters(FineTuningParameters):
        """Defaults of the authors' code, in whole levels.

        Attributes:
            epochs: of the fine-tuning, 1 or more.
            learning_rate: at its start, above 0.
            weight: of the outlier term in the loss.
            epsilon: how far outliers are moved, in 1/255.
            step: of that, in 1/255.
            steps: of that.
        """

        weight: float = 0.5
        epsilon: int = 3
        step: int = 1
        steps: int = 5

        def __post_init__(self) -> None:
            super().__post_init__()
            TrainingAttack(self.epsilon, self.step, self.steps)

    parameters: Parameters

    def objective(self) -> ExtrapolatedExposure:
        """Plain training, then outliers, half of them extrapolated."""
        p = self.parameters
        attack = TrainingAttack(p.epsilon, p.step, p.steps)
        return ExtrapolatedExposure(epochs=p.epochs, learning_rate=p.learning_rate, weight=p.weight, attack=attack)
