"""Scores image sets under the task `smoothed`: scores smoothed by noise, and their bounds over L2 balls."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from oodbench.attacks import convergence
from oodbench.attacks.attack_goal import Goal, passes_per_look
from oodbench.basics.arrays import Floats
from oodbench.basics.draws import CommonDraws, Draws, DrawsPerImage
from oodbench.basics.gradient import PerImage
from oodbench.basics.memory import Portions
from oodbench.basics.passes import Passes
from oodbench.basics.progress import Advance, Stopwatch, progress
from oodbench.detector import Detector
from oodbench.images.imageset import ImageSet
from oodbench.networks.network import Network, Representation, as_input
from oodbench.networks.smoothing import scores_around
from oodbench.scoring.attacking import Attack, aim, attack_passes
from oodbench.scoring.batches import ImageBatch, Purpose, batches, exact
from oodbench.scoring.clean import predictions, scores_together
from oodbench.scoring.scored import Scored, join_parts
from oodbench.tasks.smoothed import Guaranteed, Smoothed
from oodbench.tasks.task import Task

TRIVIAL = 1e30
"""The bound of a score of which nothing is known: above every score of a detector, and finite, as scores are."""


class SmoothedDetector(Detector):
    """A fitted detector smoothed by noise, as an attack sees it: its score is the median over some noisy copies.

    Args:
        base: the detector.
        sigma: deviation of the noise, in units of [0, 1] pixel space.
        copies: at each look.
    """

    name = "smoothed"
    paper = "Chiang et al. 2020, arXiv:2007.03730"

    def __init__(self, base: Detector, sigma: float, copies: int) -> None:
        super().__init__()
        self._base, self._sigma, self._copies = base, sigma, copies

    @property
    def network(self) -> Network:
        """The base's network."""
        return self._base.network

    @property
    def classes(self) -> int:
        """The base's number of ID classes."""
        return self._base.classes

    def draws(self) -> int:
        """A draw for each copy."""
        return self._copies

    def score_drawn(self, images: Tensor, draws: Draws) -> Tensor:
        """The median of the base's scores; what is random in these is the same for all copies."""
        return self._scores(images, draws).median(0).values

    def _scores(self, images: Tensor, draws: Draws) -> Tensor:
        return scores_around(self._base.score, images, self._sigma, range(self._copies), draws)

    def score_representation(self, representation: Representation) -> Tensor:
        """Not possible: copies take passes of their own."""
        raise TypeError("a smoothed score is of images, not of representations: it adds noise to them first")

    def own_passes(self) -> Passes:
        """The passes of the base, for each copy."""
        return (Passes(1) + self._base.own_passes()) * self._copies

    def predict(self, representation: Representation) -> Tensor:
        """The base's predictions for the images themselves."""
        return self._base.predict(representation)

    def published_objective(self, images: Tensor) -> Tensor:
        """The base's score without noise: it costs the fewest passes and leads a good part of the way."""
        return self._base.score(images)

    def surrogates(self) -> Mapping[str, PerImage]:
        """The mean of the copies' scores: unlike the median it gives every copy a gradient."""
        draws = CommonDraws("surrogate")
        return {"mean": lambda images: self._scores(images, draws).mean(0)}


@dataclass(frozen=True)
class Part:
    """The scores of an image set under one of the tasks that `smoothed` consists of, see `Smoothed.parts`.

    Attributes:
        name: of that task.
        task: that task.
        scored: the images' scores under it.
    """

    name: str
    task: Task
    scored: Scored


def score_smoothed(
    detectors: Sequence[Detector], images: ImageSet, task: Smoothed, purpose: Purpose, device: torch.device, count: int
) -> list[Scored]:
    """Smooth the scores of `images` by each of the fitted `detectors` over one network.

    Extras are bounds at each radius, `low-RADIUS` and `high-RADIUS`: `TRIVIAL` or its negative where there is none.

    Args:
        detectors: over one network; all share a pass.
        images: to be scored.
        task: gives the noise and the number of copies.
        purpose: of the draws; the seed and each image's index make its noise.
        device: where images are scored.
        count: of the images whose bounds are to hold together; `images` may be a part of them.

    Raises:
        OodbenchError: a detector gave something else than one finite number a copy.
    """
    parts: list[list[Scored]] = []
    portions = Portions()
    own = sum(detector.own_passes().both for detector in detectors)
    with (
        progress(f"smoothing {images.name}", len(images) * task.draws, "passes", 1 + own) as advance,
        exact(detectors[0].network),
        torch.no_grad(),
    ):
        for pixels, indices in batches(images, device):
            batch = ImageBatch(pixels, indices, purpose, images.name)
            parts += portions.each(len(batch), partial(_smooth_part, detectors, task, batch, count, advance))
    return [join_parts(of_detector) for of_detector in zip(*parts, strict=True)]


def _smooth_part(
    detectors: Sequence[Detector], task: Smoothed, batch: ImageBatch, count: int, advance: Advance, rows: slice
) -> list[Scored]:
    """Smooth the scores of the images in some rows of a uint8 batch, by each detector."""
    part, clock = batch.part(rows), Stopwatch()
    images, indices, seed = as_input(part.pixels), part.indices, str(part.purpose.seed)
    # Like other draws of scores, the noise does not depend on what the image set is called.
    noise = DrawsPerImage(indices, "smoothed", seed)
    scores_of_copies = [np.empty((task.draws, len(images))) for _ in detectors]
    with clock:
        for number in range(task.draws):
            copies = images + task.sigma * noise.normal(number, images)
            scores = scores_together(detectors, copies, DrawsPerImage(indices, "copy", number, seed), part.image_set)
            for of_detector, kept in zip(scores, scores_of_copies, strict=True):
                kept[number] = of_detector.numpy()
            advance(len(images))
        plain = detectors[0].network.represent(images)
        predicted = [predictions(detector, plain, len(images)).cpu().numpy() for detector in detectors]
    share = clock.seconds / len(detectors)
    return [
        replace(_order_statistics(scores, task, classes, count), seconds=share)
        for scores, classes in zip(scores_of_copies, predicted, strict=True)
    ]


