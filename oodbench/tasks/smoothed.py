"""A guarantee for any detector: noise smooths its score, and order statistics bound that in an L2 ball."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite

from oodbench.basics.errors import OodbenchError
from oodbench.statistics.smoothed_median import MOST_DRAWS, Ranks, draws_needed, ranks, reach
from oodbench.tasks.adaptive import LEVELS, L2Adaptive
from oodbench.tasks.task import Task, attacked_text, check_l2_radius, check_side

MOVED_IMAGES = {"out": "OOD images", "in": "ID images", "both": "OOD or ID images"}
"""The images that a guarantee covers, by the side."""

MOST_COPIES = 100_000
"""The most noisy copies of an image that may be asked for: their scores are held in memory."""


@dataclass(frozen=True)
class Smoothing(Task):
    """The common base of the tasks of this file: how a score is smoothed.

    Attributes:
        sigma: deviation of the noise, in units of [0, 1] pixel space.
        draws: noisy copies of an image, whose median is its score.
        confidence: probability that the bounds of all images of a figure hold together.
        side: which images may be moved, one of `oodbench.tasks.task.SIDES`.
    """

    norm = "l2"
    smooths = True

    sigma: float = 0.25
    draws: int = 1000
    confidence: float = 0.999
    side: str = "out"

    def __post_init__(self) -> None:
        if not (isfinite(self.sigma) and self.sigma > 0):
            raise ValueError(
                f"sigma is {self.sigma}: without noise nothing is smoothed and nothing guaranteed; choose above 0, in "
                "units of [0, 1] pixel space, for instance 0.25"
            )
        if not 1 <= self.draws <= MOST_COPIES:
            raise ValueError(f"draws is {self.draws}: choose from 1 to {MOST_COPIES:,} noisy copies, for instance 1000")
        if not 0 < self.confidence < 1:
            raise ValueError(f"confidence is {self.confidence}: choose above 0 and below 1, for instance 0.999")
        check_side(self.side)

    def failure(self, images: int) -> float:
        """The probability with which the bound of one of `images` may fail, so that all hold together (Bonferroni).

        Where both sides may be moved each gets half of the probability.
        """
        return (1 - self.confidence) / (2 if self.side == "both" else 1) / images

    def moves(self, role: str) -> bool:
        """True where images of this role, "id" or "ood", may be moved."""
        return self.side in ("both", "in" if role == "id" else "out")

    def shift(self, radius: int) -> float:
        """A radius, given in 1/255, in deviations of the noise."""
        return radius / 255 / self.sigma

    def score_text(self) -> str:
        """The smoothed score in words."""
        return f"the median of {self.draws:,} noisy copies, sigma {self.sigma:g}"


@dataclass(frozen=True)
class Smoothed(Smoothing):
    """The score is smoothed by noise, and the smoothed score bounded over L2 balls around each image.

    The smoothed detector is another detector than the one that it is made of: its score is the median of the
    detector's scores of noisy copies, and the task's own column is what that is worth on images as they are. For each
    radius there is a column more, called after it: the AUROC, the FPR and so on that are guaranteed, which no attack
    whatever within that ball can push lower. OOD images count by their upper bounds and, where `side` is "in" or
    "both", ID images by their lower ones; an image that may not be moved counts by its smoothed score. Bounds are order
    statistics of the copies' scores, and hold for the median of as many copies of any image in the ball, with new noise
    that whoever moved the image has not seen. They hold for all images of a figure together with the stated
    confidence. A mean over several sets is covered when all of them are: four sets at 99.9 % make 99.6 %.

    Asked for, an attack stands between the two: `l2-adaptive` on the smoothed score, climbing what is expected of it,
    scored like every image here. An image keeps the strongest of what was found at this and at smaller radii.

    Copies of images are not cut to [0, 1]. Their noise is drawn by image, number and seed; batches and devices change
    nothing. All detectors over a network share the passes.

    Attributes:
        sigma: deviation of the noise, in units of [0, 1] pixel space.
        draws: noisy copies of an image, each a pass.
        radii: of the balls, L2, in 1/255; 64 is the 0.25 of the literature.
        confidence: probability that the bounds of all images of a figure hold together.
        side: who may be moved: "out" OOD images, "in" ID images, "both" both.
        attack: level of `l2-adaptive` between the clean and the guaranteed figures: "quick", "standard" or "plus"; ""
            for none.
        eot: draws at each look of that attack.
    """

    kind = "smoothed"

    radii: tuple[int, ...] = (16, 32, 64, 128)
    attack: str = ""
    eot: int = Task.eot

    def __post_init__(self) -> None:
        super().__post_init__()
        for radius in self.radii:
            check_l2_radius(radius)
        if not self.radii or list(self.radii) != sorted({*self.radii}) or 0 in self.radii:
            raise ValueError(
                f"radii are {list(self.radii)}: name some above 0, each once and the smallest first, for instance "
                "[16, 32, 64]"
            )
        if self.attack and self.attack not in LEVELS:
            raise ValueError(f"attack is {self.attack!r}: choose one of {', '.join(map(repr, LEVELS))}, or '' for none")
        if self.eot < 1:
            raise ValueError(f"eot is {self.eot}: an attack on a random score looks at 1 draw or more")

    def climbs(self) -> bool:
        """True where there is an attack, which needs gradients."""
        return bool(self.attack)

    def ranks(self, radius: int, images: int) -> Ranks:
        """See `oodbench.statistics.smoothed_median.ranks`, for one of `images`."""
        return ranks(self.draws, self.shift(radius), self.failure(images))

    def require_enough(self, images: int) -> None:
        """Raise OodbenchError where the draws guarantee nothing of `images` at any radius; it says how many would."""
        failure, least = self.failure(images), self.shift(self.radii[0])
        if reach(self.draws, failure) < least:
            raise OodbenchError(
                f"smoothed: {self.draws:,} draws guarantee nothing of {images:,} images together with a confidence of "
                f"{self.confidence:g}, not even at radius {self.radii[0]}/255: {_needed_text(least, failure)}, or take "
                "a lower confidence, fewer images, a smaller radius or a larger sigma"
            )

    def guaranteed_task(self, radius: int) -> Guaranteed:
        """The task under which the bounds at one of the radii are stored."""
        return Guaranteed(self.sigma, self.draws, self.confidence, self.side, radius)

    def attacked_task(self, radius: int) -> SmoothedAttacked:
        """The task under which the attack at one of the radii is stored."""
        return SmoothedAttacked(self.sigma, self.draws, self.confidence, self.side, radius, self.attack, self.eot)

    def search(self, radius: int) -> L2Adaptive:
        """The attack on the smoothed score at one of the radii."""
        return L2Adaptive(radius, self.attack, self.side, self.eot)

    def parts(self, name: str, role: str = "ood") -> Iterator[tuple[str, Task]]:
        """Yield name and task of everything that is stored of this task, which is called `name`: itself first.

        Of ID images (`role`) nothing else is stored unless they may be moved: they are compared with all parts.
        """
        yield name, self
        for radius in self.radii if role == "ood" or self.moves(role) else ():
            yield f"{name}-eps{radius}", self.guaranteed_task(radius)
            if self.attack:
                yield f"{name}-attacked-eps{radius}", self.attacked_task(radius)

    def threat(self) -> str:
        """A phrase for the score."""
        return f"images as they are, scored by {self.score_text()}"


@dataclass(frozen=True)
class Guaranteed(Smoothing):
    """What a `smoothed` task guarantees at one radius; it comes with that task and cannot be asked for by itself.

    Attributes:
        epsilon: radius of the L2 ball, in 1/255.
    """

    kind = "smoothed-guaranteed"
    certifies = True

    epsilon: int = 64

    def is_trivial(self, images: int) -> bool:
        """True where the draws guarantee nothing of `images` at this radius."""
        return reach(self.draws, self.failure(images)) < self.shift(self.epsilon)

    def threat(self) -> str:
        """A phrase for what is guaranteed."""
        return (
            f"no attack within L2 {self.epsilon}/255 on {MOVED_IMAGES[self.side]} can do worse to {self.score_text()}, "
            f"with a confidence of {100 * self.confidence:g} % for all images of a set together"
        )

    def trivial_text(self, images: int) -> str:
        """The explanation where the draws guarantee nothing of `images` at this radius."""
        failure = self.failure(images)
        least = reach(self.draws, failure) * 255 * self.sigma
        return (
            f"{self.draws:,} draws guarantee nothing beyond L2 {max(0, int(least))}/255, so that the figure is the "
            f"trivial one, as if every image passed: {_needed_text(self.shift(self.epsilon), failure)}"
        )


@dataclass(frozen=True)
class SmoothedAttacked(Smoothing):
    """What the attack of a `smoothed` task leaves at one radius; it comes with that task, when it asks for an attack.

    Attributes:
        epsilon: radius of the L2 ball, in 1/255.
        level: of `l2-adaptive`.
        eot: draws at each of its looks.
    """

    kind = "smoothed-attacked"

    epsilon: int = 64
    level: str = "quick"
    eot: int = Task.eot

    def stops_at(self) -> float:
        """The share of the ID scores that an image has to pass for the search to stop."""
        return L2Adaptive(self.epsilon, self.level).stops_at()

    def threat(self) -> str:
        """A phrase for the ball and for how hard it was searched."""
        return (
            f"{attacked_text(self.side)}; L2 {self.epsilon}/255, adaptive tier at level {self.level!r} on what is "
            f"expected of {self.score_text()}"
        )


def _needed_text(shift: float, failure: float) -> str:
    needed = draws_needed(shift, failure)
    return f"it takes more than {MOST_DRAWS:,} draws" if needed > MOST_DRAWS else f"it takes {needed:,} draws"
