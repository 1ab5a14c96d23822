"""Images to scores, in batches, on a device: one forward pass serves every detector that shares a network."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from oodbench.attacks.checks import LOOKS, THOROUGH_IMAGES, gradient_error, outguessed, thorough, unsteadiness
from oodbench.attacks.goal import Goal
from oodbench.detector import Detector
from oodbench.errors import OodbenchError
from oodbench.images.imageset import ImageSet
from oodbench.images.photographs import Photographs
from oodbench.images.streaming import Streamed
from oodbench.networks.bounds import Bounder
from oodbench.networks.network import Network, Representation, as_input, batch_size
from oodbench.progress import Stopwatch, progress
from oodbench.tasks.task import Task
from oodbench.tasks.versions import Versions

VERSION = 3
"""Bumped when the same network and images would give other scores; part of every result's key."""


ROUNDING = 1e-5
"""Share by which float32 scores may exceed bounds computed in float64; bounds are raised by it."""

OFF_GRID = 1e-3
"""How far from a whole level a float image of the 8-bit grid may lie, in levels."""


@dataclass(frozen=True)
class Scored:
    """What one detector said of one image set.

    Attributes:
        scores: float64 (N,), higher = more in-distribution.
        predictions: int64 (N,), among the ID classes.
        extras: what the task left about each image, arrays (N,).
        seconds: the detector's own work, without a pass that it shares.
        checks: what was measured of the attack itself, by name.
        images: uint8 (N, H, W, C), as they were scored after an attack; empty where they were not to be kept.
        images_sha256: of all of them, kept or not; "" where nothing attacked.
        looks: images that the attack looked at, one gradient counting as one look.
    """

    scores: npt.NDArray[np.float64]
    predictions: npt.NDArray[np.int64]
    extras: Mapping[str, npt.NDArray[np.float64]] = field(default_factory=dict)
    seconds: float = 0.0
    checks: Mapping[str, float] = field(default_factory=dict)
    images: npt.NDArray[np.uint8] = field(default_factory=lambda: np.empty(0, np.uint8))
    images_sha256: str = ""
    looks: int = 0


def score_versions(
    detectors: Sequence[Detector], images: ImageSet, versions: Versions, purpose: str, device: torch.device
) -> list[Scored]:
    """For each of the fitted `detectors` over one network, the highest score of each image among its `versions`.

    A version is made once and goes through the network once for all detectors. Where there is more than the image
    itself, the extras say which version it was (`version`) and what the image itself scored (`clean_score`).

    Raises:
        OodbenchError: a detector gave something else than one finite number an image.
    """
    network, doing = detectors[0].network, "scoring" if len(versions) == 1 else "corrupting"
    best = [_Best() for _ in detectors]
    with progress(f"{doing} {images.name}", len(images) * len(versions)) as advance, exact(network), torch.no_grad():
        for pixels, indices in batches(images, device):
            for number, version in enumerate(versions.of(pixels, indices, purpose)):
                batch = as_input(version)
                representation = network.represent(batch)
                for detector, kept in zip(detectors, best, strict=True):
                    with kept.clock:
                        scores = _score(detector, batch, representation, images.name)
                        kept.offer(number, scores, detector.predict(representation).cpu())
                advance(len(batch))
    return [kept.scored(extras=len(versions) > 1) for kept in best]


class _Best:
    """The first highest score of each image, batch after batch."""

    def __init__(self) -> None:
        self.clock = Stopwatch()
        self._batches: list[dict[str, Tensor]] = []

    def offer(self, number: int, scores: Tensor, predictions: Tensor) -> None:
        """Scores and predictions (B,) of the version `number` of a batch; 0 begins the next batch."""
        if number == 0:
            none = torch.zeros(len(scores), dtype=torch.float64)
            self._batches.append({"score": scores, "prediction": predictions, "clean": scores.clone(), "version": none})
            return
        kept = self._batches[-1]
        better = scores > kept["score"]
        for name, values in (("score", scores), ("prediction", predictions)):
            kept[name][better] = values[better]
        kept["version"][better] = number

    def scored(self, extras: bool) -> Scored:
        """All batches, with `version` and `clean_score` if `extras` are wanted."""
        whole = {name: torch.cat([batch[name] for batch in self._batches]).numpy() for name in self._batches[0]}
        more = {"version": whole["version"], "clean_score": whole["clean"]} if extras else {}
        return Scored(whole["score"], whole["prediction"], more, self.clock.seconds)


@dataclass(frozen=True)
class Attack:
    """One task against one detector.

    Attributes:
        detector: fitted.
        task: what it does.
        goal: of the detector.
        purpose: names seed and image set.
        chosen: the number of each image's version to start from (N,); None for the images themselves.
        keep: the attacked images are wanted, and not only their scores.
    """

    detector: Detector
    task: Task
    goal: Goal
    purpose: str
    chosen: npt.NDArray[np.int64] | None = None
    keep: bool = False


