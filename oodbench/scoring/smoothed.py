"""Scores smoothed by noise, and their bounds over L2 balls: the task `smoothed` on images at hand."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from oodbench.attacks import convergence
from oodbench.attacks.attack_goal import Goal, passes_a_look
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
from oodbench.scoring.batches import batches, exact
from oodbench.scoring.clean import predictions, scores_together
from oodbench.scoring.scored import Scored, joined
from oodbench.tasks.smoothed import Guaranteed, Smoothed
from oodbench.tasks.task import Task
from oodbench.tasks.versions import Indices

Floats = npt.NDArray[np.float64]

TRIVIAL = 1e30
"""The bound of a score of which nothing is known: above every score of a detector, and finite, as scores are."""


class Around(Detector):
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
        """The base's."""
        return self._base.network

    @property
    def classes(self) -> int:
        """The base's."""
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
        """Those of the base, for each copy."""
        return (Passes(1) + self._base.own_passes()) * self._copies

    def predict(self, representation: Representation) -> Tensor:
        """The base's, of the image itself."""
        return self._base.predict(representation)

    def published_objective(self, images: Tensor) -> Tensor:
        """The base's score without noise, which costs fewest passes and leads a good part of the way."""
        return self._base.score(images)

    def surrogates(self) -> Mapping[str, PerImage]:
        """The mean in place of the median, through which every copy has a gradient."""
        draws = CommonDraws("surrogate")
        return {"mean": lambda images: self._scores(images, draws).mean(0)}


@dataclass(frozen=True)
class Part:
    """One of the things that the task leaves of an image set.

    Attributes:
        name: of the task that it is.
        task: that task.
        scored: its scores.
    """

    name: str
    task: Task
    scored: Scored


