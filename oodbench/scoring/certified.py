"""Bounds scores from above over balls, in place of attacks."""

from functools import partial

import torch
from torch import Tensor

from oodbench.basics.memory import Portions
from oodbench.basics.passes import Passes
from oodbench.basics.progress import Stopwatch, progress
from oodbench.detector import Detector
from oodbench.images.imageset import ImageSet
from oodbench.networks.bounds import Bounder
from oodbench.networks.linear_bounds import LinearBounder
from oodbench.networks.network import as_input
from oodbench.scoring.batches import batches
from oodbench.scoring.scored import Scored, join_parts, require_scores
from oodbench.tasks import Certified

ROUNDING = 1e-5
"""Share by which float32 scores may exceed bounds computed in float64; bounds are raised by it."""

BOUND_PASSES = 5
"""The approximate cost of bounding an image, in passes: two in double precision, and the image's own."""


def score_certified(detector: Detector, images: ImageSet, task: Certified, device: torch.device) -> Scored:
    """Bound the scores over L-infinity balls around `images` from above, and predict the classes of the centers.

    Raises:
        OodbenchError: the network has an operation through which no bounds are known, or a bound is not finite.
    """
    bounder = (LinearBounder if task.bounds == "linear" else Bounder)(detector.network)
    portions = Portions()
    parts: list[Scored] = []
    with (
        progress(f"bounding {images.name}", len(images), passes=bounding_passes(task, detector).both) as advance,
        torch.no_grad(),
    ):
        for pixels, _ in batches(images, device):
            work = partial(_bound_part, detector, bounder, pixels, task.epsilon, images.name)
            parts += portions.each(len(pixels), work)
            advance(len(pixels))
    return join_parts(parts)


def bounding_passes(task: Certified, detector: Detector, outputs: int = 0) -> Passes:
    """The approximate cost of bounding an image; `outputs` are the network's, where the detector is not fitted yet."""
    count = outputs or detector.classes + detector.objective().reject_outputs
    return Passes(BOUND_PASSES, count**2 if task.bounds == "linear" else 0)


def _bound_part(
    detector: Detector, bounder: Bounder, pixels: Tensor, radius: int, image_set: str, rows: slice
) -> Scored:
    """Bound the scores of some rows of `pixels`, uint8 (B, C, H, W)."""
    clock, levels = Stopwatch(), pixels[rows].double()
    with clock:
        low, high = (levels - radius).clamp(min=0) / 255, (levels + radius).clamp(max=255) / 255
        step = detector.widening()
        upper = detector.upper_bound(bounder.bounds(low - step, high + step))
        bounds = require_scores(detector, upper + ROUNDING * (1 + upper.abs()), len(levels), image_set)
        predictions = detector.predict(detector.network.represent(as_input(pixels[rows]))).cpu()
    return Scored(bounds.numpy(), predictions.numpy(), seconds=clock.seconds)
