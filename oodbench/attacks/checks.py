"""Checks an attack: whether gradient and score can be relied on, and whether guesses beat it."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from math import nan

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from oodbench.attacks.attack_goal import Goal
from oodbench.attacks.balls import Ball, LinfBall
from oodbench.attacks.reducer import Reducer
from oodbench.attacks.starting_points import candidate_points
from oodbench.basics.arrays import Floats
from oodbench.basics.errors import NoGradientError
from oodbench.basics.gradient import PerImage, value_and_gradient
from oodbench.basics.memory import Portions
from oodbench.basics.randomness import torch_generator

CHECKED_IMAGES = 64
"""Images of a set on which every attack is checked."""

DIRECTIONS = 4
"""Random directions along which the gradient at an image is checked."""

GUESSES = 8
"""Corners, as many inner points and as many lures that an attack must not lose against."""

STRIDE = 0.1 / 255
"""Reach to both sides of a difference quotient along the gradient, in pixel space."""

LONG_STRIDE = 0.5 / 255
"""The same along random signs, which change a score far less."""


def gradient_error(score: PerImage, images: Tensor) -> float:
    """The median of `gradient_errors`; not a number where there are none."""
    return _median(gradient_errors(score, images))


def gradient_missing(score: PerImage, images: Tensor) -> float:
    """The median of `missing_shares`; not a number where there are none."""
    return _median(missing_shares(score, images))


def gradient_errors(score: PerImage, images: Tensor) -> Tensor:
    """The relative errors (K,) of the gradient along random directions, against a central difference.

    A direction is the gradient's own sign in half of the pixels, drawn at random, and zero elsewhere: along it the
    score moves enough to be told from rounding. There are none where there is no gradient, or where it is zero.

    Args:
        score: as it is attacked.
        images: (N, C, H, W) in [0, 1].
    """
    errors = [torch.zeros(0, dtype=torch.float64, device=images.device)]
    for half, gradient, rise_along in _directions(score, images, STRIDE):
        direction = gradient.sign() * (half < 0.5)
        slope, rise = _slope_along(direction, gradient), rise_along(direction)
        errors.append(((rise - slope).abs() / slope)[slope > 0])
    return torch.cat(errors)


def missing_shares(score: PerImage, images: Tensor) -> Tensor:
    """The shares (K,) of a score's change along random signs that its gradient does not predict.

    A gradient that reaches the images through some of their values alone is right along itself, and `gradient_errors`
    sees nothing wrong. Along signs that are drawn for every value, it predicts too little. There are none where there
    is no gradient, or where the score does not change.

    Args:
        score: as it is attacked.
        images: (N, C, H, W) in [0, 1].
    """
    shares = [torch.zeros(0, dtype=torch.float64, device=images.device)]
    for drawn, gradient, rise_along in _directions(score, images, LONG_STRIDE):
        direction = (drawn - 0.5).sign()
        slope, rise = _slope_along(direction, gradient), rise_along(direction)
        shares.append(((rise - slope).abs() / rise.abs())[rise != 0])
    return torch.cat(shares)


def _directions(
    score: PerImage, images: Tensor, stride: float
) -> Iterator[tuple[Tensor, Tensor, Callable[[Tensor], Tensor]]]:
    """Yield `DIRECTIONS` times uniform numbers in [0, 1), (N, C, H, W), the gradient, and a function for slopes.

    The function gives the slope (N,) of a difference over `stride` to both sides along a direction. Nothing is yielded
    where there is no gradient.
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


def _slope_along(direction: Tensor, gradient: Tensor) -> Tensor:
    """The slope (N,), float64, that a gradient predicts along a direction (N, C, H, W)."""
    return (gradient * direction).flatten(1).sum(1).double()


def _median(values: Tensor) -> float:
    return float(values.median()) if len(values) else nan


def unsteadiness(score: PerImage, images: Tensor) -> float:
    """The largest change of a score when images are scored again in reverse order, over its interquartile range.

    0 where nothing is random and no image depends on its neighbours.
    """
    return _unsteadiness(*_two_looks(score, images))


