"""Was it a fair attack? What a detector's gradient and score are worth, and what other attacks would have reached."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from oodbench.attacks.apgd import apgd
from oodbench.attacks.goal import Goal
from oodbench.attacks.guesses import guesses
from oodbench.attacks.reducer import Reducer
from oodbench.attacks.square import square
from oodbench.errors import NoGradientError
from oodbench.gradient import PerImage, value_and_gradient
from oodbench.networks.network import as_input, batch_size
from oodbench.passes import Passes
from oodbench.randomness import generators_per_image, torch_generator

LOOKS, DIRECTIONS = 64, 4
"""Images and directions a gradient is measured at."""

GUESSES = 8
"""Corners, as many points and as many lures that an attack is held against."""

STRIDE = 0.1 / 255
"""How far a difference quotient reaches to both sides, in pixel space."""

THOROUGH_IMAGES = 100

LONG, SHORT, QUERIES = 500, 100, 5000
"""Iterations that are compared, and queries of random search."""

THOROUGH = Passes(forward=LONG + 2 * SHORT + QUERIES, backward=LONG + 2 * SHORT)
"""About what `thorough` costs for each of its images."""


def gradient_error(score: PerImage, images: Tensor) -> float:
    """Median relative error of the gradient along random directions, against a central difference.

    A direction is the gradient's own sign in half of the pixels, drawn at random, and zero elsewhere: along it the
    score moves enough to be told from rounding. Not a number where there is no gradient, or where it is zero.

    Args:
        score: as it is attacked.
        images: (N, C, H, W) in [0, 1].
    """
    try:
        _, gradient = value_and_gradient(score, images)
    except NoGradientError:
        return float("nan")
    errors, generator = [], torch_generator("gradient check")
    for _ in range(DIRECTIONS):
        half = torch.rand(images.shape, generator=generator).to(images.device) < 0.5
        direction = gradient.sign() * half
        slope = (gradient * direction).flatten(1).sum(1).double()
        with torch.no_grad():
            rise = (score(images + STRIDE * direction) - score(images - STRIDE * direction)).double() / (2 * STRIDE)
        steep = slope > 0
        errors.append(((rise - slope).abs() / slope)[steep])
    together = torch.cat(errors)
    return float(together.median()) if len(together) else float("nan")


def unsteadiness(score: PerImage, images: Tensor) -> float:
    """Largest change of a score between two looks at the same images, the second in reverse order, over their
    interquartile range: 0 where nothing is random and no image depends on its neighbours.
    """
    with torch.no_grad():
        first, second = score(images).double(), score(images.flip(0)).double().flip(0)
    low, high = torch.quantile(first, first.new_tensor([0.25, 0.75]))
    return float((first - second).abs().max() / (high - low).clamp(min=1e-12))


def outguessed(
    goal: Goal,
    images: Tensor,
    attacked: Tensor,
    indices: npt.NDArray[np.int64],
    epsilon: int,
    purpose: str,
) -> float:
    """Share of the images on which a point that follows no gradient, or the image itself, beats the attack.

    Args:
        goal: of the detector.
        images: (N, C, H, W) in [0, 1], before the attack.
        attacked: the same after it.
        indices: (N,) of each in its set.
        epsilon: radius in 1/255.
        purpose: names seed and image set.
    """
    reducer = Reducer(goal.score, images, epsilon)
    for _, points in guesses(
        images, indices, epsilon=epsilon, count=GUESSES, lures=goal.lures, purpose=f"check/{purpose}"
    ):
        reducer.offer(points)
    with torch.no_grad():
        return float((reducer.best > goal.score(attacked)).double().mean())


def thorough(
    goal: Goal,
    images: Tensor,
    attacked: Tensor,
    indices: npt.NDArray[np.int64],
    epsilon: int,
    id_scores: npt.NDArray[np.float64],
    purpose: str,
) -> Mapping[str, float]:
    """What other attacks would have reached, on request since they cost much.

    Returns:
        unbounded: share of the images that pass the ID median when everything is allowed.
        steps: how much more of the ID scores the images pass after 500 iterations than after 100, on average.
        square: share of the images on which random search without gradients, 5,000 queries, beats the attack.

    Args:
        goal: of the detector.
        images: (N, C, H, W) in [0, 1], before the attack.
        attacked: the same after it.
        indices: (N,) of each in its set.
        epsilon: radius in 1/255.
        id_scores: clean.
        purpose: names seed and image set.
    """
    size, ranked = batch_size(images.device, images.shape[-1]), np.sort(id_scores)

    def passed(scores: Tensor) -> npt.NDArray[np.float64]:
        """Share of the ID scores that each score is above."""
        return np.searchsorted(ranked, scores.double().cpu().numpy()) / len(ranked)

    with torch.no_grad():
        reached = torch.cat([goal.score(part) for part in torch.split(attacked, size)])
    free = apgd(goal.score, images, epsilon=255, iterations=100, batch=size, enough=float(np.median(id_scores)))
    short, long = (apgd(goal.score, images, epsilon=epsilon, iterations=count, batch=size) for count in (SHORT, LONG))
    generators = generators_per_image(indices, "square check", purpose)
    blind = square(goal.score, images, epsilon=epsilon, queries=QUERIES, generators=generators)
    return {
        "unbounded": float((free.after >= float(np.median(id_scores))).double().mean()),
        "steps": float((passed(long.after) - passed(short.after)).mean()),
        "square": float((blind.after > reached).double().mean()),
    }


def transferred(
    score: PerImage, attacked: npt.NDArray[np.uint8], donors: Sequence[npt.NDArray[np.uint8]], device: torch.device
) -> float:
    """Share of the images on which what another detector was attacked with scores higher than the attack's own result.

    Args:
        score: of the detector that is judged.
        attacked: uint8 (N, H, W, C), its own attacked images.
        donors: the same images as they were attacked for other detectors.
        device: where it runs.

    Returns:
        Not a number without donors.
    """

    def scored(images: npt.NDArray[np.uint8]) -> Tensor:
        pixels = torch.from_numpy(images).to(device).permute(0, 3, 1, 2).contiguous()
        with torch.no_grad():
            parts = torch.split(pixels, batch_size(device, pixels.shape[-1]))
            return torch.cat([score(as_input(part)) for part in parts])

    if not donors:
        return float("nan")
    return float((torch.stack([scored(each) for each in donors]).amax(0) > scored(attacked)).double().mean())
