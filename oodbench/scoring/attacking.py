"""One task against one detector: the scores that images have after an attack, and what was measured of it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from oodbench.attacks import convergence
from oodbench.attacks.attack_goal import Goal, passes_a_look
from oodbench.attacks.balls import BALLS
from oodbench.attacks.checks import (
    LOOKS,
    THOROUGH,
    THOROUGH_IMAGES,
    Attacked,
    gradient_error,
    gradient_missing,
    outguessed,
    thorough,
    unsteadiness,
)
from oodbench.basics.memory import Portions
from oodbench.basics.passes import Passes
from oodbench.basics.progress import Advance, Stopwatch, progress, spend
from oodbench.detector import Detector
from oodbench.images.imageset import ImageSet, image_digests
from oodbench.images.tensors import channels_first_view
from oodbench.networks.network import as_input, batch_size
from oodbench.scoring.batches import batches, exact
from oodbench.scoring.clean import as_they_are
from oodbench.scoring.scored import Scored, joined
from oodbench.tasks.task import Task
from oodbench.tasks.versions import Indices

OFF_GRID = 1e-3
"""How far from a whole level a float image of the 8-bit grid may lie, in levels."""


LURES = 8
"""ID images with the highest scores, at which attacks look."""


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
        further: which images are climbed on with after the attack, bool (N,), to see whether it had converged; None
            for `convergence.chosen`.
    """

    detector: Detector
    task: Task
    goal: Goal
    purpose: str
    chosen: npt.NDArray[np.int64] | None = None
    keep: bool = False
    further: npt.NDArray[np.bool_] | None = None

    def of(self, which: slice) -> "Attack":
        """The same for some of the images."""
        return replace(
            self,
            chosen=None if self.chosen is None else self.chosen[which],
            further=None if self.further is None else self.further[which],
        )


def aim(
    detector: Detector, task: Task, id_images: ImageSet, id_scores: npt.NDArray[np.float64], device: torch.device
) -> Goal:
    """With the ID images that score highest as lures, and an end where an image has passed enough of the others.

    Args:
        detector: fitted.
        task: that attacks OOD images.
        id_images: ID test images.
        id_scores: theirs (N,), not attacked.
        device: where the attack runs.
    """
    highest = np.argsort(-id_scores, kind="stable")[:LURES]
    pixels = channels_first_view(id_images.pixels(highest), device)
    return Goal.of(detector, as_input(pixels), enough(id_scores, task), task.eot)


def enough(id_scores: npt.NDArray[np.float64], task: Task) -> float:
    """The score at which an image has passed so many of the ID scores (N,) that a task leaves it alone.

    Infinity where these are all one: to reach that is not yet to pass it.
    """
    if id_scores.min() == id_scores.max():
        return float("inf")
    return float(np.quantile(id_scores, task.stops_at(), method="higher"))


def attack_passes(task: Task, detector: Detector) -> Passes:
    """What a task's attack on one image costs for a detector: one that draws takes all its passes at every look."""
    if not detector.draws():
        return task.passes() + detector.own_passes()
    return task.random_passes() * passes_a_look(detector, task.eot)


def score_attacked(attack: Attack, images: ImageSet, device: torch.device) -> Scored:
    """Scores of `images` after an attack on them.

    Raises:
        OodbenchError: as `score_versions`.
    """
    task, portions = attack.task, Portions()
    parts: list[Scored] = []
    size = task.together * batch_size(device, images.images.shape[1])
    passes = attack_passes(task, attack.detector)
    steps = passes.forward if attack.detector.draws() else task.passes().forward
    cost = passes.both / max(1, steps)
    with (
        progress(f"attacking {images.name}", len(images) * steps, "passes", cost) as advance,
        exact(attack.detector.network),
    ):
        done = 0
        further = convergence.chosen(len(images), task.passes()) if attack.further is None else attack.further
        for pixels, indices in batches(images, device, size):
            if attack.chosen is not None:
                numbers = attack.chosen[done : done + len(pixels)]
                pixels = task.versions().chosen(pixels, indices, numbers, attack.purpose)
            on = further[done : done + len(pixels)]
            work = partial(_attacked, attack, pixels, indices, on, images.name, advance, not done)
            parts += portions.each(len(pixels), work)
            done += len(pixels)
    return joined(parts)


