"""Carries out one task against one detector: scores images after an attack, and measures the attack itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from oodbench.attacks import convergence
from oodbench.attacks.attack_goal import Goal, passes_per_look
from oodbench.attacks.balls import BALLS
from oodbench.attacks.checks import CHECKED_IMAGES, Attacked, conclude, look_at
from oodbench.attacks.thorough_checks import THOROUGH, THOROUGH_IMAGES, check_thoroughly
from oodbench.basics.arrays import evenly_marked
from oodbench.basics.memory import Portions
from oodbench.basics.passes import Passes
from oodbench.basics.progress import Advance, Stopwatch, progress, spend
from oodbench.detector import Detector
from oodbench.images.imageset import ImageSet, image_digests
from oodbench.images.tensors import channels_first_view
from oodbench.networks.network import as_input, batch_size
from oodbench.scoring.batches import ImageBatch, Purpose, batches, exact
from oodbench.scoring.clean import score_batch
from oodbench.scoring.scored import Scored, join_parts
from oodbench.tasks.task import Task
from oodbench.tasks.versions import Indices

OFF_GRID = 1e-3
"""How far from a whole level a float image of the 8-bit grid may lie, in levels."""


LURES = 8
"""ID images with the highest scores, towards which attacks place starting points."""


Marked = npt.NDArray[np.bool_]
"""Some images of a set, bool (N,)."""


@dataclass(frozen=True)
class Attack:
    """One task against one detector.

    Attributes:
        detector: fitted.
        task: how images are attacked.
        goal: of the detector.
        purpose: of the random draws.
        start_versions: the number of each image's version to start from (N,); None to start from the images themselves.
        keep_images: the attacked images are wanted, and not only their scores.
        to_continue: the images that are climbed on with after the attack, bool (N,), to see whether it had converged.
        to_check: the images that the attack itself is checked on, bool (N,). None for either stands for those that
            `images_to_look_at` gives.
    """

    detector: Detector
    task: Task
    goal: Goal
    purpose: Purpose
    start_versions: npt.NDArray[np.int64] | None = None
    keep_images: bool = False
    to_continue: Marked | None = None
    to_check: Marked | None = None

    def part(self, rows: slice) -> "Attack":
        """The same attack on the images in these rows."""
        of_images = ("start_versions", "to_continue", "to_check")
        given = {name: values for name in of_images if (values := getattr(self, name)) is not None}
        return replace(self, **{name: values[rows] for name, values in given.items()})


def aim(
    detector: Detector, task: Task, id_images: ImageSet, id_scores: npt.NDArray[np.float64], device: torch.device
) -> Goal:
    """The goal of an attack on OOD images: the ID images that score highest are its lures, and it knows when to stop.

    Args:
        detector: fitted.
        task: that attacks OOD images.
        id_images: ID test images.
        id_scores: theirs (N,), not attacked.
        device: where the attack runs.
    """
    highest = np.argsort(-id_scores, kind="stable")[:LURES]
    pixels = channels_first_view(id_images.pixels(highest), device)
    return Goal.of(detector, as_input(pixels), stopping_score(id_scores, task), task.eot)


def stopping_score(id_scores: npt.NDArray[np.float64], task: Task) -> float:
    """The score at which an image has passed so many of the ID scores (N,) that a task stops attacking it.

    Infinity where all ID scores are equal: to reach that value is not yet to pass it.
    """
    if id_scores.min() == id_scores.max():
        return float("inf")
    return float(np.quantile(id_scores, task.stops_at(), method="higher"))


def attack_passes(task: Task, detector: Detector) -> Passes:
    """The cost of a task's attack on one image; a detector whose score draws takes all its passes at every look."""
    if not detector.draws():
        return task.passes() + detector.own_passes()
    return task.random_passes() * passes_per_look(detector, task.eot)


