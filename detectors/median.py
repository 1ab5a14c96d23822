"""Median smoothing: the median of a score around an image. Chiang et al. 2020, arXiv:2007.03730."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from oodbench.basics.draws import CommonDraws, Draws
from oodbench.basics.errors import OodbenchError
from oodbench.basics.gradient import PerImage
from oodbench.basics.passes import Passes
from oodbench.detector import Detector, Tuning, TuningImages
from oodbench.networks.network import Network, Representation
from oodbench.networks.smoothing import scores_around
from oodbench.objective import Objective
from oodbench.registry import in_process


class Median(Detector):
    r"""The median of another detector's scores of noisy copies of the image.

    The copies are the image plus Gaussian noise, neither cut to [0, 1] nor rounded. With an even number of them it is
    the lower of the two in the middle. The network is the base's, trained as the base asks for, and so is all that is
    learned or tuned; the base has its default parameters.

    $$s(x) = \operatorname{median}_{i \le n}\, s_{\text{base}}(x + \sigma \epsilon_i), \qquad
    \epsilon_i \sim \mathcal{N}(0, I)$$
    """

    name = "median"
    paper = "Chiang et al. 2020, arXiv:2007.03730"

    @dataclass(frozen=True)
    class Parameters:
        """The number of copies as in `ross`.

        Attributes:
            base: name of the detector whose score is smoothed.
            n: noisy copies, each a draw and a pass.
            sigma: deviation of the noise, in units of [0, 1] pixel space.
        """

        base: str = "energy"
        n: int = 25
        sigma: float = 0.1

        def __post_init__(self) -> None:
            if self.n < 1 or self.sigma <= 0:
                raise ValueError(f"n is {self.n} and sigma {self.sigma}: choose 1 copy or more and a sigma above 0")

    parameters: Parameters

    def __init__(self, parameters: Any = None) -> None:
        super().__init__(parameters)
        base = in_process(self.parameters.base)
        if issubclass(base, Median):
            raise OodbenchError(f"{self.name} smooths {base.name!r}, which is smooth already: name another base")
        self._base = base()
        if self._base.draws():
            raise OodbenchError(f"{self.name} smooths {base.name!r}, which draws itself: name another base")

    def over(self) -> Detector:
        """The base."""
        return self._base

    def draws(self) -> int:
        """A draw for each copy."""
        return self.parameters.n

    def score_drawn(self, images: Tensor, draws: Draws) -> Tensor:
        """The median of the base's scores."""
        return self._around(images, draws).median(0).values

    def _around(self, images: Tensor, draws: Draws) -> Tensor:
        """The base's scores of the copies, float64 (n, N)."""
        numbers = range(self.parameters.n)
        return scores_around(self._base.score, images, self.parameters.sigma, numbers, draws)

    def score_representation(self, representation: Representation) -> Tensor:
        """Not possible: the copies take passes of their own."""
        raise TypeError(f"{self.name} scores images, not representations: it adds noise to them first")

    def own_passes(self) -> Passes:
        """Those of the base, for each copy."""
        return (Passes(1) + self._base.own_passes()) * self.parameters.n

    def predict(self, representation: Representation) -> Tensor:
        """The base's prediction for the image itself."""
        return self._base.predict(representation)

    def published_objective(self, images: Tensor) -> Tensor:
        """The base's score at the image itself, without noise: attacks on it are transferred."""
        return self._base.score(images)

    def surrogates(self) -> Mapping[str, PerImage]:
        """The mean in place of the median, through which every copy has a gradient; and what the base has."""
        draws = CommonDraws("surrogate")
        return {"mean": lambda images: self._around(images, draws).mean(0), **self._base.surrogates()}

    def objective(self) -> Objective:
        """The base's."""
        return self._base.objective()

    def observes(self) -> bool:
        """If the base does."""
        return self._base.observes()

    def tuning(self) -> Tuning | None:
        """The base's."""
        return self._base.tuning()

    def attach(self, network: Network, classes: int) -> None:
        """For both."""
        super().attach(network, classes)
        self._base.attach(network, classes)

    def observe(self, representation: Representation, labels: Tensor) -> None:
        """The base learns, from images without noise."""
        self._base.observe(representation, labels)

    def settle(self) -> None:
        """The base's."""
        self._base.settle()

    def tune(self, images: TuningImages) -> Mapping[str, Any]:
        """The base's, on images without noise."""
        return self._base.tune(images)
