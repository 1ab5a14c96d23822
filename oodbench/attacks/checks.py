"""Was it a fair attack? What a detector's gradient and score are worth, and what other attacks would have reached."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from math import inf, nan

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from oodbench.attacks.adam import adam
from oodbench.attacks.apgd import apgd
from oodbench.attacks.ascent import Ascent
from oodbench.attacks.attack_goal import Goal
from oodbench.attacks.balls import Ball, LinfBall
from oodbench.attacks.reducer import Reducer
from oodbench.attacks.square import square
from oodbench.attacks.starting_points import guesses
from oodbench.basics.errors import NoGradientError
from oodbench.basics.gradient import PerImage, value_and_gradient
from oodbench.basics.memory import Portions
from oodbench.basics.passes import Passes
from oodbench.basics.randomness import generators_per_image, torch_generator
from oodbench.images.tensors import channels_first
from oodbench.networks.network import as_input, batch_size

LOOKS, DIRECTIONS = 64, 4
"""Images and directions a gradient is measured at."""

GUESSES = 8
"""Corners, as many points and as many lures that an attack is held against."""

STRIDE, LONG_STRIDE = 0.1 / 255, 0.5 / 255
"""How far a difference quotient reaches to both sides, in pixel space: along the gradient, and along drawn signs, which
move a score far less."""

THOROUGH_IMAGES = 100

LONG, SHORT, QUERIES = 500, 100, 5000
"""Iterations that are compared, and queries of random search."""

RADII = (0.25, 0.5, 2.0)
"""Of the attack's own, the others at which the score is climbed."""

TOP = 0.999
"""Share of the ID scores that an unbounded climb tries to pass."""

THOROUGH = Passes(forward=QUERIES) + Passes(1, 1) * (2 * (LONG + (2 + len(RADII)) * SHORT))
"""About what `thorough` costs for each of its images."""


def gradient_error(score: PerImage, images: Tensor) -> float:
    """Median relative error of the gradient along random directions, against a central difference.

    A direction is the gradient's own sign in half of the pixels, drawn at random, and zero elsewhere: along it the
    score moves enough to be told from rounding. Not a number where there is no gradient, or where it is zero.

    Args:
        score: as it is attacked.
        images: (N, C, H, W) in [0, 1].
    """
    errors = []
    for half, gradient, rise_along in _directions(score, images, STRIDE):
        direction = gradient.sign() * (half < 0.5)
        slope, rise = _along(direction, gradient), rise_along(direction)
        errors.append(((rise - slope).abs() / slope)[slope > 0])
    return _median(errors)


def gradient_missing(score: PerImage, images: Tensor) -> float:
    """Median share of what a score does along drawn signs that its gradient does not tell.

    A gradient that reaches the images through some of their values alone is right along itself, and `gradient_error`
    sees nothing. Along signs that are drawn for every value, it tells too little. Not a number where there is no
    gradient, or where the score does not move.

    Args:
        score: as it is attacked.
        images: (N, C, H, W) in [0, 1].
    """
    shares = []
    for drawn, gradient, rise_along in _directions(score, images, LONG_STRIDE):
        direction = (drawn - 0.5).sign()
        slope, rise = _along(direction, gradient), rise_along(direction)
        shares.append(((rise - slope).abs() / rise.abs())[rise != 0])
    return _median(shares)


def _directions(
    score: PerImage, images: Tensor, stride: float
) -> Iterator[tuple[Tensor, Tensor, Callable[[Tensor], Tensor]]]:
    """`DIRECTIONS` times numbers drawn from [0, 1), (N, C, H, W), the gradient, and the slope (N,) that a difference
    over so long a `stride` to both sides has along a direction; nothing where there is no gradient.
    """
    images, generator = images.clamp(stride, 1 - stride), torch_generator("gradient check")  # both sides are images
    try:
        _, gradient = value_and_gradient(score, images)
    except NoGradientError:
        return

    @torch.no_grad()
    def rise_along(direction: Tensor) -> Tensor:
        return (score(images + stride * direction) - score(images - stride * direction)).double() / (2 * stride)

    for _ in range(DIRECTIONS):
        yield torch.rand(images.shape, generator=generator).to(images.device), gradient, rise_along


def _along(direction: Tensor, gradient: Tensor) -> Tensor:
    """The slope (N,), in float64, of a direction (N, C, H, W)."""
    return (gradient * direction).flatten(1).sum(1).double()