def images_to_look_at(images: ImageSet, task: Task, device: torch.device) -> tuple[Marked, Marked]:
    """Mark the images that are climbed on with after an attack, and those that the attack itself is checked on.

    The second are `CHECKED_IMAGES`, or as many as are attacked at once. Both lie at even distances: sets are often
    sorted, and a fault may show on a part of them only.
    """
    count = len(images)
    checked = min(count, _at_once(images, task, device), CHECKED_IMAGES)
    return convergence.images_to_continue(count, task.passes()), evenly_marked(count, checked)


def _at_once(images: ImageSet, task: Task, device: torch.device) -> int:
    return task.together * batch_size(device, images.images.shape[1])


def score_attacked(attack: Attack, images: ImageSet, device: torch.device) -> Scored:
    """Attack `images` and score what the attack leaves.

    Raises:
        OodbenchError: as `score_versions`.
    """
    task, portions = attack.task, Portions()
    parts: list[_Part] = []
    passes = attack_passes(task, attack.detector)
    steps = passes.forward if attack.detector.draws() else task.passes().forward
    cost = passes.both / max(1, steps)
    to_continue, to_check = images_to_look_at(images, task, device)
    attack = replace(
        attack,
        to_continue=to_continue if attack.to_continue is None else attack.to_continue,
        to_check=to_check if attack.to_check is None else attack.to_check,
    )
    with (
        progress(f"attacking {images.name}", len(images) * steps, "passes", cost) as advance,
        exact(attack.detector.network),
    ):
        done = 0
        for pixels, indices in batches(images, device, _at_once(images, task, device)):
            part = attack.part(slice(done, done + len(pixels)))
            if part.start_versions is not None:
                pixels = task.versions().chosen(pixels, indices, part.start_versions, str(attack.purpose))
            batch = ImageBatch(pixels, indices, attack.purpose, images.name)
            parts += portions.each(len(batch), partial(_attack_part, part, batch, advance))
            done += len(batch)
        return _with_checks(join_parts([part.scored for part in parts]), [part.sample for part in parts], portions)


@dataclass(frozen=True)
class _Part:
    """Some attacked images of a set.

    Attributes:
        scored: what the attack left of them.
        sample: those of them that the attack itself is checked on.
    """

    scored: Scored
    sample: Attacked


def _with_checks(scored: Scored, samples: Sequence[Attacked], portions: Portions) -> Scored:
    """The outcome of an attack, checked on some of its images."""
    clock = Stopwatch()
    with clock:
        sample = replace(
            samples[0],
            before=torch.cat([part.before for part in samples]),
            after=torch.cat([part.after for part in samples]),
            indices=np.concatenate([part.indices for part in samples]),
        )
        seen = look_at(sample, portions)
    return replace(scored, seen=seen, checks=conclude(seen), seconds=scored.seconds + clock.seconds)


def _attack_part(attack: Attack, batch: ImageBatch, advance: Advance, rows: slice) -> _Part:
    """Attack the images in some rows of a uint8 batch and score what that leaves.

    The extra `continued` holds what the images reach that are climbed on with, and not a number for the others.

    Args:
        attack: on the images of the batch.
        batch: before the attack.
        advance: told of each pass.
        rows: of the batch.
    """
    attack, batch = attack.part(rows), batch.part(rows)
    before, clock, looks = as_input(batch.pixels), Stopwatch(), 0

    def count_passes(passes: int) -> None:
        nonlocal looks
        looks += passes
        advance(passes)

    with clock:
        goal = attack.goal.with_counter(count_passes)
        altered = attack.task.alter(goal, before, batch.indices, str(batch.purpose))
        stored, outside = _on_grid(altered.images, batch.pixels, attack.task)
        after = batch.with_pixels(altered.images)
        continued = _continued_scores(attack, batch, after)
        scored = _score_in_batches(attack.detector, after, advance)
    scored = replace(
        scored,
        extras={**altered.extras, "outside": outside, "continued": continued, **scored.extras},
        seconds=clock.seconds,
        images=stored if attack.keep_images else np.empty(0, np.uint8),
        digests=image_digests(stored),
        looks=looks,
    )
    chosen = np.flatnonzero(attack.to_check) if attack.to_check is not None else np.empty(0, np.int64)
    places = torch.from_numpy(chosen).to(before.device)
    sample = _attacked_images(attack, attack.goal, before[places], altered.images[places], batch.indices[chosen])
    return _Part(scored, sample)


