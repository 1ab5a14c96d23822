"""Images to scores, in batches, on a device: one forward pass serves every detector that shares a network.

What attacks do is in `oodbench.scoring.attacking`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import sha256

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from oodbench.basics.errors import OodbenchError
from oodbench.basics.memory import Portions
from oodbench.basics.progress import Advance, Stopwatch, progress
from oodbench.basics.sourcetext import METHODS
from oodbench.detector import Detector, Published
from oodbench.images.imageset import ImageSet
from oodbench.images.photographs import Photographs
from oodbench.images.streaming import Streamed
from oodbench.networks.bounds import Bounder
from oodbench.networks.compute import repeatable
from oodbench.networks.network import Network, Representation, as_input, batch_size
from oodbench.statistics.repeatability import change_between_looks, second_looks, spread_of
from oodbench.tasks.versions import Indices, Versions

VERSION = 7
"""Bumped when the same network and images would give other scores; part of every result's key."""


ROUNDING = 1e-5
"""Share by which float32 scores may exceed bounds computed in float64; bounds are raised by it."""


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
        digests: SHA-256 of each of them, kept or not, uint8 (N, 32); empty where nothing attacked.
        looks: images that the attack looked at, one gradient counting as one look.
    """

    scores: npt.NDArray[np.float64]
    predictions: npt.NDArray[np.int64]
    extras: Mapping[str, npt.NDArray[np.float64]] = field(default_factory=dict)
    seconds: float = 0.0
    checks: Mapping[str, float] = field(default_factory=dict)
    images: npt.NDArray[np.uint8] = field(default_factory=lambda: np.empty(0, np.uint8))
    digests: npt.NDArray[np.uint8] = field(default_factory=lambda: np.empty(0, np.uint8))
    looks: int = 0

    @property
    def images_sha256(self) -> str:
        """As `oodbench.images.imageset.images_digest` gives it for the attacked images; "" where nothing attacked."""
        return sha256(self.digests.tobytes()).hexdigest() if self.digests.size else ""


def joined(parts: Sequence[Scored]) -> Scored:
    """What was said of a whole set, from what was said of its parts, in their order; checks are the first part's."""
    return Scored(
        scores=np.concatenate([part.scores for part in parts]),
        predictions=np.concatenate([part.predictions for part in parts]),
        extras={name: np.concatenate([part.extras[name] for part in parts]) for name in parts[0].extras},
        seconds=sum(part.seconds for part in parts),
        checks=parts[0].checks,
        images=np.concatenate([part.images for part in parts]),
        digests=np.concatenate([part.digests for part in parts]),
        looks=sum(part.looks for part in parts),
    )


def score_versions(
    detectors: Sequence[Detector], images: ImageSet, versions: Versions, purpose: str, device: torch.device
) -> list[Scored]:
    """For each of the fitted `detectors` over one network, the highest score of each image among its `versions`.

    A version is made once and goes through the network once for all detectors. Where there is more than the image
    itself, the extras say which version it was (`version`) and what the image itself scored (`clean_score`). Some
    images are looked at twice, in other batches: the checks say by how much that changes a score (`unsteadiness`).

    Raises:
        OodbenchError: a detector gave something else than one finite number an image.
    """
    network, doing = detectors[0].network, "scoring" if len(versions) == 1 else "corrupting"
    parts: list[list[Scored]] = []
    portions = Portions()
    with progress(f"{doing} {images.name}", len(images) * len(versions)) as advance, exact(network), torch.no_grad():
        for pixels, indices in batches(images, device):
            work = partial(_best, detectors, versions, pixels, indices, purpose, images.name, advance)
            parts += portions.each(len(pixels), work)
        scored = [joined(of_one) for of_one in zip(*parts, strict=True)]

        def again(rows: Indices) -> Tensor:
            return as_input(torch.from_numpy(images.pixels(rows)).to(device).permute(0, 3, 1, 2).contiguous())

        return _looked_at_again(detectors, again, scored, portions, images.name)