def _attacked(
    attack: Attack,
    pixels: Tensor,
    indices: Indices,
    further: npt.NDArray[np.bool_],
    where: str,
    advance: Advance,
    first: bool,
    which: slice,
) -> Scored:
    """Scores of some of `pixels`, uint8 (B, C, H, W), after an attack on them; the `first` are checked, too.

    Those of `further`, (B,), are climbed on with: what they reach is the extra `continued`, not a number elsewhere.
    """
    pixels, indices, rows = pixels[which], indices[which], np.flatnonzero(further[which])
    detector, task, clock, looks = attack.detector, attack.task, Stopwatch(), 0

    def seen(count: int) -> None:
        nonlocal looks
        looks += count
        advance(count)

    with clock:
        altered = task.alter(attack.goal.watched(seen), as_input(pixels), indices, attack.purpose)
        checks = _checks(attack, as_input(pixels[:LOOKS]), altered.images[:LOOKS], indices) if first else {}
        stored, outside = _on_grid(altered.images, pixels, task)
        continued = _continued(attack, pixels, altered.images, indices, rows, where)
        after: list[Scored] = []
        size = batch_size(altered.images.device, altered.images.shape[-1])
        for start in range(0, len(altered.images), size):
            part, those = altered.images[start : start + size], indices[start : start + size]
            with torch.no_grad():
                after.append(as_they_are(detector, part, those, attack.purpose, where))
            advance(len(part))
    scored = joined(after)
    return replace(
        scored,
        extras={**altered.extras, "outside": outside, "continued": continued, **scored.extras},
        seconds=clock.seconds,
        checks=checks,
        images=stored if attack.keep else np.empty(0, np.uint8),
        digests=image_digests(stored),
        looks=looks,
    )


def _on_grid(altered: Tensor, pixels: Tensor, task: Task) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float64]]:
    """Attacked images as uint8 (B, H, W, C), and 1 for each, (B,), that left the ball or the 8-bit grid.

    Args:
        altered: float (B, C, H, W).
        pixels: uint8 (B, C, H, W), before the attack.
        task: says the ball.
    """
    levels = altered * 255
    after = levels.round().to(torch.uint8)
    left = BALLS[task.norm](as_input(pixels), task.epsilon).outside(after.int() - pixels.int())
    off_grid = (levels - levels.round()).abs().flatten(1).amax(1) > OFF_GRID
    outside = (left | off_grid).double().cpu().numpy()
    return after.permute(0, 2, 3, 1).contiguous().cpu().numpy(), outside


def _continued(
    attack: Attack, pixels: Tensor, altered: Tensor, indices: Indices, rows: npt.NDArray[np.int64], where: str
) -> npt.NDArray[np.float64]:
    """Scores (B,) of what the images in `rows` reach when they are climbed on with; not a number for the others."""
    found = np.full(len(pixels), np.nan)
    if len(rows):
        some = torch.from_numpy(rows).to(pixels.device)
        task, before = attack.task, as_input(pixels[some])
        reached = convergence.climbed_on(attack.goal, before, altered[some], task.epsilon, BALLS[task.norm])
        with torch.no_grad():
            found[rows] = as_they_are(attack.detector, reached, indices[rows], attack.purpose, where).scores
        spend(convergence.COST.both * passes_a_look(attack.detector, attack.task.eot) * len(rows))
    return found


def _checks(attack: Attack, before: Tensor, after: Tensor, indices: Indices) -> Mapping[str, float]:
    """What a few images, float (B, C, H, W) before and after the attack, tell of it."""
    goal, task = attack.goal, attack.task
    few = Attacked(goal, before, after, indices[: len(before)], task.epsilon, attack.purpose, BALLS[task.norm])
    return {
        "gradient_error": gradient_error(goal.score, before),
        "gradient_missing": gradient_missing(goal.score, before),
        "unsteadiness": unsteadiness(goal.score, before),
        "outguessed": outguessed(few),
    }


def thorough_checks(
    attack: Attack, images: ImageSet, scored: Scored, id_scores: npt.NDArray[np.float64], device: torch.device
) -> Mapping[str, float]:
    """See `oodbench.attacks.checks.thorough`, for some images of an attack that was done, of each label its share."""
    some = images.spread(THOROUGH_IMAGES)
    places = np.flatnonzero(np.isin(images.indices, some.indices))
    (pixels, indices), *_ = batches(some, device, THOROUGH_IMAGES)
    if attack.chosen is not None:
        pixels = attack.task.versions().chosen(pixels, indices, attack.chosen[places], attack.purpose)
    after = channels_first_view(scored.images[places], device)
    epsilon, passes = attack.task.epsilon, THOROUGH.forward * len(pixels)
    cost = THOROUGH.both / THOROUGH.forward
    with progress(f"checking {images.name}", passes, "passes", cost) as advance, exact(attack.detector.network):
        goal, ball = attack.goal.watched(advance), BALLS[attack.task.norm]
        attacked = Attacked(goal, as_input(pixels), as_input(after), indices, epsilon, attack.purpose, ball)
        return thorough(attacked, id_scores)