def _median(parts: Sequence[Tensor]) -> float:
    """Of all numbers in `parts`; not a number where there are none."""
    there = [part for part in parts if len(part)]
    return float(torch.cat(there).median()) if there else nan


def unsteadiness(score: PerImage, images: Tensor) -> float:
    """Largest change of a score between two looks at the same images, the second in reverse order, over their
    interquartile range: 0 where nothing is random and no image depends on its neighbours.
    """
    with torch.no_grad():
        first, second = score(images).double(), score(images.flip(0)).double().flip(0)
    low, high = torch.quantile(first, first.new_tensor([0.25, 0.75]))
    return float((first - second).abs().max() / (high - low).clamp(min=1e-12))


@dataclass(frozen=True)
class Attacked:
    """Images before and after an attack, what it climbed, and how far it was allowed to go: what is checked.

    Attributes:
        goal: of the detector.
        before: (N, C, H, W) in [0, 1].
        after: the same, attacked.
        indices: (N,) of each in its set.
        epsilon: radius in 1/255.
        purpose: names seed and image set.
        ball: in which norm.
    """

    goal: Goal
    before: Tensor
    after: Tensor
    indices: npt.NDArray[np.int64]
    epsilon: int
    purpose: str
    ball: type[Ball] = LinfBall

    def part(self, which: slice) -> "Attacked":
        """Some of the images, attacked as they were."""
        return replace(self, before=self.before[which], after=self.after[which], indices=self.indices[which])


def outguessed(attacked: Attacked) -> float:
    """Share of the images on which a point that follows no gradient, or the image itself, beats the attack.

    Where an image has got far enough nothing beats it.
    """
    goal, images, purpose = attacked.goal, attacked.before, f"check/{attacked.purpose}"
    reducer = Reducer(goal.score, images, attacked.epsilon, attacked.ball)
    around = attacked.ball(images, attacked.epsilon)
    for _, points in guesses(images, attacked.indices, around=around, count=GUESSES, lures=goal.lures, purpose=purpose):
        reducer.offer(points)
    with torch.no_grad():
        return beaten(reducer.best, goal.score(attacked.after), goal.enough)


def beaten(others: Tensor, reached: Tensor, enough: float) -> float:
    """Share of the images on which the score `others` (N,) is above the score `reached` (N,).

    From `enough` on a score does no more damage: an attack that stops there has not lost.
    """
    return float(((others > reached) & (reached < enough)).double().mean())


class Ranks:
    """How much of the ID images a score passes: its damage, in AUROC.

    Args:
        id_scores: (M,), clean.
    """

    def __init__(self, id_scores: npt.NDArray[np.float64]) -> None:
        self._sorted = np.sort(id_scores)

    def passed(self, scores: Tensor) -> npt.NDArray[np.float64]:
        """Share of the ID scores that each of `scores` (N,) is above."""
        return np.searchsorted(self._sorted, scores.double().cpu().numpy()) / len(self._sorted)

    def gain(self, others: Tensor, reached: Tensor) -> float:
        """By how much the AUROC falls if the score `others` (N,) replaces `reached` (N,) where it does more damage."""
        return float(np.maximum(self.passed(others) - self.passed(reached), 0).mean())


def thorough(attacked: Attacked, id_scores: npt.NDArray[np.float64]) -> Mapping[str, float]:
    """What other attacks would have reached, on request since they cost much.

    Args:
        attacked: what is checked.
        id_scores: (M,), clean.

    Returns:
        unbounded: share of the images that pass the ID median when everything is allowed.
        unbounded_auroc: what is left of the AUROC then.
        radii: by how much the AUROC rises where it rises most from one radius to the next larger one.
        steps: how much more of the ID scores the images pass after 500 iterations than after 100, on average.
        square: share of the images on which random search without gradients, 5,000 queries, beats the attack.
        square_gain: by how much the AUROC would be lower with what that found.
    """
    ranks = Ranks(id_scores)
    top = float(np.quantile(id_scores, TOP, method="higher"))
    parts = list(Portions().each(len(attacked.before), lambda which: _climbs(attacked.part(which), top)))
    reached, free, short, long, blind = (torch.cat([part[name] for part in parts]) for name in CLIMBS)
    over_radii = {share: torch.cat([part[_at(share)] for part in parts]) for share in RADII} | {1.0: short}
    damage = [ranks.passed(over_radii[share]).mean() for share in sorted(over_radii)]
    return {
        "unbounded": float((free >= float(np.median(id_scores))).double().mean()),
        "unbounded_auroc": float(1 - ranks.passed(free).mean()),
        "radii": float(max(less - more for less, more in pairwise(damage))),
        "steps": float((ranks.passed(long) - ranks.passed(short)).mean()),
        "square": beaten(blind, reached, attacked.goal.enough),
        "square_gain": ranks.gain(blind, reached),
    }


