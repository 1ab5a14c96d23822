"""What an attack is after: objectives to climb, what counts in the end, and when it is enough.

A random score is attacked through its expectation (EOT; Athalye et al. 2018, arXiv:1707.07397): the mean over several
scores, each of draws of its own. Each climb gets draws that it keeps, for a climb must be able to compare two points;
what climbs found is judged by others, the same for all candidates; and what is stored is scored with the draws of the
run, which differ from image to image and which no attack ever saw.
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
    """What to climb. No labels: an attack sees images and these functions, nothing else.

    Attributes:
        score: what counts; (N, C, H, W) to (N,), exact and unsaturated. Of a random score, its mean over draws that no
            climb sees.
        published: what the method's paper climbs.
        surrogates: other objectives worth climbing, by name.
        targets: (N, C, H, W) to (N, T), margins whose maximum decides the score; None, or T = 0, where there are none.
        lures: (M, C, H, W) images that score high; starts are put between an image and these.
        enough: a score from which on more changes next to nothing.
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
        """To be taken for ID by a fitted `detector`: what OOD images are moved for.

        A look at a random score is of so many `draws` at least.
        """
        expected = expectation(detector, draws)
        score = expected("judged") if expected else detector.score
        published, surrogates = detector.published_objective, detector.surrogates()
        passes = passes_a_look(detector, draws)
        return cls(score, published, surrogates, detector.targets, lures, enough, expected, passes)

    @classmethod
    def against(cls, detector: Detector, draws: int = DRAWS) -> "Goal":
        """To be taken for OOD by a fitted `detector`: what ID images are moved for."""
        goal = cls.of(detector, draws=draws)
        expected = goal.expected
        return cls(
            _negative(goal.score),
            _negative(goal.published),
            {name: _negative(climbed) for name, climbed in goal.surrogates.items()},
            expected=(lambda climb: _negative(expected(climb))) if expected else None,
            passes=goal.passes,
        )

    def climbed(self, climb: str) -> PerImage:
        """The score as a climb of this name sees it: itself, or its mean over draws of that climb alone."""
        return self.expected(climb) if self.expected else self.score

    def watched(self, seen: Callable[[int], None]) -> "Goal":
        """The same, telling `seen` how many passes each call is about to take, one an image if nothing is random."""

        def watching(function: PerImage, passes: int = 1) -> PerImage:
            def watched(images: Tensor) -> Tensor:
                seen(len(images) * passes)
                return function(images)

            return watched

        expected = self.expected
        return replace(
            self,
            score=watching(self.score, self.passes),
            published=watching(self.published),
            surrogates={name: watching(function) for name, function in self.surrogates.items()},
            targets=self.targets and watching(self.targets),
            expected=(lambda climb: watching(expected(climb), self.passes)) if expected else None,
        )


def scores_a_look(detector: Detector, draws: int = DRAWS) -> int:
    """How many scores are taken where an attack looks at an image once: of a random one as many as have the `draws`."""
    return -(-max(draws, 1) // detector.draws()) if detector.draws() else 1


def passes_a_look(detector: Detector, draws: int = DRAWS) -> int:
    """How many passes a look at the score of an image takes: those of all draws if it draws."""
    return detector.own_passes().both * scores_a_look(detector, draws) if detector.draws() else 1


def expectation(detector: Detector, draws: int = DRAWS) -> Callable[[str], PerImage] | None:
    """By a name, the mean of a random score over sets of draws that go by this name; None where nothing is random."""
    if not detector.draws():
        return None
    count = scores_a_look(detector, draws)

    def expected(name: str) -> PerImage:
        sets = [CommonDraws("attack", name, number) for number in range(count)]

        def mean(images: Tensor) -> Tensor:
            return torch.stack([detector.score_drawn(images, each) for each in sets]).mean(0)

        return mean

    return expected


def _negative(function: PerImage) -> PerImage:
    return lambda images: -function(images)
