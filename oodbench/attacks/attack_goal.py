"""The goal of an attack: objectives to climb, the score that decides in the end, and when to stop.

A random score is attacked through its expectation (EOT; Athalye et al. 2018, arXiv:1707.07397): the mean over several
scores, each of draws of its own. Each climb keeps its draws, for a climb must be able to compare two points; the points
that climbs found are judged by other draws, the same for all candidates; and the image that is stored is scored with
the draws of the run, which differ from image to image and which no attack ever saw.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from math import inf

import torch
from torch import Tensor

from oodbench.basics.draws import CommonDraws
from oodbench.basics.gradient import PerImage
from oodbench.detector import Detector

DRAWS = 50
"""Random draws behind one look of an attack at a random score, unless a task says otherwise."""


@dataclass(frozen=True)
class Goal:
    """The objectives of an attack, which sees images and these functions and nothing else, in particular no labels.

    Attributes:
        score: decides which images are kept; (N, C, H, W) to (N,), exact and unsaturated. Of a random score, its mean
            over draws that no climb sees.
        published: the objective that the method's paper climbs.
        surrogates: other objectives worth climbing, by name.
        targets: (N, C, H, W) to (N, T), margins whose maximum decides the score; None, or T = 0, where there are none.
        lures: (M, C, H, W) images that score high; starts are put between an image and these.
        enough: an image that reaches this score is left alone: a higher score changes next to nothing.
        expected: by the name of a climb, the mean of a random score over draws of that climb; None where nothing is
            random.
        passes: of one look at the score; more than one where it draws. The other functions count as one.
    """

    score: PerImage
    published: PerImage
    surrogates: Mapping[str, PerImage] = field(default_factory=dict)
    targets: PerImage | None = None
    lures: Tensor | None = None
    enough: float = inf
    expected: Callable[[str], PerImage] | None = None
    passes: int = 1

    @classmethod
    def of(cls, detector: Detector, lures: Tensor | None = None, enough: float = inf, draws: int = DRAWS) -> "Goal":
        """The goal of OOD images: to be taken for ID by a fitted `detector`.

        A look at a random score is of so many `draws` at least.
        """
        expected = expectation(detector, draws)
        score = expected("judged") if expected else detector.score
        published, surrogates = detector.published_objective, detector.surrogates()
        passes = passes_per_look(detector, draws)
        return cls(score, published, surrogates, detector.targets, lures, enough, expected, passes)

    @classmethod
    def against(cls, detector: Detector, draws: int = DRAWS) -> "Goal":
        """The goal of ID images: to be taken for OOD by a fitted `detector`."""
        goal = cls.of(detector, draws=draws)
        expected = goal.expected
        return cls(
            _negative(goal.score),
            _negative(goal.published),
            {name: _negative(surrogate) for name, surrogate in goal.surrogates.items()},
            expected=(lambda climb: _negative(expected(climb))) if expected else None,
            passes=goal.passes,
        )

    def score_for_climb(self, climb: str) -> PerImage:
        """The objective of the climb of this name: the score or, of a random score, its mean over the climb's draws."""
        return self.expected(climb) if self.expected else self.score

    def with_counter(self, count: Callable[[int], None]) -> "Goal":
        """The same goal, which tells `count` how many passes each call takes: one an image if nothing is random."""

        def counting(function: PerImage, passes: int = 1) -> PerImage:
            def counted(images: Tensor) -> Tensor:
                count(len(images) * passes)
                return function(images)

            return counted

        expected = self.expected
        return replace(
            self,
            score=counting(self.score, self.passes),
            published=counting(self.published),
            surrogates={name: counting(function) for name, function in self.surrogates.items()},
            targets=self.targets and counting(self.targets),
            expected=(lambda climb: counting(expected(climb), self.passes)) if expected else None,
        )


def scores_per_look(detector: Detector, draws: int = DRAWS) -> int:
    """The number of scores that one look of an attack at an image takes: for a random score, enough for the `draws`."""
    return -(-max(draws, 1) // detector.draws()) if detector.draws() else 1


def passes_per_look(detector: Detector, draws: int = DRAWS) -> int:
    """The number of passes that one look at the score of an image takes: those of all draws if it draws."""
    return detector.own_passes().both * scores_per_look(detector, draws) if detector.draws() else 1


def expectation(detector: Detector, draws: int = DRAWS) -> Callable[[str], PerImage] | None:
    """A function from a name to the mean of a random score over draws of this name; None where nothing is random."""
    if not detector.draws():
        return None
    count = scores_per_look(detector, draws)

    def expected(name: str) -> PerImage:
        sets = [CommonDraws("attack", name, number) for number in range(count)]

        def mean(images: Tensor) -> Tensor:
            return torch.stack([detector.score_drawn(images, draws_of_score) for draws_of_score in sets]).mean(0)

        return mean

    return expected


def _negative(function: PerImage) -> PerImage:
    return lambda images: -function(images)