def score_floats(detector: Detector, images: Tensor, where: str, device: torch.device) -> Scored:
    """Scores of images as they are, float (N, C, H, W) in [0, 1], of a set called `where`: not on the 8-bit grid.

    Raises:
        OodbenchError: as `score_versions`.
    """
    parts: list[Scored] = []
    portions = Portions()
    with exact(detector.network), torch.no_grad():
        for batch in torch.split(images, batch_size(device, images.shape[-1])):
            parts += portions.each(len(batch), partial(_portion, detector, batch.to(device), where))
        (scored,) = _looked_at_again([detector], lambda rows: images[rows].to(device), [joined(parts)], portions, where)
        return scored


def _portion(detector: Detector, images: Tensor, where: str, which: slice) -> Scored:
    return as_they_are(detector, images[which], where)


def as_they_are(detector: Detector, images: Tensor, where: str) -> Scored:
    """Scores, predictions and what is published of float images (B, C, H, W); call it without gradients."""
    batch, representation = _shared_pass([detector], images)
    scores, published = _score_and_published(detector, batch, representation, where)
    more = {"published": published.scores.double().numpy()} if published else {}
    return Scored(scores.numpy(), detector.predict(representation).cpu().numpy(), more)


def _looked_at_again(
    detectors: Sequence[Detector],
    images: Callable[[Indices], Tensor],
    scored: Sequence[Scored],
    portions: Portions,
    where: str,
) -> list[Scored]:
    """`scored` with what a second look at some images, as they are and in other batches, changed of their scores.

    Args:
        detectors: over one network.
        images: gives those at some positions of the set, float (B, C, H, W) on the device.
        scored: what each detector said of the set.
        portions: to look at them in.
        where: what the set is called.
    """
    groups = second_looks(len(scored[0].scores))
    seconds: list[list[Tensor]] = []
    for rows in groups:
        seconds += portions.each(len(rows), partial(_second, detectors, images(rows), where))
    looked = []
    for one, second in zip(scored, zip(*seconds, strict=True), strict=True):
        first = np.asarray(one.extras.get("clean_score", one.scores))
        change = change_between_looks(first[np.concatenate(groups)], torch.cat(second).numpy(), spread_of(first))
        looked.append(replace(one, checks={**one.checks, "unsteadiness": change}))
    return looked


def _second(detectors: Sequence[Detector], images: Tensor, where: str, which: slice) -> list[Tensor]:
    """Scores of some of `images`, float (B, C, H, W), of each detector."""
    batch, representation = _shared_pass(detectors, images[which])
    return [_score(detector, batch, representation, where) for detector in detectors]


def _best(
    detectors: Sequence[Detector],
    versions: Versions,
    pixels: Tensor,
    indices: Indices,
    purpose: str,
    where: str,
    advance: Advance,
    which: slice,
) -> list[Scored]:
    """For each detector, the first highest score among the versions of some of `pixels`, uint8 (B, C, H, W)."""
    kept = [_Best() for _ in detectors]
    for version in versions.of(pixels[which], indices[which], purpose):
        batch, representation = _shared_pass(detectors, as_input(version))
        for detector, best in zip(detectors, kept, strict=True):
            with best.clock:
                scores, published = _score_and_published(detector, batch, representation, where)
                best.offer(scores, detector.predict(representation).cpu(), published)
        advance(len(batch))
    return [best.scored() for best in kept]


class _Best:
    """The first highest score of each image of a batch."""

    def __init__(self) -> None:
        self.clock = Stopwatch()
        self._offers = 0

    def offer(self, scores: Tensor, predictions: Tensor, published: Published | None) -> None:
        """Scores, predictions and what is published of the next version, (B,); the image itself comes first."""
        self._offer_published(published)
        if not self._offers:
            self._score, self._prediction, self._clean = scores, predictions, scores.clone()
            self._version = torch.zeros(len(scores), dtype=torch.float64)
        else:
            better = scores > self._score
            self._score[better], self._prediction[better] = scores[better], predictions[better]
            self._version[better] = self._offers
        self._offers += 1

    def _offer_published(self, published: Published | None) -> None:
        """A paper's code searches by what it prints, ties included, and takes the first of the highest."""
        if published is None or not self._offers:
            self._published = published
        elif self._published is not None:
            better = published.search > self._published.search
            scores, search = (torch.where(better, *pair) for pair in zip(published, self._published, strict=True))
            self._published = Published(scores, search)

    def scored(self) -> Scored:
        """With `version` and `clean_score` among the extras where there was more than the image itself."""
        more = {"version": self._version.numpy(), "clean_score": self._clean.numpy()} if self._offers > 1 else {}
        if self._published is not None:
            more |= {"published": self._published.scores.double().numpy()}
        return Scored(self._score.numpy(), self._prediction.numpy(), more, self.clock.seconds)


