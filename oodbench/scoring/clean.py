"""Scores images without an attack: one forward pass serves every detector that shares a network.

`oodbench.scoring.attacking` scores them after an attack.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from oodbench.basics.draws import Draws, DrawsPerImage
from oodbench.basics.errors import OodbenchError
from oodbench.basics.memory import Portions
from oodbench.basics.progress import Advance, Stopwatch, progress
from oodbench.detector import Detector, Published
from oodbench.images.imageset import ImageSet
from oodbench.images.tensors import channels_first
from oodbench.networks.headless import NoLogitsError
from oodbench.networks.network import Representation, as_input, batch_size
from oodbench.scoring.batches import ImageBatch, Purpose, batches, exact
from oodbench.scoring.scored import Scored, join_parts, require_scores
from oodbench.scoring.side_effects import forbid_writing
from oodbench.statistics.repeatability import change_between_looks, second_looks, spread_of
from oodbench.tasks.versions import Indices, Versions


def score_versions(
    detectors: Sequence[Detector], images: ImageSet, versions: Versions, purpose: Purpose, device: torch.device
) -> list[Scored]:
    """Score each image by the highest score among its `versions`, for each of the fitted `detectors` over one network.

    A version is made once and goes through the network once for all detectors. Where there is more than the image
    itself, the extras say which version it was (`version`) and what the image itself scored (`clean_score`). Some
    images are looked at twice, in other batches: the checks say by how much that changes a score (`unsteadiness`).

    Raises:
        OodbenchError: a detector gave something else than one finite number an image.
    """
    network, doing = detectors[0].network, "scoring" if len(versions) == 1 else "corrupting"
    parts: list[list[Scored]] = []
    portions = Portions()
    cost, count = 1 + sum(detector.own_passes().both for detector in detectors), len(images) * len(versions)
    with progress(f"{doing} {images.name}", count, passes=cost) as advance, exact(network), torch.no_grad():
        for pixels, indices in batches(images, device):
            batch = ImageBatch(pixels, indices, purpose, images.name)
            parts += portions.each(len(batch), partial(_highest_scores, detectors, versions, batch, advance))
        scored = [join_parts(of_detector) for of_detector in zip(*parts, strict=True)]

        def load(rows: Indices) -> ImageBatch:
            pixels = channels_first(images.pixels(rows), device)
            return ImageBatch(as_input(pixels), images.indices[rows], purpose, images.name)

        return _add_unsteadiness(detectors, scored, load, portions)


def score_floats(detector: Detector, images: ImageBatch, device: torch.device) -> Scored:
    """Score images as they are, float (N, C, H, W) in [0, 1] and not on the 8-bit grid, in batches on the device.

    Raises:
        OodbenchError: as `score_versions`.
    """
    parts: list[Scored] = []
    portions = Portions()
    size = batch_size(device, images.pixels.shape[-1])

    def load(rows: "slice | Indices") -> ImageBatch:
        return replace(images, pixels=images.pixels[rows].to(device), indices=images.indices[rows])

    with exact(detector.network), torch.no_grad():
        for start in range(0, len(images), size):
            batch = load(slice(start, start + size))
            parts += portions.each(len(batch), partial(_score_part, detector, batch))
        (scored,) = _add_unsteadiness([detector], [join_parts(parts)], load, portions)
        return scored


def predictions(detector: Detector, representation: Representation, count: int) -> Tensor:
    """The predicted ID classes of `count` images, int64 (N,); -1 for each where the network has no logits.

    Raises:
        OodbenchError: the detector does not predict one whole number an image.
    """
    try:
        predicted = detector.predict(representation)
    except NoLogitsError:
        return torch.full((count,), -1)
    integral = isinstance(predicted, Tensor) and not (predicted.is_floating_point() or predicted.is_complex())
    if not integral or predicted.shape != (count,):
        is_tensor = isinstance(predicted, Tensor)
        kind = f"{str(predicted.dtype).removeprefix('torch.')} {tuple(predicted.shape)}" if is_tensor else predicted
        raise OodbenchError(f"{detector.name!r} predicts {kind} for {count} images: expected whole numbers, ({count},)")
    return predicted.long()


def _score_part(detector: Detector, batch: ImageBatch, rows: slice) -> Scored:
    return score_batch(detector, batch.part(rows))


def score_batch(detector: Detector, batch: ImageBatch) -> Scored:
    """Scores, predictions and published scores of a batch of float images as they are; call it without gradients."""
    images, representation = _shared_pass([detector], batch.pixels)
    scores, published = _score_and_published(detector, images, representation, batch.image_set, score_draws(batch))
    extras = {"published": published.scores.double().numpy()} if published else {}
    return Scored(scores.numpy(), predictions(detector, representation, len(batch)).cpu().numpy(), extras)


def scores_together(detectors: Sequence[Detector], images: Tensor, draws: Draws, image_set: str) -> list[Tensor]:
    """Score float images (B, C, H, W) by each detector, in one pass through their network; (B,) each, on the CPU.

    Call it without gradients.

    Args:
        detectors: over one network.
        images: as they are.
        draws: of the images; what is random in a score comes from them.
        image_set: what the set is called in messages.
    """
    images, representation = _shared_pass(detectors, images)
    return [_score(detector, images, representation, image_set, draws) for detector in detectors]


def _add_unsteadiness(
    detectors: Sequence[Detector], scored: Sequence[Scored], load: Callable[[Indices], ImageBatch], portions: Portions
) -> list[Scored]:
    """Score some images once more, as they are and in other batches, and add to `scored` by how much scores changed.

    Args:
        detectors: over one network.
        scored: what each detector said of the set.
        load: gives the float images in some rows of the set, on the device.
        portions: in which the images are scored.
    """
    groups = second_looks(len(scored[0].scores))
    parts: list[list[Tensor]] = []
    for rows in groups:
        parts += portions.each(len(rows), partial(_scores_of_part, detectors, load(rows)))
    checked_twice = []
    for of_detector, again in zip(scored, zip(*parts, strict=True), strict=True):
        first = np.asarray(of_detector.extras.get("clean_score", of_detector.scores))
        change = change_between_looks(first[np.concatenate(groups)], torch.cat(again).numpy(), spread_of(first))
        checked_twice.append(replace(of_detector, checks={**of_detector.checks, "unsteadiness": change}))
    return checked_twice


def _scores_of_part(detectors: Sequence[Detector], batch: ImageBatch, rows: slice) -> list[Tensor]:
    """The scores of the float images in some rows of a batch, by each detector."""
    part = batch.part(rows)
    return scores_together(detectors, part.pixels, score_draws(part), part.image_set)


def _highest_scores(
    detectors: Sequence[Detector], versions: Versions, batch: ImageBatch, advance: Advance, rows: slice
) -> list[Scored]:
    """For each detector, the first highest score among the versions of the images in some rows of a uint8 batch."""
    part = batch.part(rows)
    kept, draws = [_Highest() for _ in detectors], score_draws(part)
    for version in versions.of(part.pixels, part.indices, str(part.purpose)):
        images, representation = _shared_pass(detectors, as_input(version))
        for detector, highest in zip(detectors, kept, strict=True):
            with highest.clock:
                scores, published = _score_and_published(detector, images, representation, part.image_set, draws)
                highest.offer(scores, predictions(detector, representation, len(images)).cpu(), published)
        advance(len(images))
    return [highest.scored() for highest in kept]


class _Highest:
    """The first highest score of each image of a batch."""

    def __init__(self) -> None:
        self.clock = Stopwatch()
        self._offers = 0

    def offer(self, scores: Tensor, predictions: Tensor, published: Published | None) -> None:
        """Take in the scores, predictions and published scores of the next version, (B,); the image itself is first."""
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
        """Keep the version that the paper's code would: the first of the highest by what it prints, ties included."""
        if published is None or not self._offers:
            self._published = published
        elif self._published is not None:
            better = published.search > self._published.search
            scores, search = (torch.where(better, *pair) for pair in zip(published, self._published, strict=True))
            self._published = Published(scores, search)

    def scored(self) -> Scored:
        """The result; `version` and `clean_score` are among the extras where there was more than the image itself."""
        extras = {"version": self._version.numpy(), "clean_score": self._clean.numpy()} if self._offers > 1 else {}
        if self._published is not None:
            extras |= {"published": self._published.scores.double().numpy()}
        return Scored(self._score.numpy(), self._prediction.numpy(), extras, self.clock.seconds)


