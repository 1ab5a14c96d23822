"""Detector: what a method must say to stand in the table."""

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
"""What a method may be tuned on: ID training images held out, or ID test images, which is a leak and marked so."""


@dataclass(frozen=True)
class NoParameters:
    """For a method without parameters."""


@dataclass(frozen=True)
class Tuning:
    """What a method wants in order to tune itself.

    Attributes:
        source: one of `TUNING_SOURCES`, where the ID images come from.
        images: at most so many ID images, and so many outliers.
        outliers: the suite's reserved outliers are wanted too.
        passes: about what it costs for each image.
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
    """What it gets, on the device.

    Attributes:
        id: ID images, uint8 (N, C, H, W).
        labels: theirs, int64 (N,).
        outliers: reserved ones, uint8 (M, C, H, W); none where not asked for.
    """

    id: Tensor
    labels: Tensor
    outliers: Tensor


class Published(NamedTuple):
    """What a paper's code makes of images, (N,) each, in the precision in which it does.

    Attributes:
        scores: as it prints them.
        search: by what it chooses among versions of an image; the first of the highest.
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
        """It learns from ID training images."""
        return type(self).observe is not Detector.observe

    def over(self) -> "Detector | None":
        """The detector whose score this one reworks, over the same network; None for a score of its own.

        Whoever has one attaches, shows, settles and tunes it in its own `attach`, `observe`, `settle` and `tune`.
        """
        return None

    def draws(self) -> int:
        """Of how many random draws one score is made; 0 where nothing in it is random.

        A method that draws overrides `score_drawn` in place of `score`.
        """
        return 0

    def objective(self) -> Objective:
        """How this method's network is trained; plain cross-entropy unless the method says otherwise."""
        return Objective()

    def tuning(self) -> Tuning | None:
        """What the method tunes itself on; None where nothing is left to tune."""
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
        """Make of what was observed what the score needs; called once, before `tune`."""

    def tune(self, images: TuningImages) -> Mapping[str, Any]:
        """Choose what `tuning` is for, and say in JSON's types what was tried and chosen; kept with the result."""
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
        """`score` of images, with the `representation` that the pass all detectors of a network share gave of them.

        A method that looks at more than representations overrides this, to save what that pass has done already.
        """
        if type(self).score is Detector.score and not self.draws():
            return self.score_representation(representation)
        return self.score(images)

    def published(self, representation: Representation) -> Published | None:
        """What the paper's code says of the same pass, where `as_published` cannot tell it from the score alone.

        A softmax in float32 is exactly 1 where the score still tells images apart; from which score on depends on all
        logits.
        """
        return None

    def score_and_published(self, images: Tensor, representation: Representation) -> tuple[Tensor, Published | None]:
        """`score_shared`, and `published` of the same pass; for a method with passes of its own to do both at once."""
        return self.score_shared(images, representation), self.published(representation)

    @classmethod
    def has_published(cls) -> bool:
        """Its published scores are not those that `as_published` gives, only nearly."""
        return cls.published is not Detector.published or cls.score_and_published is not Detector.score_and_published

    def needs_graph(self) -> bool:
        """Whether `score_shared` differentiates the representation by the images; asked when the method is fitted."""
        return False

    def own_passes(self) -> Passes:
        """About what scoring one image costs besides the pass that detectors share."""
        return Passes()

    def predict(self, representation: Representation) -> Tensor:
        """Predicted ID class (N,): the largest of the first K logits."""
        return representation.logits[:, : self.classes].argmax(1)

    def published_objective(self, images: Tensor) -> Tensor:
        """What the method's published attack climbs on OOD images (N,); the score itself unless the paper differs."""
        return self.score(images)

    def surrogates(self) -> Mapping[str, PerImage]:
        """Other objectives worth climbing on OOD images, by name: what rises with the score and is easier to climb.

        Asked when the method has been fitted.
        """
        return {}

    def targets(self, images: Tensor) -> Tensor:
        """Margins (N, T), where the largest of them decides the score: each is climbed for itself. T is 0 otherwise."""
        return images.new_empty((len(images), 0))

    def widening(self) -> float:
        """How far the score itself moves each pixel, in [0, 1] units: bounds must hold there too."""
        return 0.0

    def upper_bound(self, bounds: LogitBounds) -> Tensor:
        """The most the score can be, (N,), for logits within `bounds`; no attack may ever exceed it.

        Infinity, which is always true, where the method knows nothing better; the certified task leaves those out.
        """
        return torch.full((len(bounds.high),), torch.inf, dtype=torch.float64, device=bounds.high.device)

    @classmethod
    def has_bound(cls) -> bool:
        """It knows a bound below infinity."""
        return cls.upper_bound is not Detector.upper_bound

    operating_point: ClassVar[float | None] = None
    """A fixed threshold on published scores, for a paper that does not report at 95 % of ID kept."""

    @classmethod
    def as_published(cls, scores: Scores) -> Scores:
        """Stored scores as the paper prints them, as far as the scores alone tell: see `published`."""
        return scores.astype(np.float32).astype(np.float64)

    def _when_fitted(self) -> tuple[Network, int]:
        if self._fitted is None:
            raise RuntimeError(f"{self.name} was asked for a score before it was fitted")
        return self._fitted