def _score_in_batches(detector: Detector, images: ImageBatch, advance: Advance) -> Scored:
    """Score float images in batches of the usual size."""
    parts: list[Scored] = []
    size = batch_size(images.pixels.device, images.pixels.shape[-1])
    for start in range(0, len(images), size):
        part = images.part(slice(start, start + size))
        with torch.no_grad():
            parts.append(score_batch(detector, part))
        advance(len(part))
    return join_parts(parts)


def _on_grid(altered: Tensor, pixels: Tensor, task: Task) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float64]]:
    """Attacked images as uint8 (B, H, W, C), and 1 for each, (B,), that left the ball or the 8-bit grid.

    Args:
        altered: float (B, C, H, W).
        pixels: uint8 (B, C, H, W), before the attack.
        task: gives the ball.
    """
    levels = altered * 255
    after = levels.round().to(torch.uint8)
    left_ball = BALLS[task.norm](as_input(pixels), task.epsilon).is_outside(after.int() - pixels.int())
    off_grid = (levels - levels.round()).abs().flatten(1).amax(1) > OFF_GRID
    outside = (left_ball | off_grid).double().cpu().numpy()
    return after.permute(0, 2, 3, 1).contiguous().cpu().numpy(), outside


def _continued_scores(attack: Attack, before: ImageBatch, after: ImageBatch) -> npt.NDArray[np.float64]:
    """The scores (B,) that images reach when they are climbed on with after the attack; not a number for the others.

    Args:
        attack: says which images are climbed on with.
        before: uint8 images before the attack.
        after: float images after it.
    """
    scores = np.full(len(before), np.nan)
    rows = np.flatnonzero(attack.to_continue) if attack.to_continue is not None else np.empty(0, np.int64)
    if len(rows):
        places = torch.from_numpy(rows).to(before.pixels.device)
        task, images = attack.task, as_input(before.pixels[places])
        reached = convergence.continue_climb(attack.goal, images, after.pixels[places], task.epsilon, BALLS[task.norm])
        with torch.no_grad():
            batch = replace(before, pixels=reached, indices=before.indices[rows])
            scores[rows] = score_batch(attack.detector, batch).scores
        spend(convergence.COST.both * passes_per_look(attack.detector, attack.task.eot) * len(rows))
    return scores


def _attacked_images(attack: Attack, goal: Goal, before: Tensor, after: Tensor, indices: Indices) -> Attacked:
    task = attack.task
    return Attacked(goal, before, after, indices, task.epsilon, str(attack.purpose), BALLS[task.norm])


def thorough_checks(
    attack: Attack, images: ImageSet, scored: Scored, id_scores: npt.NDArray[np.float64], device: torch.device
) -> Mapping[str, float]:
    """Check an attack that was carried out on some images of each label, see `check_thoroughly`.

    Args:
        attack: that was carried out.
        images: before it.
        scored: its outcome, which holds the attacked images.
        id_scores: (M,), clean.
        device: where the checks run.
    """
    sample = images.spread(THOROUGH_IMAGES)
    places = np.flatnonzero(np.isin(images.indices, sample.indices))
    (pixels, indices), *_ = batches(sample, device, THOROUGH_IMAGES)
    if attack.start_versions is not None:
        numbers = attack.start_versions[places]
        pixels = attack.task.versions().chosen(pixels, indices, numbers, str(attack.purpose))
    after = channels_first_view(scored.images[places], device)
    passes, cost = THOROUGH.forward * len(pixels), THOROUGH.both / THOROUGH.forward
    with progress(f"checking {images.name}", passes, "passes", cost) as advance, exact(attack.detector.network):
        goal = attack.goal.with_counter(advance)
        attacked = _attacked_images(attack, goal, as_input(pixels), as_input(after), indices)
        return check_thoroughly(attacked, id_scores)