def score_smoothed(
    detectors: Sequence[Detector], images: ImageSet, task: Smoothed, purpose: str, device: torch.device, count: int
) -> list[Scored]:
    """Smoothed scores of `images` of each of the fitted `detectors` over one network.

    Extras are bounds at each radius, `low-RADIUS` and `high-RADIUS`: `TRIVIAL` or its negative where there is none.

    Args:
        detectors: over one network; all share a pass.
        images: to be scored.
        task: says how.
        purpose: names seed and image set; the seed and each image's index make its noise.
        device: where to do so.
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
            work = partial(_smoothed, detectors, task, pixels, indices, purpose, images.name, count, advance)
            parts += portions.each(len(pixels), work)
    return [joined(of_one) for of_one in zip(*parts, strict=True)]


def _smoothed(
    detectors: Sequence[Detector],
    task: Smoothed,
    pixels: Tensor,
    indices: Indices,
    purpose: str,
    where: str,
    count: int,
    advance: Advance,
    which: slice,
) -> list[Scored]:
    """Smoothed scores of some of `pixels`, uint8 (B, C, H, W), of each detector."""
    images, indices, clock = as_input(pixels[which]), indices[which], Stopwatch()
    seed, _, _ = purpose.partition("/")  # by the image's place, not by what its set is called, as other draws
    noise = DrawsPerImage(indices, "smoothed", seed)
    found = [np.empty((task.draws, len(images))) for _ in detectors]
    with clock:
        for number in range(task.draws):
            copies = images + task.sigma * noise.normal(number, images)
            draws = DrawsPerImage(indices, "copy", number, seed)
            for scores, kept in zip(scores_together(detectors, copies, draws, where), found, strict=True):
                kept[number] = scores.numpy()
            advance(len(images))
        plain = detectors[0].network.represent(images)
        predicted = [predictions(detector, plain, len(images)).cpu().numpy() for detector in detectors]
    share = clock.seconds / len(detectors)
    both = zip(found, predicted, strict=True)
    return [replace(_of(kept, task, classes, count), seconds=share) for kept, classes in both]


def _of(scores: Floats, task: Smoothed, predicted: npt.NDArray[np.int64], count: int) -> Scored:
    """Median and bounds of scores of copies, (D, B)."""
    ordered = np.sort(scores, axis=0)
    beyond = np.full((1, ordered.shape[1]), TRIVIAL)
    ranked = np.concatenate([-beyond, ordered, beyond])
    extras: dict[str, Floats] = {}
    for radius in task.radii:
        ranks = task.ranks(radius, count)
        extras |= {f"low-{radius}": ranked[ranks.low], f"high-{radius}": ranked[ranks.high]}
    return Scored(ranked[task.ranks(task.radii[0], count).median], predicted, extras)


def parts(name: str, task: Smoothed, role: str, scored: Scored, attacks: Mapping[int, Scored]) -> Iterator[Part]:
    """What is kept of a smoothed image set, see `Smoothed.parts`.

    Args:
        name: of the task.
        task: what was done.
        role: "id" or "ood".
        scored: from `score_smoothed`.
        attacks: by radius, from `attacked_at_each`; none where nothing was attacked.
    """
    bare = replace(scored, extras={})
    for called, part in task.parts(name, role):
        if part is task:
            yield Part(called, part, bare)
        elif not task.moves(role):
            yield Part(called, part, replace(bare, seconds=0.0))
        elif isinstance(part, Guaranteed):
            bound = scored.extras[f"{'low' if role == 'id' else 'high'}-{part.epsilon}"]
            yield Part(called, part, replace(bare, scores=bound, seconds=0.0))
        else:
            yield Part(called, part, attacks[part.epsilon])


def attack_on(
    detector: Detector,
    task: Smoothed,
    radius: int,
    role: str,
    beside: tuple[ImageSet, Floats],
    purpose: str,
    device: torch.device,
) -> Attack:
    """The attack at one radius on the smoothed score.

    Args:
        detector: fitted.
        task: says how it is smoothed and how hard it is attacked.
        radius: in 1/255.
        role: "id" or "ood": who is attacked.
        beside: the ID images and their smoothed scores (N,).
        purpose: names seed and image set.
        device: where it runs.
    """
    around, search = Around(detector, task.sigma, task.eot), task.search(radius)
    goal = Goal.against(around, search.eot) if role == "id" else aim(around, search, *beside, device)
    return Attack(around, search, goal, purpose, keep=True)


def at_new_places(images: ImageSet, attacked: Scored) -> ImageSet:
    """The image set with the images that an attack left."""
    return replace(images, images=attacked.images)


def attacked_at_each(
    task: Smoothed, role: str, smoothed: Scored, attacked: Callable[[int], tuple[Scored, Scored]]
) -> dict[int, Scored]:
    """By radius, what attacks leave of a smoothed image set; nothing where the task attacks no such images.

    Args:
        task: says at which radii.
        role: "id" or "ood".
        smoothed: the images as they are.
        attacked: at a radius, what the attack says of itself, and smoothed scores of its images.
    """
    found: dict[int, Scored] = {}
    best = smoothed
    for radius in task.radii if task.attack and task.moves(role) else ():
        best = found[radius] = _strongest(role, best, *attacked(radius))
    return found


def _strongest(role: str, before: Scored, attacked: Scored, after: Scored) -> Scored:
    """What an attack left, scored with all draws: an image that was better before stays where it was.

    Args:
        role: "id" or "ood": which way is better.
        before: smoothed scores and predictions of the strongest that is known of each image.
        attacked: what the attack says of itself.
        after: smoothed scores of its images.
    """
    stays = before.scores < after.scores if role == "id" else before.scores > after.scores
    # What was climbed on with was scored by fewer draws, and compares with nothing here.
    extras = {name: values for name, values in attacked.extras.items() if name not in ("continued", "published")}
    return replace(
        attacked,
        scores=np.where(stays, before.scores, after.scores),
        predictions=np.where(stays, before.predictions, after.predictions),
        extras=extras,
        images=np.empty(0, np.uint8),  # no one set of images has these scores
        digests=np.empty(0, np.uint8),
        seconds=attacked.seconds + after.seconds,
    )


def smoothing_passes(task: Smoothed, detector: Detector, role: str, images: int) -> Passes:
    """What the task costs of an image set besides the passes that all detectors of a network share.

    Args:
        task: what is done.
        detector: to which.
        role: "id" or "ood": what the images are.
        images: how many they are.
    """
    total = detector.own_passes() * (task.draws * images)
    if task.attack and task.moves(role):
        around = Around(detector, task.sigma, task.eot)
        again = (Passes(1) + detector.own_passes()) * (task.draws * images)
        for radius in task.radii:
            search = task.search(radius)
            further = passes_a_look(around, task.eot) * convergence.how_many(images, search.passes())
            total += attack_passes(search, around) * images + convergence.COST * further + again
    return total