def _order_statistics(scores: Floats, task: Smoothed, predicted: npt.NDArray[np.int64], count: int) -> Scored:
    """The median and the bounds of the scores of copies, (D, B), where bounds of `count` images hold together."""
    ordered = np.sort(scores, axis=0)
    beyond = np.full((1, ordered.shape[1]), TRIVIAL)
    ranked = np.concatenate([-beyond, ordered, beyond])
    extras: dict[str, Floats] = {}
    for radius in task.radii:
        ranks = task.ranks(radius, count)
        extras |= {f"low-{radius}": ranked[ranks.low], f"high-{radius}": ranked[ranks.high]}
    return Scored(ranked[task.ranks(task.radii[0], count).median], predicted, extras)


def parts(name: str, task: Smoothed, role: str, scored: Scored, attacks: Mapping[int, Scored]) -> Iterator[Part]:
    """Yield the scores of a smoothed image set under each task that is stored of it, see `Smoothed.parts`.

    Args:
        name: of the task.
        task: what was done.
        role: "id" or "ood".
        scored: from `score_smoothed`.
        attacks: by radius, from `attack_at_radii`; none where nothing was attacked.
    """
    without_bounds = replace(scored, extras={})
    for part_name, part in task.parts(name, role):
        if part is task:
            yield Part(part_name, part, without_bounds)
        elif not task.moves(role):
            yield Part(part_name, part, replace(without_bounds, seconds=0.0))
        elif isinstance(part, Guaranteed):
            bound = scored.extras[f"{'low' if role == 'id' else 'high'}-{part.epsilon}"]
            yield Part(part_name, part, replace(without_bounds, scores=bound, seconds=0.0))
        else:
            yield Part(part_name, part, attacks[part.epsilon])


def smoothed_attack(
    detector: Detector,
    task: Smoothed,
    radius: int,
    role: str,
    id_images: tuple[ImageSet, Floats],
    purpose: Purpose,
    device: torch.device,
) -> Attack:
    """The attack at one radius on the smoothed score.

    Args:
        detector: fitted.
        task: says how it is smoothed and how hard it is attacked.
        radius: in 1/255.
        role: "id" or "ood": which images are attacked.
        id_images: the ID images and their smoothed scores (N,).
        purpose: of the draws.
        device: where it runs.
    """
    around, search = SmoothedDetector(detector, task.sigma, task.eot), task.search(radius)
    goal = Goal.against(around, search.eot) if role == "id" else aim(around, search, *id_images, device)
    return Attack(around, search, goal, purpose, keep_images=True)


def attacked_set(images: ImageSet, attacked: Scored) -> ImageSet:
    """The image set with the images that an attack left."""
    return replace(images, images=attacked.images)


def attack_at_radii(
    task: Smoothed, role: str, smoothed: Scored, attack: Callable[[int], tuple[Scored, Scored]]
) -> dict[int, Scored]:
    """Attack a smoothed image set at each radius of the task.

    Args:
        task: gives the radii.
        role: "id" or "ood".
        smoothed: scores of the images as they are.
        attack: carries out the attack at a radius; gives its outcome and the smoothed scores of its images.

    Returns:
        By radius, the strongest that was found there and at smaller radii; empty where the task attacks no such images.
    """
    attacks: dict[int, Scored] = {}
    strongest = smoothed
    for radius in task.radii if task.attack and task.moves(role) else ():
        strongest = attacks[radius] = _strongest(role, strongest, *attack(radius))
    return attacks


def _strongest(role: str, before: Scored, attacked: Scored, after: Scored) -> Scored:
    """The outcome of an attack, scored with all draws; an image for which something stronger was known keeps that.

    Args:
        role: "id" or "ood": the direction in which a score is stronger.
        before: smoothed scores and predictions of the strongest that is known of each image.
        attacked: the attack's own outcome.
        after: smoothed scores of its images.
    """
    stays = before.scores < after.scores if role == "id" else before.scores > after.scores
    # The scores of images that were climbed on with are of fewer draws, so they compare with nothing here.
    extras = {name: values for name, values in attacked.extras.items() if name not in ("continued", "published")}
    return replace(
        attacked,
        scores=np.where(stays, before.scores, after.scores),
        predictions=np.where(stays, before.predictions, after.predictions),
        extras=extras,
        images=np.empty(0, np.uint8),  # the scores are of images of several attacks
        digests=np.empty(0, np.uint8),
        seconds=attacked.seconds + after.seconds,
    )


def smoothing_passes(task: Smoothed, detector: Detector, role: str, images: int) -> Passes:
    """The cost of the task on an image set, besides the passes that all detectors of a network share.

    Args:
        task: that is carried out.
        detector: whose scores are smoothed.
        role: "id" or "ood".
        images: number of images.
    """
    total = detector.own_passes() * (task.draws * images)
    if task.attack and task.moves(role):
        around = SmoothedDetector(detector, task.sigma, task.eot)
        scoring = (Passes(1) + detector.own_passes()) * (task.draws * images)
        for radius in task.radii:
            search = task.search(radius)
            continued = passes_per_look(around, task.eot) * convergence.number_to_continue(images, search.passes())
            total += attack_passes(search, around) * images + convergence.COST * continued + scoring
    return total
