"""ODIN: softmax at a high temperature, after a small step towards the predicted class. Liang et al. 2018.

Constants and tuning are those of the reference code of Chen et al. 2021 (arXiv:2006.15207) where they differ from the
paper: temperature 1000 throughout, steps in pixel units for every channel.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from oodbench.basics.gradient import PerImage, gradient_through, value_and_gradient
from oodbench.basics.passes import Passes
from oodbench.basics.progress import progress
from oodbench.detector import Published, Tuning, TuningImages
from oodbench.metrics import evaluate
from oodbench.networks.bounds import LogitBounds
from oodbench.networks.network import Representation, as_input, batch_size

from .msp import MSP, largest_probability, log_odds, log_odds_bound, log_odds_of_largest

MAGNITUDES = tuple(0.0002 * step for step in range(21))
"""What is tried, in this order; the first of the best wins."""


def step_direction(gradient: Tensor) -> Tensor:
    """The sign of a gradient, with +1 where it is zero, as the reference code takes it.

    pytorch-ood 0.4.0 takes 0 there: such pixels stay as they are.
    """
    return (gradient >= 0).to(gradient.dtype).mul_(2).sub_(1)  # torch.where of two numbers takes ten times as long


class ODIN(MSP):
    r"""MSP at temperature 1000 after a step against the loss of the predicted class.

    The score is differentiable through the step: the step's direction is piecewise constant, so almost everywhere the
    derivative of the stepped image with respect to the image is the identity.

    $$x' = x - \epsilon\, \operatorname{sign} \nabla_x \bigl(-\log \max_k\, \operatorname{softmax}(z(x) / T)_k\bigr),
    \qquad s(x) = \max_k\, \operatorname{softmax}(z(x') / T)_k \text{, as its log-odds}$$
    """

    name = "odin"
    paper = "Liang et al. 2018, arXiv:1706.02690"
    reads_labels = False

    @dataclass(frozen=True)
    class Parameters:
        """Defaults of the reference code of Chen et al. 2021.

        Attributes:
            magnitude: of the step, in units of [0, 1] pixel space; tuned where none is given.
            temperature: T, above 0.
            tuning: "heldout", or "id-test" as the reference did, which leaks test images.
        """

        magnitude: float | None = None
        temperature: float = 1000.0
        tuning: str = "heldout"

        def __post_init__(self) -> None:
            Tuning(self.tuning)
            if self.temperature <= 0 or (self.magnitude is not None and self.magnitude < 0):
                raise ValueError(
                    f"temperature is {self.temperature} and magnitude {self.magnitude}: choose a temperature above 0 "
                    "and a magnitude from 0"
                )

    parameters: Parameters

    def tuning(self) -> Tuning | None:
        """Held-out ID images and outliers, unless the magnitude is given."""
        passes = Passes(1 + len(MAGNITUDES), 1)
        return Tuning(self.parameters.tuning, passes=passes) if self.parameters.magnitude is None else None

    def settle(self) -> None:
        """The magnitude as given, until it is tuned."""
        self._magnitude = self.parameters.magnitude or 0.0

    def tune(self, images: TuningImages) -> Mapping[str, Any]:
        """Take the magnitude with the lowest FPR at 95 % of the ID images kept."""
        scores = [self._scores_at_magnitudes(pixels).numpy() for pixels in (images.id, images.outliers)]
        trials = [float(evaluate(of_id, of_ood, "published")["fpr95"]) for of_id, of_ood in zip(*scores, strict=True)]
        best = trials.index(min(trials))
        self._magnitude = MAGNITUDES[best]
        return {
            "magnitude": self._magnitude,
            "fpr95": trials[best],
            "tried": dict(zip(map("{:.4f}".format, MAGNITUDES), trials, strict=True)),
        }

    def score(self, images: Tensor) -> Tensor:
        """Log-odds of the largest of softmax(z(x') / T) at the stepped images x'; (N,)."""
        stepped = images - self._magnitude * self._direction(images) if self.needs_graph() else images
        return self._score_logits(self.network(stepped))

    def targets(self, images: Tensor) -> Tensor:
        """Log-odds of every class at the stepped images; the score is the largest."""
        stepped = images - self._magnitude * self._direction(images) if self.needs_graph() else images
        return log_odds(self.network(stepped)[:, : self.classes].double() / self.parameters.temperature)

    def widening(self) -> float:
        """The step."""
        return self._magnitude

    def upper_bound(self, bounds: LogitBounds) -> Tensor:
        """As for MSP, at the temperature."""
        differences = bounds.differences[:, : self.classes, : self.classes]
        return log_odds_bound(differences / self.parameters.temperature)

    def surrogates(self) -> Mapping[str, PerImage]:
        """The same score without the step, which bends the gradient."""
        return {"without step": lambda images: self._score_logits(self.network(images))} if self._magnitude else {}

    def score_shared(self, images: Tensor, representation: Representation) -> Tensor:
        """The step's direction is the shared pass's gradient; the stepped image takes a pass more."""
        return self._score_logits(self._stepped_logits(images, representation))

    def score_and_published(self, images: Tensor, representation: Representation) -> tuple[Tensor, Published | None]:
        """Both of the stepped image's logits."""
        logits = self._stepped_logits(images, representation)
        printed = largest_probability(logits[:, : self.classes].float() / self.parameters.temperature)
        return self._score_logits(logits), printed

    def _stepped_logits(self, images: Tensor, representation: Representation) -> Tensor:
        if not self.needs_graph():
            return representation.logits
        with torch.enable_grad():
            gradient = gradient_through(self._loss(representation.logits), images)
        logits: Tensor = self.network(images - self._magnitude * step_direction(gradient))
        return logits

    def needs_graph(self) -> bool:
        """Where it steps; tuning often decides against it."""
        self._when_fitted()
        return self._magnitude > 0

    def score_representation(self, representation: Representation) -> Tensor:
        """Possible without a step only, which needs a pass of its own."""
        if self.needs_graph():
            raise TypeError("odin scores images, not representations: it steps first")
        return self._score_logits(representation.logits)

    def own_passes(self) -> Passes:
        """The step's direction and the stepped image."""
        return Passes(1, 1)

    def _direction(self, images: Tensor) -> Tensor:
        """Where the temperature-scaled loss of the predicted class rises; +-1, the shape of `images`."""
        return step_direction(value_and_gradient(lambda some: self._loss(self.network(some)), images)[1])

    def _loss(self, logits: Tensor) -> Tensor:
        """Temperature-scaled cross-entropy with the predicted class (N,)."""
        scaled = logits[:, : self.classes] / self.parameters.temperature
        return cross_entropy(scaled, scaled.argmax(1), reduction="none")

    def _score_logits(self, logits: Tensor) -> Tensor:
        return log_odds_of_largest(logits[:, : self.classes].double() / self.parameters.temperature)

    def _scores_at_magnitudes(self, pixels: Tensor) -> Tensor:
        """Scores (magnitudes, N) of uint8 images; the direction is the same for every magnitude."""
        chunks = []
        with progress(f"tuning {self.name}", len(pixels)) as advance:
            for part in torch.split(pixels, batch_size(pixels.device, pixels.shape[-1])):
                images = as_input(part)
                direction = self._direction(images)
                with torch.no_grad():
                    rows = [self._score_logits(self.network(images - step * direction)) for step in MAGNITUDES]
                chunks.append(torch.stack(rows).cpu())
                advance(len(part))
        return torch.cat(chunks, 1)