CLIMBS = ("reached", "free", "short", "long", "blind")
"""The scores that `thorough` holds against each other: after the attack, and the highest of each climb but `RADII`."""


def _at(share: float) -> str:
    """What the climb at a share of the attack's radius is called."""
    return f"at {share:g}"


def _climbs(attacked: Attacked, top: float) -> Mapping[str, Tensor]:
    """Scores (N,) by name: after the attack ("reached"), and the highest that each climb finds.

    An unbounded climb may end at the score `top`.
    """
    goal, images, epsilon, ball = attacked.goal, attacked.before, attacked.epsilon, attacked.ball
    size = batch_size(images.device, images.shape[-1])

    def climbed(radius: float, iterations: int, enough: float = inf) -> Tensor:
        """The highest scores (N,) that two rules of ascent reach, each in so many iterations."""
        score = goal.climbed(f"check/{attacked.purpose}")
        both = [
            counted(rule(score, images, epsilon=radius, iterations=iterations, batch=size, enough=enough, ball=ball))
            for rule in (apgd, adam)
        ]
        return torch.maximum(*both)

    def counted(found: Ascent) -> Tensor:
        """The scores (N,) a climb reached; a random score's by draws that the climb did not see."""
        if goal.expected is None:
            return found.after
        with torch.no_grad():
            return torch.cat([goal.score(part) for part in torch.split(found.images, size)]).double()

    with torch.no_grad():
        reached = torch.cat([goal.score(part) for part in torch.split(attacked.after, size)])
    widest = ball.everything(images)
    by_chance = square(
        goal.climbed(f"square check/{attacked.purpose}"),
        images,
        epsilon=epsilon,
        queries=QUERIES,
        generators=generators_per_image(attacked.indices, "square check", attacked.purpose),
        ball=ball,
    )
    return {
        "reached": reached,
        "free": climbed(widest, SHORT, enough=top),
        "short": climbed(epsilon, SHORT),
        "long": climbed(epsilon, LONG),
        "blind": counted(by_chance),
        **{_at(share): climbed(min(share * epsilon, widest), SHORT) for share in RADII},
    }


def transferred(
    score: PerImage,
    attacked: npt.NDArray[np.uint8],
    donors: Iterable[npt.NDArray[np.uint8]],
    id_scores: npt.NDArray[np.float64],
    enough: float,
    device: torch.device,
) -> Mapping[str, float]:
    """Would what other detectors were attacked with have done more damage?

    Args:
        score: of the detector that they are tried on.
        attacked: uint8 (N, H, W, C), its own attacked images.
        donors: the same images as they were attacked for other detectors.
        id_scores: clean, of that detector.
        enough: a score from which on more changes next to nothing.
        device: where it runs.

    Returns:
        transfer: share of the images on which one of the donors scores higher.
        transfer_gain: by how much the AUROC would be lower with them.

        Neither is a number without donors.
    """
    portions = Portions()

    def some(pixels: Tensor, which: slice) -> Tensor:
        return score(as_input(pixels[which]))

    def scored(images: npt.NDArray[np.uint8]) -> Tensor:
        pixels = channels_first(images, device)
        with torch.no_grad():
            parts = torch.split(pixels, batch_size(device, pixels.shape[-1]))
            return torch.cat([found for part in parts for found in portions.each(len(part), partial(some, part))])

    best: Tensor | None = None
    for each in donors:
        found = scored(each)
        best = found if best is None else torch.maximum(best, found)
    if best is None:
        return {"transfer": nan, "transfer_gain": nan}
    reached = scored(attacked)
    return {"transfer": beaten(best, reached, enough), "transfer_gain": Ranks(id_scores).gain(best, reached)}
