"""Images to scores, without an attack: one forward pass serves every detector that shares a network.

What attacks do is in `oodbench.scoring.attacking`.
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
from oodbench.scoring.batches import batches, exact
from oodbench.scoring.scored import Scored, checked, joined
from oodbench.scoring.side_effects import unwritten
from oodbench.statistics.repeatability import change_between_looks, second_looks, spread_of
from oodbench.tasks.versions import Indices, Versions


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
    cost, count = 1 + sum(detector.own_passes().both for detector in detectors), len(images) * len(versions)
    with progress(f"{doing} {images.name}", count, passes=cost) as advance, exact(network), torch.no_grad():
        for pixels, indices in batches(images, device):
            work = partial(_best, detectors, versions, pixels, indices, purpose, images.name, advance)
            parts += portions.each(len(pixels), work)
        scored = [joined(of_one) for of_one in zip(*parts, strict=True)]

        def again(rows: Indices) -> Tensor:
            return as_input(channels_first(images.pixels(rows), device))

        return _looked_at_again(detectors, again, images.indices, purpose, scored, portions, images.name)


def score_floats(
    detector: Detector, images: Tensor, indices: Indices, where: str, purpose: str, device: torch.device
) -> Scored:
    """Scores of images as they are, float (N, C, H, W) in [0, 1], of a set called `where`: not on the 8-bit grid.

    What is random in a score is drawn by `purpose`, which names seed and set, and by an image's number in `indices`.

    Raises:
        OodbenchError: as `score_versions`.
    """
    parts: list[Scored] = []
    portions = Portions()
    size = batch_size(device, images.shape[-1])
    with exact(detector.network), torch.no_grad():
        for start in range(0, len(images), size):
            batch, some = images[start : start + size].to(device), indices[start : start + size]
            parts += portions.each(len(batch), partial(_portion, detector, batch, some, purpose, where))
        (scored,) = _looked_at_again(
            [detector], lambda rows: images[rows].to(device), indices, purpose, [joined(parts)], portions, where
        )
        return scored


def predictions(detector: Detector, representation: Representation, count: int) -> Tensor:
    """Predicted ID classes of `count` images, int64 (N,); -1 for each where the network has no logits to tell.

    Raises:
        OodbenchError: the detector gives something that is no class an image.
    """
    try:
        found = detector.predict(representation)
    except NoLogitsError:
        return torch.full((count,), -1)
    whole = isinstance(found, Tensor) and not (found.is_floating_point() or found.is_complex())
    if not whole or found.shape != (count,):
        said = f"{str(found.dtype).removeprefix('torch.')} {tuple(found.shape)}" if isinstance(found, Tensor) else found
        raise OodbenchError(f"{detector.name!r} predicts {said} for {count} images: expected whole numbers, ({count},)")
    return found.long()


def _portion(detector: Detector, images: Tensor, indices: Indices, purpose: str, where: str, which: slice) -> Scored:
    return as_they_are(detector, images[which], indices[which], purpose, where)


def as_they_are(detector: Detector, images: Tensor, indices: Indices, purpose: str, where: str) -> Scored:
    """Scores, predictions and what is published of float images (B, C, H, W); call it without gradients.

    Args:
        detector: fitted.
        images: as they are.
        indices: (B,) of each in its set.
        purpose: names seed and image set; with the indices it seeds what is random in a score.
        where: what the set is called.
    """
    batch, representation = _shared_pass([detector], images)
    scores, published = _score_and_published(detector, batch, representation, where, _draws(indices, purpose))
    more = {"published": published.scores.double().numpy()} if published else {}
    return Scored(scores.numpy(), predictions(detector, representation, len(images)).cpu().numpy(), more)


def scores_together(detectors: Sequence[Detector], images: Tensor, draws: Draws, where: str) -> list[Tensor]:
    """Scores (B,) of float images (B, C, H, W) of each detector, on the CPU, in one pass through their network.

    Call it without gradients.

    Args:
        detectors: over one network.
        images: as they are.
        draws: of the images; what is random in a score comes from them.
        where: what the set is called.
    """
    batch, representation = _shared_pass(detectors, images)
    return [_score(detector, batch, representation, where, draws) for detector in detectors]


def _looked_at_again(
    detectors: Sequence[Detector],
    images: Callable[[Indices], Tensor],
    indices: Indices,
    purpose: str,
    scored: Sequence[Scored],
    portions: Portions,
    where: str,
) -> list[Scored]:
    """`scored` with what a second look at some images, as they are and in other batches, changed of their scores.

    Args:
        detectors: over one network.
        images: gives those at some positions of the set, float (B, C, H, W) on the device.
        indices: (N,) of each image of the set; with `purpose` they seed what is random in a score.
        purpose: as it was at the first look.
        scored: what each detector said of the set.
        portions: to look at them in.
        where: what the set is called.
    """
    groups = second_looks(len(scored[0].scores))
    seconds: list[list[Tensor]] = []
    for rows in groups:
        seconds += portions.each(len(rows), partial(_second, detectors, images(rows), indices[rows], purpose, where))
    looked = []
    for one, second in zip(scored, zip(*seconds, strict=True), strict=True):
        first = np.asarray(one.extras.get("clean_score", one.scores))
        change = change_between_looks(first[np.concatenate(groups)], torch.cat(second).numpy(), spread_of(first))
        looked.append(replace(one, checks={**one.checks, "unsteadiness": change}))
    return looked


def _second(
    detectors: Sequence[Detector], images: Tensor, indices: Indices, purpose: str, where: str, which: slice
) -> list[Tensor]:
    """Scores of some of `images`, float (B, C, H, W), of each detector."""
    return scores_together(detectors, images[which], _draws(indices[which], purpose), where)


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
    kept, draws = [_Best() for _ in detectors], _draws(indices[which], purpose)
    for version in versions.of(pixels[which], indices[which], purpose):
        batch, representation = _shared_pass(detectors, as_input(version))
        for detector, best in zip(detectors, kept, strict=True):
            with best.clock:
                scores, published = _score_and_published(detector, batch, representation, where, draws)
                best.offer(scores, predictions(detector, representation, len(batch)).cpu(), published)
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


def _shared_pass(detectors: Sequence[Detector], images: Tensor) -> tuple[Tensor, Representation]:
    """Images, float (B, C, H, W), and what the network makes of them, with the graph between if a detector needs it."""
    needed = any(detector.needs_graph() for detector in detectors)
    images = images.detach().requires_grad_(needed)
    with torch.set_grad_enabled(needed):
        return images, detectors[0].network.represent(images)


def _draws(indices: Indices, purpose: str) -> Draws:
    """What is random in the scores of images, whatever happened to them; all detectors draw the same.

    It goes by the seed and by where an image stands in its set, not by what the set is called: a pack of a set's
    attacked images gives the scores that were stored.
    """
    seed, _, _ = purpose.partition("/")
    return DrawsPerImage(indices, "score", seed)


def _score_and_published(
    detector: Detector, batch: Tensor, representation: Representation, where: str, draws: Draws
) -> tuple[Tensor, Published | None]:
    """Scores, and what a paper's code prints and searches by, on the CPU."""
    if detector.draws():
        return _score(detector, batch, representation, where, draws), None
    with unwritten(detector.name, [batch], representation):
        scores, published = detector.score_and_published(batch, representation)
    kept = published and Published(*(each.detach().cpu() for each in published))
    return checked(detector, scores, len(batch), where), kept


def _score(detector: Detector, batch: Tensor, representation: Representation, where: str, draws: Draws) -> Tensor:
    with unwritten(detector.name, [batch], representation):
        if detector.draws():
            scores = detector.score_drawn(batch, draws)
        else:
            scores = detector.score_shared(batch, representation)
    return checked(detector, scores, len(batch), where)
