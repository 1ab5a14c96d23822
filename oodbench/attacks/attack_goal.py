"""What an attack is after: objectives to climb, what counts in the end, and when it is enough."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from math import inf

from torch import Tensor

from oodbench.basics.gradient import PerImage
from oodbench.detector import Detector


@dataclass(frozen=True)
class Goal:
    """What to climb. No labels: an attack sees images and these functions, nothing else.

    Attributes:
        score: what counts; (N, C, H, W) to (N,), exact and unsaturated.
        published: what the method's paper climbs.
        surrogates: other objectives worth climbing, by name.
        targets: (N, C, H, W) to (N, T), margins whose maximum decides the score; None, or T = 0, where there are none.
        lures: (M, C, H, W) images that score high; starts are put between an image and these.
        enough: a score from which on more changes next to nothing.
    """

    score: PerImage
    published: PerImage
    surrogates: Mapping[str, PerImage] = field(default_factory=dict)
    targets: PerImage | None = None
    lures: Tensor | None = None
    enough: float = inf

    @classmethod
    def of(cls, detector: Detector, lures: Tensor | None = None, enough: float = inf) -> "Goal":
        """To be taken for ID by a fitted `detector`: what OOD images are moved for."""
        return cls(detector.score, detector.published_objective, detector.surrogates(), detector.targets, lures, enough)

    @classmethod
    def against(cls, detector: Detector) -> "Goal":
        """To be taken for OOD by a fitted `detector`: what ID images are moved for."""
        surrogates = {name: _negative(climbed) for name, climbed in detector.surrogates().items()}
        return cls(_negative(detector.score), _negative(detector.published_objective), surrogates)

    def watched(self, seen: Callable[[int], None]) -> "Goal":
        """The same, telling `seen` how many images each call is about to look at."""

        def watching(function: PerImage) -> PerImage:
            def watched(images: Tensor) -> Tensor:
                seen(len(images))
                return function(images)

            return watched

        return replace(
            self,
            score=watching(self.score),
            published=watching(self.published),
            surrogates={name: watching(function) for name, function in self.surrogates.items()},
            targets=self.targets and watching(self.targets),
        )


def _negative(function: PerImage) -> PerImage:
    return lambda images: -function(images)