def score_certified(detector: Detector, images: ImageSet, radius: int, device: torch.device) -> Scored:
    """Upper bounds of the scores over L-infinity balls of `radius`/255 around `images`, and predictions at the centers.

    Raises:
        OodbenchError: the network does something through which no bounds are known, or a bound is not finite.
    """
    bounder, portions = Bounder(detector.network), Portions()
    parts: list[Scored] = []
    with progress(f"bounding {images.name}", len(images)) as advance, torch.no_grad():
        for pixels, _ in batches(images, device):
            work = partial(_certified, detector, bounder, pixels, radius, images.name)
            parts += portions.each(len(pixels), work)
            advance(len(pixels))
    return joined(parts)


def _certified(detector: Detector, bounder: Bounder, pixels: Tensor, radius: int, where: str, which: slice) -> Scored:
    """Bounds for some of `pixels`, uint8 (B, C, H, W)."""
    clock, levels = Stopwatch(), pixels[which].double()
    with clock:
        low, high = (levels - radius).clamp(min=0) / 255, (levels + radius).clamp(max=255) / 255
        step = detector.widening()
        found = detector.upper_bound(bounder.bounds(low - step, high + step))
        bounds = checked(detector, found + ROUNDING * (1 + found.abs()), len(levels), where)
        predictions = detector.predict(detector.network.represent(as_input(pixels[which]))).cpu()
    return Scored(bounds.numpy(), predictions.numpy(), seconds=clock.seconds)


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


def _shared_pass(detectors: Sequence[Detector], images: Tensor) -> tuple[Tensor, Representation]:
    """Images, float (B, C, H, W), and what the network makes of them, with the graph between if a detector needs it."""
    needed = any(detector.needs_graph() for detector in detectors)
    images = images.detach().requires_grad_(needed)
    with torch.set_grad_enabled(needed):
        return images, detectors[0].network.represent(images)


def _score_and_published(
    detector: Detector, batch: Tensor, representation: Representation, where: str
) -> tuple[Tensor, Published | None]:
    """Scores, and what a paper's code prints and searches by, on the CPU."""
    scores, published = detector.score_and_published(batch, representation)
    kept = published and Published(*(each.detach().cpu() for each in published))
    return checked(detector, scores, len(batch), where), kept


def _score(detector: Detector, batch: Tensor, representation: Representation, where: str) -> Tensor:
    return checked(detector, detector.score_shared(batch, representation), len(batch), where)


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
            f"{_advice(detector)}; nothing was stored"
        )
    return scores.detach().double().cpu()


def refuse_constant(detector: Detector, scores: npt.NDArray[np.float64], where: str) -> None:
    """OodbenchError if `scores` are all one value: nothing can be told apart by them."""
    if len(scores) > 1 and (scores == scores[0]).all():
        raise OodbenchError(
            f"detector {detector.name!r} gave the same score {scores[0]:g} to all {len(scores)} images of {where!r}: "
            f"{_advice(detector)}; nothing was stored"
        )


def _advice(detector: Detector) -> str:
    """What to do about scores that are none: one's own code can be mended, a method that ships is asked otherwise."""
    if not type(detector).__module__.startswith(f"{METHODS}."):
        return "mend its score()"
    parameters = ", ".join(f"{name}={value}" for name, value in vars(detector.parameters).items())
    return (
        "the network's logits or features are beyond what it can take"
        + (f" with {parameters}: try other values with --set" if parameters else "")
        + ", or its weights or normalisation are not those that it was trained with"
    )


@contextmanager
def exact(network: Network) -> Iterator[None]:
    """How attacks and final scores are computed: no gradients of weights, and float32 unless the network says TF32."""
    learning = [parameter for parameter in network.parameters() if parameter.requires_grad]
    for parameter in learning:
        parameter.requires_grad_(False)
    cudnn, matmul = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = network.tf32
    try:
        with repeatable():
            yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = cudnn, matmul
        for parameter in learning:
            parameter.requires_grad_(True)
