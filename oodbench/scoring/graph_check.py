"""Is a graph the score that it was made of? Both score images that it was not made with, and one must be the other.

A detector's file holds no image, so images are made up. What a made-up image scores may lie thousands of times further
from what ID images score than these lie apart, and a graph that is off by all of that would pass unseen. So some of the
images are moved uphill, to where the scores of ID images lie or as near as a few steps lead, and what is allowed is
measured by the spread of those scores wherever the detector knows some.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from oodbench.basics.errors import NoGradientError, OodbenchError
from oodbench.basics.gradient import value_and_gradient
from oodbench.basics.randomness import torch_generator
from oodbench.basics.words import printable
from oodbench.detector import Detector
from oodbench.statistics.repeatability import spread_of

AGREES = 1e-4
"""How far the graph's scores may lie from the detector's, as a share of how far apart scores lie, see `_scale`."""

ROUNDING = 2e-5
"""How much further, as a share of the score itself.

Both compute features in float32, in another order: a score of -10,000 is known to 0.01 and no better, however near to
each other those of ID images lie. Honest graphs of a small network differ by up to 5e-6 of a score where a covariance
that is nearly singular magnifies what rounding does (Mahalanobis), and by 1e-7 elsewhere.
"""

BATCHES = (1, 5, 12)
"""Numbers of images that a graph is tried on as they are drawn."""

CLIMBING = 6
"""Images that are moved uphill as well."""

STEPS = np.geomspace(8, 1, 40) / 255
"""By how much each step moves every pixel of theirs."""

REACHED = 0.95
"""Share of ID images that score as those do which an image is said to have reached."""

Floats = npt.NDArray[np.float64]

Run = Callable[[Tensor], Any]
"""Images, float32 (N, 3, H, W) in [0, 1], to scores (N,)."""


@dataclass(frozen=True)
class Agreement:
    """How near a graph comes to its detector.

    Attributes:
        share: the largest difference of a score, as a share of what is allowed of it; more than 1 is too much.
        off: that difference.
        score: of the detector, on the image where it is.
        scale: what a share of `AGREES` is allowed of, beside that of `ROUNDING` of each score.
        images: made-up ones that they were held against each other on.
        moved: of them, those that were moved uphill.
        reached: of all, those that would be kept where `REACHED` of ID images are; None where no such scores are known.
    """

    share: float
    off: float
    score: float
    scale: float
    images: int
    moved: int
    reached: int | None


def compared(detector: Detector, run: Run, side: tuple[int, int], calibration: Floats | None) -> Agreement:
    """Hold a graph against its detector.

    Args:
        detector: fitted, on a CPU, its network as scores need it.
        run: the graph.
        side: height and width of its images.
        calibration: scores (n,) of ID images, where there are some.

    Raises:
        OodbenchError: the graph does not run, or gives no score for each image.
    """
    tried = [drawn(count, side, "tried") for count in BATCHES]
    far = np.concatenate([floats(detector.score(images)) for images in tried])
    moved = uphill(detector, drawn(CLIMBING, side, "uphill"), np.inf if calibration is None else np.median(calibration))
    near = np.zeros(0) if moved is None else floats(detector.score(moved))
    given = [_run(detector.name, run, images) for images in (*tried, *([] if moved is None else [moved]))]
    scores = np.concatenate([far, near])
    off, scale = np.abs(scores - np.concatenate(given)), _scale(far, near, calibration)
    share = off / (AGREES * scale + ROUNDING * np.abs(scores))
    worst = int(share.argmax())  # one that is no number comes first
    reached = None if calibration is None else int((scores >= np.quantile(calibration, 1 - REACHED)).sum())
    return Agreement(
        float(share[worst]), float(off[worst]), float(scores[worst]), scale, len(scores), len(near), reached
    )


def drawn(count: int, side: tuple[int, int], purpose: str) -> Tensor:
    """Made-up images, float32 (count, 3, H, W) in [0, 1]: from flat ones to noise, bright and dark."""
    generator = torch_generator(f"export/{purpose}/{count}")
    noise = torch.rand((count, 3, *side), generator=generator)
    coarse = torch.rand((count, 3, 4, 4), generator=generator)
    smooth = nn.functional.interpolate(coarse, size=side, mode="bilinear", align_corners=False)
    share = torch.rand((count, 1, 1, 1), generator=generator)
    levels = (255 * (share * smooth + (1 - share) * noise)).round()
    return levels / 255


def uphill(detector: Detector, images: Tensor, enough: float) -> Tensor | None:
    """The images, moved up the gradient of their scores until these are `enough`; None where there is no gradient."""
    try:
        for step in STEPS:
            scores, slope = value_and_gradient(detector.score, images)
            low = (scores < enough).view(-1, 1, 1, 1)
            images = torch.where(low, (images + float(step) * slope.nan_to_num().sign()).clamp(0, 1), images)
    except (NoGradientError, RuntimeError):  # the latter is torch's own
        return None
    return images


def floats(scores: Any) -> Floats:
    """As they come from torch or from ONNX, in float64."""
    return np.asarray(scores.detach().cpu() if isinstance(scores, Tensor) else scores, np.float64)


def said(error: BaseException) -> str:
    """What is behind an error, in a line."""
    while error.__cause__ is not None:
        error = error.__cause__
    first = next(iter(str(error).splitlines()), "")
    return printable(f"{type(error).__name__}: {first[:200]}" if first else type(error).__name__)


def _run(name: str, run: Run, images: Tensor) -> Floats:
    try:
        scores = floats(run(images))
    except Exception as error:
        raise OodbenchError(
            f"the graph of {name} does not run on {len(images)} images ({said(error)}): use the detector itself"
        ) from error
    if scores.shape != (len(images),):
        raise OodbenchError(f"the graph of {name} gives {scores.shape} scores for {len(images)} images")
    return scores


def _scale(far: Floats, near: Floats, calibration: Floats | None) -> float:
    """How far apart scores lie: those of ID images where they are known, or of made-up ones where these lie closer.

    Without ID scores those of images that were moved uphill stand for them, which lie nearer to each other.
    """
    of_id = (spread_of(calibration),) if calibration is not None else (float(near.std()),) if len(near) else ()
    spreads = [float(far.std()), *of_id]
    return min((spread for spread in spreads if spread > 0), default=float(np.finfo(np.float64).tiny))
