"""Detector: the contract between a method and the harness."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from oodbench.basics.draws import CommonDraws, Draws
from oodbench.basics.gradient import PerImage
from oodbench.basics.passes import Passes
from oodbench.networks.bounds import LogitBounds
from oodbench.networks.network import Network, Representation
from oodbench.objective import Objective

Scores = npt.NDArray[np.float64]

TUNING_SOURCES = ("heldout", "id-test")
"""ID images that a method may be tuned on: held-out training images, or test images, a leak that is marked."""


@dataclass(frozen=True)
class NoParameters:
    """The parameters of a method that has none."""


@dataclass(frozen=True)
class Tuning:
    """The images that a method needs to tune itself.

    Attributes:
        source: one of `TUNING_SOURCES`, where the ID images come from.
        images: at most so many ID images, and so many outliers.
        outliers: the suite's reserved outliers are needed too.
        passes: approximate cost for each image.
    """

    source: str = "heldout"
    images: int = 1000
    outliers: bool = True
    passes: Passes = Passes()

    def __post_init__(self) -> None:
        if self.source not in TUNING_SOURCES:
            raise ValueError(f"tuning is {self.source!r}: choose one of {', '.join(map(repr, TUNING_SOURCES))}")


@dataclass(frozen=True)
class TuningImages:
    """The images that a method tunes itself on, on the device.

    Attributes:
        id: ID images, uint8 (N, C, H, W).
        labels: theirs, int64 (N,).
        outliers: reserved outliers, uint8 (M, C, H, W); empty where they were not asked for.
    """

    id: Tensor
    labels: Tensor
    outliers: Tensor


class Published(NamedTuple):
    """The scores of images by a paper's code, (N,) each, in its precision.

    Attributes:
        scores: as it prints them.
        search: the values by which it chooses among versions of an image: the first of the highest.
    """

    scores: Tensor
    search: Tensor


class Detector(ABC):
    """One method: how it trains, what it fits, how it scores.

    A file that defines a subclass with a `name` adds it to the registry. Higher scores are more in-distribution,
    always; scores are differentiable with respect to the images, so every detector can be attacked through its score.

    Attributes:
        name: what people type.
        paper: authors, year and where to read it.
        Parameters: a frozen dataclass; its defaults are the method's own, suites and `--set` override them.
        grid: the parameter that the paper chooses per data set by training again, and the values it tries.
        reads_labels: `observe` or `tune` looks at labels. A method that says False can learn from ID images that have
            none; it is then given -1 for each.
        only_by_name: most networks lack what it needs, so a run has it where it is named and not among "all".
    """

    name: ClassVar[str]
    paper: ClassVar[str]
    Parameters: ClassVar[type] = NoParameters
    grid: ClassVar[tuple[str, tuple[Any, ...]] | None] = None
    reads_labels: ClassVar[bool] = True
    only_by_name: ClassVar[bool] = False

    def __init__(self, parameters: Any = None) -> None:
        self.parameters = self.Parameters() if parameters is None else parameters
        self._fitted: tuple[Network, int] | None = None

    @property
    def network(self) -> Network:
        """The network that was given to `attach`, in evaluation mode."""
        return self._when_fitted()[0]

    @property
    def classes(self) -> int:
        """K, the number of ID classes: the network's first K outputs."""
        return self._when_fitted()[1]

    def observes(self) -> bool:
        """True where the method learns from ID training images."""
        return type(self).observe is not Detector.observe

    def over(self) -> "Detector | None":
        """The detector whose score this one reworks, over the same network; None for a score of its own.

        Whoever has one attaches, shows, settles and tunes it in its own `attach`, `observe`, `settle` and `tune`.
        """
        return None

    def draws(self) -> int:
        """The number of random draws in one score; 0 where nothing in it is random.

        A method that draws overrides `score_drawn` in place of `score`.
        """
        return 0

    def objective(self) -> Objective:
        """How this method's network is trained: by plain cross-entropy unless the method overrides this."""
        return Objective()

    def tuning(self) -> Tuning | None:
        """The images that the method needs to tune itself; None where nothing is left to tune."""
        return None

    def attach(self, network: Network, classes: int) -> None:
        """Take a trained `network` whose first `classes` outputs are the ID classes: where fitting begins."""
        self._fitted = (network.eval(), classes)

    def observe(self, representation: Representation, labels: Tensor) -> None:  # noqa: B027
        """Learn from a batch of ID training images, float32 on the device, and their `labels`, int64 (B,).

        A method that overrides this sees every training image once, unaugmented, in the set's order. All methods over
        a network share the pass.
        """

    def settle(self) -> None:  # noqa: B027
        """Compute what the score needs from what was observed; called once, before `tune`."""

    def tune(self, images: TuningImages) -> Mapping[str, Any]:
        """Tune the method; the values tried and chosen, in JSON's types, which are kept with the result."""
        return {}

    def score(self, images: Tensor) -> Tensor:
        """Scores (N,) of images, float (N, C, H, W) in [0, 1]; higher = more in-distribution.

        Float64 out of the log domain (log-odds, differences of logsumexp): a probability that rounds to 1.0 makes
        ties, and ties look like robustness. Of a random score, that with the same draws for every image.
        """
        if self.draws():
            self._when_fitted()
            return self.score_drawn(images, CommonDraws("score"))
        return self.score_representation(self.network.represent(images))

    def score_drawn(self, images: Tensor, draws: Draws) -> Tensor:
        """Scores (N,) of images with given `draws`, numbers 0 to `self.draws()` - 1 of them: the same give the same.

        Nothing else in a score may be random: a run gives each image draws of its own, seeded by the image, and an
        attack gives others, to climb what is expected of the score.
        """
        raise TypeError(f"the score of {self.name} draws nothing")

    @abstractmethod
    def score_representation(self, representation: Representation) -> Tensor:
        """Scores (N,) from one forward pass, which all detectors of a network share.

        A method that needs passes of its own overrides `score` or `score_drawn` as well, and then answers here by
        raising TypeError.
        """

    def score_shared(self, images: Tensor, representation: Representation) -> Tensor:
        """`score` of images, given their `representation` from the pass that all detectors of a network share.

        A method that uses more than representations overrides this, to save the work that the pass has done already.
        """
        if type(self).score is Detector.score and not self.draws():
            return self.score_representation(representation)
        return self.score(images)

    def published(self, representation: Representation) -> Published | None:
        """The scores by the paper's code from the same pass, where `as_published` cannot know them from scores alone.

        A softmax in float32 is exactly 1 where the score still distinguishes images; from which score on depends on all
        logits.
        """
        return None

    def score_and_published(self, images: Tensor, representation: Representation) -> tuple[Tensor, Published | None]:
        """`score_shared`, and `published` of the same pass; for a method with passes of its own to do both at once."""
        return self.score_shared(images, representation), self.published(representation)

    @classmethod
    def has_published(cls) -> bool:
        """True where the published scores are only approximately those that `as_published` gives."""
        return cls.published is not Detector.published or cls.score_and_published is not Detector.score_and_published

    def needs_graph(self) -> bool:
        """True where `score_shared` differentiates the representation by the images; called on a fitted method."""
        return False

    def own_passes(self) -> Passes:
        """The approximate cost of scoring one image, besides the pass that detectors share."""
        return Passes()

    def predict(self, representation: Representation) -> Tensor:
        """The predicted ID classes (N,): the largest of the first K logits."""
        return representation.logits[:, : self.classes].argmax(1)

    def published_objective(self, images: Tensor) -> Tensor:
        """The objective (N,) that the method's published attack climbs on OOD images; the score if it is that."""
        return self.score(images)

    def surrogates(self) -> Mapping[str, PerImage]:
        """Other objectives worth climbing on OOD images, by name: they rise with the score and are easier to climb.

        Called when the method has been fitted.
        """
        return {}

    def targets(self, images: Tensor) -> Tensor:
        """Margins (N, T) of which the largest decides the score: an attack climbs each. T is 0 where there are none."""
        return images.new_empty((len(images), 0))

    def widening(self) -> float:
        """The distance that the score itself moves each pixel, in [0, 1] units: bounds must hold there too."""
        return 0.0

    def upper_bound(self, bounds: LogitBounds) -> Tensor:
        """An upper bound of the score, (N,), for logits within `bounds`; no attack may ever exceed it.

        Infinity, which is always true, where the method has no bound; the certified task leaves such methods out.
        """
        return torch.full((len(bounds.high),), torch.inf, dtype=torch.float64, device=bounds.high.device)

    @classmethod
    def has_bound(cls) -> bool:
        """True where the method has a bound below infinity."""
        return cls.upper_bound is not Detector.upper_bound

    operating_point: ClassVar[float | None] = None
    """A fixed threshold on published scores, for a paper that does not report at 95 % of ID kept."""

    @classmethod
    def as_published(cls, scores: Scores) -> Scores:
        """Stored scores as the paper prints them, as far as they follow from the scores alone: see `published`."""
        return scores.astype(np.float32).astype(np.float64)

    def _when_fitted(self) -> tuple[Network, int]:
        """The network and the number of classes; RuntimeError before `attach`."""
        if self._fitted is None:
            raise RuntimeError(f"{self.name} was asked for a score before it was fitted")
        return self._fitted
