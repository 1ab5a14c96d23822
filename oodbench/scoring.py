"""Images to scores, in batches, on a device: one forward pass serves every detector that shares a network."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from oodbench.detector import Detector
from oodbench.errors import OodbenchError
from oodbench.images.imageset import ImageSet
from oodbench.networks.network import Network, Representation, as_input, batch_size
from oodbench.progress import Stopwatch, progress
from oodbench.tasks.task import Task

VERSION = 2
"""Bumped when the same network and images would give other scores; part of every result's key."""


@dataclass(frozen=True)
class Scored:
    """What one detector said of one image set.

    Attributes:
        scores: float64 (N,), higher = more in-distribution.
        predictions: int64 (N,), among the ID classes.
        extras: what the task left about each image, arrays (N,).
        seconds: the detector's own work, without a pass that it shares.
    """

    scores: npt.NDArray[np.float64]
    predictions: npt.NDArray[np.int64]
    extras: Mapping[str, npt.NDArray[np.float64]] = field(default_factory=dict)
    seconds: float = 0.0


def score_clean(detectors: Sequence[Detector], images: ImageSet, device: torch.device) -> list[Scored]:
    """Scores of `images` as they are, for fitted `detectors` over one network, in their order.

    Raises:
        OodbenchError: a detector gave something else than one finite number an image.
    """
    network = detectors[0].network
    scores: list[list[Tensor]] = [[] for _ in detectors]
    predictions: list[list[Tensor]] = [[] for _ in detectors]
    clocks = [Stopwatch() for _ in detectors]
    with progress(f"scoring {images.name}", len(images)) as advance, exact(network), torch.no_grad():
        for batch, _ in batches(images, device):
            representation = network.represent(batch)
            for position, detector in enumerate(detectors):
                with clocks[position]:
                    scores[position].append(_score(detector, batch, representation, images.name))
                    predictions[position].append(detector.predict(representation).cpu())
            advance(len(batch))
    return [
        Scored(torch.cat(score).numpy(), torch.cat(prediction).numpy(), seconds=clock.seconds)
        for score, prediction, clock in zip(scores, predictions, clocks, strict=True)
    ]


def score_altered(detector: Detector, images: ImageSet, task: Task, purpose: str, device: torch.device) -> Scored:
    """Scores of `images` after `task` has altered them against `detector`.

    Raises:
        OodbenchError: as `score_clean`.
    """
    scores, predictions, extras, clock = [], [], [], Stopwatch()
    with progress(f"attacking {images.name}", len(images)) as advance, exact(detector.network), clock:
        for batch, indices in batches(images, device):
            altered = task.alter(detector, batch, indices, purpose)
            with torch.no_grad():
                representation = detector.network.represent(altered.images)
                scores.append(_score(detector, altered.images, representation, images.name))
                predictions.append(detector.predict(representation).cpu())
            extras.append(altered.extras)
            advance(len(batch))
    together = {name: np.concatenate([part[name] for part in extras]) for name in extras[0]}
    return Scored(torch.cat(scores).numpy(), torch.cat(predictions).numpy(), together, clock.seconds)


def batches(images: ImageSet, device: torch.device) -> Iterator[tuple[Tensor, npt.NDArray[np.int64]]]:
    """Batches of `images` on the device, float (B, C, H, W) in [0, 1], with each image's index in the set."""
    size = batch_size(device)
    for start in range(0, len(images), size):
        pixels = torch.from_numpy(images.images[start : start + size]).to(device).permute(0, 3, 1, 2).contiguous()
        yield as_input(pixels), np.arange(start, start + len(pixels))


def _score(detector: Detector, batch: Tensor, representation: Representation, where: str) -> Tensor:
    shares_the_pass = type(detector).score is Detector.score
    scores = detector.score_representation(representation) if shares_the_pass else detector.score(batch)
    return checked(detector, scores, len(batch), where)


def checked(detector: Detector, scores: Tensor, count: int, where: str) -> Tensor:
    """`scores` as float64 (count,) on the CPU; OodbenchError with the detector's name if they are anything else."""
    if scores.shape != (count,):
        raise OodbenchError(
            f"detector {detector.name!r} gave scores of shape {tuple(scores.shape)} for {count} images of {where!r}: "
            "its score() must return one number an image"
        )
    broken = int((~torch.isfinite(scores)).sum())
    if broken:
        raise OodbenchError(
            f"detector {detector.name!r} gave NaN or infinity for {broken} of {count} images of {where!r}: "
            "mend its score(); nothing was stored"
        )
    return scores.detach().double().cpu()


def refuse_constant(detector: Detector, scores: npt.NDArray[np.float64], where: str) -> None:
    """OodbenchError if `scores` are all one value: nothing can be told apart by them."""
    if len(scores) > 1 and (scores == scores[0]).all():
        raise OodbenchError(
            f"detector {detector.name!r} gave the same score {scores[0]:g} to all {len(scores)} images of {where!r}: "
            "mend its score(); nothing was stored"
        )


@contextmanager
def exact(network: Network) -> Iterator[None]:
    """Full float32 on the device and weights without gradients inside: how attacks and final scores are computed."""
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    cudnn, matmul = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = cudnn, matmul