def _shared_pass(detectors: Sequence[Detector], images: Tensor) -> tuple[Tensor, Representation]:
    """Float images (B, C, H, W) and their representation, with the graph between the two if a detector needs it."""
    needed = any(detector.needs_graph() for detector in detectors)
    images = images.detach().requires_grad_(needed)
    with torch.set_grad_enabled(needed):
        return images, detectors[0].network.represent(images)


def score_draws(batch: ImageBatch) -> Draws:
    """The draws of random scores of a batch, whatever was done to its pixels; they are the same for all detectors.

    They depend on the seed and on each image's index in its set, not on what the set is called: a pack of a set's
    attacked images gives the scores that were stored.
    """
    return DrawsPerImage(batch.indices, "score", str(batch.purpose.seed))


def _score_and_published(
    detector: Detector, images: Tensor, representation: Representation, image_set: str, draws: Draws
) -> tuple[Tensor, Published | None]:
    """Scores, and what a paper's code prints and searches by, on the CPU."""
    if detector.draws():
        return _score(detector, images, representation, image_set, draws), None
    with forbid_writing(detector.name, [images], representation):
        scores, published = detector.score_and_published(images, representation)
    published = published and Published(*(values.detach().cpu() for values in published))
    return require_scores(detector, scores, len(images), image_set), published


def _score(detector: Detector, images: Tensor, representation: Representation, image_set: str, draws: Draws) -> Tensor:
    with forbid_writing(detector.name, [images], representation):
        if detector.draws():
            scores = detector.score_drawn(images, draws)
        else:
            scores = detector.score_shared(images, representation)
    return require_scores(detector, scores, len(images), image_set)
