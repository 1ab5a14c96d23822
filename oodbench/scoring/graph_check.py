"""Checks that a graph computes the score that it was made of, on images that it was not traced with.

A detector's file holds no images, so images are made up. The score of a made-up image may lie thousands of times
further from the scores of ID images than these lie apart, and a graph that is off by as much would pass unseen. So some
of the images are moved uphill, to where the scores of ID images lie or as near as a few steps lead, and the tolerance
is a share of the spread of ID scores wherever the detector knows some.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from oodbench.basics.arrays import Floats
from oodbench.basics.errors import NoGradientError, OodbenchError
from oodbench.basics.gradient import value_and_gradient
from oodbench.basics.randomness import torch_generator
from oodbench.basics.words import printable
from oodbench.detector import Detector
from oodbench.statistics.repeatability import spread_of

AGREES = 1e-4
"""How far the graph's scores may lie from the detector's, as a share of how far apart scores lie, see `_scale`."""

ROUNDING = 2e-5
"""The same beyond that, as a share of the score itself.

Both compute features in float32, in another order: a score of -10,000 is known to 0.01 and no better, however near to
each other those of ID images lie. Honest graphs of a small network differ by up to 5e-6 of a score where a covariance
that is nearly singular magnifies what rounding does (Mahalanobis), and by 1e-7 elsewhere.
"""

BATCHES = (1, 5, 12)
"""Sizes of the batches of made-up images on which a graph is tried."""

UPHILL_IMAGES = 6
"""Further images, which are moved uphill."""

STEPS = np.geomspace(8, 1, 40) / 255
"""Distance by which each step moves every pixel of these images."""

REACHED = 0.95
"""An image counts as reached where it scores as high as the threshold that keeps this share of ID images."""


Run = Callable[[Tensor], Any]
"""Images, float32 (N, 3, H, W) in [0, 1], to scores (N,)."""


@dataclass(frozen=True)
class Agreement:
    """The agreement of a graph with its detector.

    Attributes:
        share: the largest difference of a score, as a share of the tolerance; more than 1 is too much.
        off: that difference.
        score: of the detector, on the image with that difference.
        scale: of which a share of `AGREES` is tolerated, besides a share of `ROUNDING` of each score.
        images: number of made-up images on which both were compared.
        moved: number of those that were moved uphill.
        reached: number of those that would be kept where `REACHED` of ID images are; None where no ID scores are known.
    """

    share: float
    off: float
    score: float
    scale: float
    images: int
    moved: int
    reached: int | None


def compare_graph(detector: Detector, run: Run, side: tuple[int, int], calibration: Floats | None) -> Agreement:
    """Compare a graph with its detector.

    Args:
        detector: fitted, on a CPU, its network as scores need it.
        run: the graph.
        side: height and width of its images.
        calibration: scores (n,) of ID images, where there are some.

    Raises:
        OodbenchError: the graph does not run, or gives no score for each image.
    """
    batches = [made_up_images(count, side, "tried") for count in BATCHES]
    drawn_scores = np.concatenate([floats(detector.score(images)) for images in batches])
    moved = move_uphill(
        detector,
        made_up_images(UPHILL_IMAGES, side, "uphill"),
        np.inf if calibration is None else np.median(calibration),
    )
    moved_scores = np.zeros(0) if moved is None else floats(detector.score(moved))
    graph_scores = [_run(detector.name, run, images) for images in (*batches, *([] if moved is None else [moved]))]
    scores = np.concatenate([drawn_scores, moved_scores])
    off, scale = np.abs(scores - np.concatenate(graph_scores)), _scale(drawn_scores, moved_scores, calibration)
    share = off / (AGREES * scale + ROUNDING * np.abs(scores))
    worst = int(share.argmax())  # NaN comes first
    reached = None if calibration is None else int((scores >= np.quantile(calibration, 1 - REACHED)).sum())
    return Agreement(
        float(share[worst]), float(off[worst]), float(scores[worst]), scale, len(scores), len(moved_scores), reached
    )


def made_up_images(count: int, side: tuple[int, int], purpose: str) -> Tensor:
    """Make up images, float32 (count, 3, H, W) in [0, 1]: from flat ones to noise, bright and dark."""
    generator = torch_generator(f"export/{purpose}/{count}")
    noise = torch.rand((count, 3, *side), generator=generator)
    coarse = torch.rand((count, 3, 4, 4), generator=generator)
    smooth = nn.functional.interpolate(coarse, size=side, mode="bilinear", align_corners=False)
    share = torch.rand((count, 1, 1, 1), generator=generator)
    levels = (255 * (share * smooth + (1 - share) * noise)).round()
    return levels / 255


def move_uphill(detector: Detector, images: Tensor, enough: float) -> Tensor | None:
    """Move images up the gradient of their scores until these are `enough`; None where there is no gradient."""
    try:
        for step in STEPS:
            scores, slope = value_and_gradient(detector.score, images)
            low = (scores < enough).view(-1, 1, 1, 1)
            images = torch.where(low, (images + float(step) * slope.nan_to_num().sign()).clamp(0, 1), images)
    except (NoGradientError, RuntimeError):  # the latter is torch's own
        return None
    return images


def floats(scores: Any) -> Floats:
    """Scores from torch or from ONNX, in float64."""
    return np.asarray(scores.detach().cpu() if isinstance(scores, Tensor) else scores, np.float64)


def error_text(error: BaseException) -> str:
    """The first cause of an error, in one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    first = next(iter(str(error).splitlines()), "")
    return printable(f"{type(error).__name__}: {first[:200]}" if first else type(error).__name__)


def _run(name: str, run: Run, images: Tensor) -> Floats:
    """The scores (N,) of the graph of the detector `name`; OodbenchError where it gives none."""
    try:
        scores = floats(run(images))
    except Exception as error:
        raise OodbenchError(
            f"the graph of {name} does not run on {len(images)} images ({error_text(error)}): use the detector itself"
        ) from error
    if scores.shape != (len(images),):
        raise OodbenchError(f"the graph of {name} gives {scores.shape} scores for {len(images)} images")
    return scores


def _scale(drawn: Floats, moved: Floats, calibration: Floats | None) -> float:
    """The spread of scores: of ID images where these are known, or of made-up images where theirs is smaller.

    Images that were moved uphill stand for ID images of unknown scores; their scores lie nearer to each other.
    """
    of_id = (spread_of(calibration),) if calibration is not None else (float(moved.std()),) if len(moved) else ()
    spreads = [float(drawn.std()), *of_id]
    return min((spread for spread in spreads if spread > 0), default=float(np.finfo(np.float64).tiny))