def score_attacked(attack: Attack, images: ImageSet, device: torch.device) -> Scored:
    """Scores of `images` after an attack on them.

    Raises:
        OodbenchError: as `score_versions`.
    """
    detector, scores, predictions, extras, clock = attack.detector, [], [], [], Stopwatch()
    task, versions, kept, checks, looks = attack.task, attack.task.versions(), [], {}, 0
    content = sha256()
    with (
        progress(f"attacking {images.name}", len(images) * task.passes().forward, "passes") as advance,
        exact(detector.network),
        clock,
    ):
        done = 0

        def seen(count: int) -> None:
            nonlocal looks
            looks += count
            advance(count)

        size = batch_size(device, images.images.shape[1])
        for pixels, indices in batches(images, device, task.together * size):
            if attack.chosen is not None:
                numbers = attack.chosen[done : done + len(pixels)]
                pixels = versions.chosen(pixels, indices, numbers, attack.purpose)
            if not done:
                some = as_input(pixels[:LOOKS])
                checks = {
                    "gradient_error": gradient_error(attack.goal.score, some),
                    "unsteadiness": unsteadiness(attack.goal.score, some),
                }
            altered = task.alter(attack.goal.watched(seen), as_input(pixels), indices, attack.purpose)
            if not done:
                best = altered.images[:LOOKS]
                checks["outguessed"] = outguessed(
                    attack.goal, some, best, indices[:LOOKS], task.epsilon, attack.purpose
                )
            levels = altered.images * 255
            after = levels.round().to(torch.uint8)
            stored = after.permute(0, 2, 3, 1).contiguous().cpu().numpy()
            content.update(stored.tobytes())
            if attack.keep:
                kept.append(stored)
            moved = (after.int() - pixels.int()).abs().flatten(1).amax(1)
            off_grid = (levels - levels.round()).abs().flatten(1).amax(1) > OFF_GRID
            outside = ((moved > task.epsilon) | off_grid).double().cpu().numpy()
            for part in torch.split(altered.images, size):
                with torch.no_grad():
                    representation = detector.network.represent(part)
                    scores.append(_score(detector, part, representation, images.name))
                    predictions.append(detector.predict(representation).cpu())
                advance(len(part))
            extras.append({**altered.extras, "outside": outside})
            done += len(pixels)
    together = {name: np.concatenate([part[name] for part in extras]) for name in extras[0]}
    return Scored(
        torch.cat(scores).numpy(),
        torch.cat(predictions).numpy(),
        together,
        clock.seconds,
        checks,
        np.concatenate(kept) if kept else np.empty(0, np.uint8),
        content.hexdigest(),
        looks,
    )


def score_certified(detector: Detector, images: ImageSet, radius: int, device: torch.device) -> Scored:
    """Upper bounds of the scores over L-infinity balls of `radius`/255 around `images`, and predictions at the centers.

    Raises:
        OodbenchError: the network does something through which no bounds are known, or a bound is not finite.
    """
    bounder, scores, predictions, clock = Bounder(detector.network), [], [], Stopwatch()
    with progress(f"bounding {images.name}", len(images)) as advance, clock, torch.no_grad():
        for pixels, _ in batches(images, device):
            levels = pixels.double()
            low, high = (levels - radius).clamp(min=0) / 255, (levels + radius).clamp(max=255) / 255
            step = detector.widening()
            found = detector.upper_bound(bounder.bounds(low - step, high + step))
            scores.append(checked(detector, found + ROUNDING * (1 + found.abs()), len(pixels), images.name))
            predictions.append(detector.predict(detector.network.represent(as_input(pixels))).cpu())
            advance(len(pixels))
    return Scored(torch.cat(scores).numpy(), torch.cat(predictions).numpy(), seconds=clock.seconds)


def thorough_checks(
    attack: Attack, images: ImageSet, scored: Scored, id_scores: npt.NDArray[np.float64], device: torch.device
) -> Mapping[str, float]:
    """See `oodbench.attacks.checks.thorough`, for the first images of an attack that was done."""
    (pixels, indices), *_ = batches(images.first(THOROUGH_IMAGES), device, THOROUGH_IMAGES)
    if attack.chosen is not None:
        pixels = attack.task.versions().chosen(pixels, indices, attack.chosen[: len(pixels)], attack.purpose)
    after = torch.from_numpy(scored.images[: len(pixels)]).permute(0, 3, 1, 2).to(device)
    epsilon = attack.task.epsilon
    with exact(attack.detector.network):
        return thorough(attack.goal, as_input(pixels), as_input(after), indices, epsilon, id_scores, attack.purpose)


def batches(
    images: ImageSet, device: torch.device, size: int | None = None
) -> Iterator[tuple[Tensor, npt.NDArray[np.int64]]]:
    """Batches of `images` on the device, uint8 (B, C, H, W), with each image's index in its whole set."""
    size = size or batch_size(device, images.images.shape[1])
    starts = range(0, len(images), size)
    if isinstance(images.images, Photographs):
        rows = torch.split(torch.arange(len(images)), size)
        for start, pixels in zip(starts, Streamed(images.images, device).in_turn(rows), strict=True):
            yield pixels, images.indices[start : start + size]
        return
    for start in starts:
        pixels = torch.from_numpy(images.images[start : start + size]).to(device).permute(0, 3, 1, 2).contiguous()
        yield pixels, images.indices[start : start + size]


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