def _two_looks(score: PerImage, images: Tensor) -> tuple[Tensor, Tensor]:
    """The scores (N,) of images, and again in reverse order."""
    with torch.no_grad():
        return score(images).double(), score(images.flip(0)).double().flip(0)


def _unsteadiness(first: Tensor, second: Tensor) -> float:
    low, high = torch.quantile(first, first.new_tensor([0.25, 0.75]))
    return float((first - second).abs().max() / (high - low).clamp(min=1e-12))


@dataclass(frozen=True)
class Attacked:
    """Images before and after an attack that is checked, its goal and its ball.

    Attributes:
        goal: of the detector.
        before: (N, C, H, W) in [0, 1].
        after: the same, attacked.
        indices: (N,) of each in its set.
        epsilon: radius in 1/255.
        purpose: text that names seed and image set.
        ball: of the norm.
    """

    goal: Goal
    before: Tensor
    after: Tensor
    indices: npt.NDArray[np.int64]
    epsilon: int
    purpose: str
    ball: type[Ball] = LinfBall

    def part(self, rows: slice) -> "Attacked":
        """The images in these rows."""
        return replace(self, before=self.before[rows], after=self.after[rows], indices=self.indices[rows])


Seen = Mapping[str, Floats]
"""What a check saw of some images, by name, arrays (K,); empty where it looked at none."""


def look_at(attacked: Attacked, portions: Portions) -> Seen:
    """Look at whether an attack can be relied on: its gradient, its score, and guesses that it must not lose to.

    Args:
        attacked: some images of a set, from all parts of it, since sets are often sorted.
        portions: splits them where they do not fit into memory at once.
    """

    def look(rows: slice) -> Mapping[str, Tensor]:
        part, score = attacked.part(rows), attacked.goal.score
        first, second = _two_looks(score, part.before)
        return {
            "gradient_errors": gradient_errors(score, part.before),
            "missing_shares": missing_shares(score, part.before),
            "first_look": first,
            "second_look": second,
            "outguessed": outguessed(part).double(),
        }

    parts = list(portions.each(len(attacked.before), look))
    return {name: torch.cat([part[name] for part in parts]).cpu().numpy() for name in parts[0]} if parts else {}


def conclude(seen: Seen) -> Mapping[str, float]:
    """Say of what `look_at` saw whether the attack can be relied on; nothing where it looked at no image.

    Returns:
        gradient_error, gradient_missing, unsteadiness: see the functions of these names.
        outguessed: share of the images on which a guess beats the attack, see `outguessed`.
    """
    if not seen:
        return {}
    values = {name: torch.from_numpy(array) for name, array in seen.items()}
    return {
        "gradient_error": _median(values["gradient_errors"]),
        "gradient_missing": _median(values["missing_shares"]),
        "unsteadiness": _unsteadiness(values["first_look"], values["second_look"]),
        "outguessed": float(values["outguessed"].mean()),
    }


def outguessed(attacked: Attacked) -> Tensor:
    """True, (N,), where a point found without a gradient, or the image itself, beats the attack.

    An image that has got far enough is not beaten.
    """
    goal, images, purpose = attacked.goal, attacked.before, f"check/{attacked.purpose}"
    reducer = Reducer(goal.score, images, attacked.epsilon, attacked.ball)
    around = attacked.ball(images, attacked.epsilon)
    for _, points in candidate_points(
        images, attacked.indices, around=around, count=GUESSES, lures=goal.lures, purpose=purpose
    ):
        reducer.offer(points)
    with torch.no_grad():
        return is_beaten(reducer.best, goal.score(attacked.after), goal.enough)


def is_beaten(others: Tensor, reached: Tensor, enough: float) -> Tensor:
    """True, (N,), where the score `others` (N,) is above the score `reached` (N,).

    From `enough` on a score does no more damage: an attack that stops there has not lost.
    """
    return (others > reached) & (reached < enough)
