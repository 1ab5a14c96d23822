"""Temperature scaling: MSP at the temperature that calibrates the softmax. Guo et al. 2017, arXiv:1706.04599."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import exp, log
from typing import Any

import torch
from scipy.optimize import minimize_scalar
from torch import Tensor
from torch.nn.functional import cross_entropy

from oodbench.basics.passes import Passes
from oodbench.detector import Published, Tuning, TuningImages
from oodbench.networks.bounds import LogitBounds
from oodbench.networks.network import Representation, as_input, batch_size

from .msp import MSP, largest_probability, log_odds, log_odds_bound, log_odds_of_largest

COLDEST, HOTTEST = 0.1, 100.0
"""Temperatures that are looked at. Where every held-out image is recognised, colder is likelier without end."""


class TempScale(MSP):
    r"""MSP at the temperature under which the labels of held-out ID images are likeliest.

    That likelihood has one maximum (it is concave in 1 / T), which is found exactly; implementations that take fifty
    steps of L-BFGS may stop elsewhere. Nothing keeps those of pytorch-ood above zero: where all images are recognised,
    its temperature can come out negative, and its scores upside down.

    $$s(x) = \max_k\, \operatorname{softmax}(z(x) / T)_k \text{, as its log-odds}, \qquad T = \arg\min_T\,
    \mathbb{E}_{\text{held out}} \bigl[-\log \operatorname{softmax}(z(x) / T)_y\bigr]$$
    """

    name = "tempscale"
    paper = "Guo et al. 2017, arXiv:1706.04599"

    @dataclass(frozen=True)
    class Parameters:
        """The temperature is tuned where none is given.

        Attributes:
            temperature: T, above 0.
            tuning: on "heldout" ID images, or "id-test", which leaks test images.
        """

        temperature: float | None = None
        tuning: str = "heldout"

        def __post_init__(self) -> None:
            Tuning(self.tuning)
            if self.temperature is not None and self.temperature <= 0:
                raise ValueError(f"temperature is {self.temperature}: choose a number above 0")

    parameters: Parameters

    def tuning(self) -> Tuning | None:
        """Held-out ID images, as many as there are up to 5,000, unless the temperature is given."""
        if self.parameters.temperature is not None:
            return None
        return Tuning(self.parameters.tuning, images=5000, outliers=False, passes=Passes(1))

    def settle(self) -> None:
        """The temperature as given, until it is tuned."""
        self._temperature = self.parameters.temperature or 1.0

    def tune(self, images: TuningImages) -> Mapping[str, Any]:
        """Take the temperature with the lowest cross-entropy."""
        logits, labels = self._logits(images.id).cpu(), images.labels.cpu()

        def loss(log_temperature: float) -> float:
            return float(cross_entropy(logits / exp(log_temperature), labels))

        found = minimize_scalar(loss, bounds=(log(COLDEST), log(HOTTEST)), method="bounded")
        self._temperature = exp(found.x)
        recognised = float((logits.argmax(1) == labels).double().mean())
        tuned = {
            "temperature": self._temperature,
            "cross_entropy": float(found.fun),
            "cross_entropy_at_1": loss(0.0),
            "accuracy": recognised,
        }
        return (
            {**tuned, "limit": f"all are recognised, so {COLDEST:g} is the least tried"} if recognised == 1 else tuned
        )

    def score_representation(self, representation: Representation) -> Tensor:
        """Log-odds of the largest of softmax(z / T)."""
        return log_odds_of_largest(self._scaled(representation.logits))

    def targets(self, images: Tensor) -> Tensor:
        """Log-odds of every class at the temperature; the score is the largest."""
        return log_odds(self._scaled(self.network(images)))

    def upper_bound(self, bounds: LogitBounds) -> Tensor:
        """As for MSP, at the temperature."""
        return log_odds_bound(bounds.differences[:, : self.classes, : self.classes] / self._temperature)

    def published(self, representation: Representation) -> Published | None:
        """The largest probability of a softmax in float32."""
        return largest_probability(representation.logits[:, : self.classes].float() / self._temperature)

    def _scaled(self, logits: Tensor) -> Tensor:
        return logits[:, : self.classes].double() / self._temperature

    def _logits(self, pixels: Tensor) -> Tensor:
        """Of the K classes, float64 (N, K), of uint8 images."""
        parts = torch.split(pixels, batch_size(pixels.device, pixels.shape[-1]))
        with torch.no_grad():
            return torch.cat([self.network(as_input(part))[:, : self.classes].double() for part in parts])
