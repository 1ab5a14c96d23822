"""Evaluates one detector in memory: clean scores and the scores under one task, as a run computes them.

Nothing is written to disk.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import pandas as pd
import torch

from oodbench.attacks.attack_goal import Goal
from oodbench.basics.arrays import Floats
from oodbench.basics.errors import OodbenchError, unknown
from oodbench.detector import Detector
from oodbench.images.imageset import ImageSet
from oodbench.results.store import Role
from oodbench.results.tables import figures
from oodbench.results.tables.as_published import published_sides
from oodbench.results.tables.flags import set_flags
from oodbench.scoring.attacking import Attack, aim, score_attacked
from oodbench.scoring.batches import ImageBatch, Purpose
from oodbench.scoring.certified import score_certified
from oodbench.scoring.clean import score_floats, score_versions
from oodbench.scoring.scored import Scored
from oodbench.scoring.smoothed import Part, attack_at_radii, attacked_set, parts, score_smoothed, smoothed_attack
from oodbench.scoring.user_input import Given, GivenScore
from oodbench.statistics import honesty, severity
from oodbench.tasks import KINDS, Certified, Clean, Smoothed, Task
from oodbench.tasks.versions import Versions


@dataclass(frozen=True)
class Measured:
    """The scores of ID images and of one OOD set, under one task.

    Attributes:
        task: under which they were scored.
        ood: name of the OOD set.
        id_scored: scores of ID images, attacked where the task attacks them.
        ood_scored: scores of OOD images, attacked, corrupted or bounded where the task does that.
        clean_id: scores of ID images as they are.
    """

    task: Task
    ood: str
    id_scored: Scored
    ood_scored: Scored
    clean_id: Scored


@dataclass(frozen=True)
class Bench:
    """A detector and the conditions under which it is evaluated.

    Attributes:
        detector: fitted.
        seed: of attacks and corruptions.
        device: where it runs.
    """

    detector: Detector
    seed: int
    device: torch.device

    def measure(self, id_images: Given, sets: Sequence[Given], task: Task) -> Iterator[Measured]:
        """Yield the scores of each OOD set as it is and, unless `task` leaves images so, under the task.

        Raises:
            OodbenchError: the task cannot be carried out with this detector or these images, or a score is not valid.
        """
        self._refuse_impossible(id_images, sets, task)
        if isinstance(task, Smoothed):
            yield from self._measure_smoothed(id_images, sets, task)
            return
        clean_id = self._score_clean(id_images)
        id_scored = clean_id
        if task.side != "out" and task.attacks():
            id_scored = self._attack(id_images, task, Goal.against(self.detector, task.eot))
        for images in sets:
            clean_ood = self._score_clean(images)
            yield Measured(Clean(), images.name, clean_id, clean_ood, clean_id)
            if not isinstance(task, Clean):
                ood_scored = clean_ood if task.side == "in" else self._score_ood(task, images, id_images, clean_id)
                yield Measured(task, images.name, id_scored, ood_scored, clean_id)

    def _measure_smoothed(self, id_images: Given, sets: Sequence[Given], task: Smoothed) -> Iterator[Measured]:
        """Do the same for a task that smooths scores: each set as it is, smoothed, then attacked and guaranteed."""
        clean_id = self._score_clean(id_images)
        id_parts = self._smoothed_parts(id_images, task, "id")
        smoothed_id = id_parts[task.kind].scored
        for images in sets:
            yield Measured(Clean(), images.name, clean_id, self._score_clean(images), clean_id)
            ood_parts = self._smoothed_parts(images, task, "ood", (id_images.images, smoothed_id.scores))
            for name, part in ood_parts.items():
                id_scored = id_parts[name].scored if name in id_parts else smoothed_id
                yield Measured(part.task, images.name, id_scored, part.scored, smoothed_id)

    def _smoothed_parts(
        self, images: Given, task: Smoothed, role: Role, id_images: tuple[ImageSet, Floats] | None = None
    ) -> dict[str, Part]:
        """The scores of one set under each task that `smoothed` consists of, by name.

        Args:
            images: of the set.
            task: that smooths.
            role: of the set.
            id_images: ID images and their smoothed scores; None where `images` are these.
        """
        purpose, count = self._purpose(images), len(images.images)

        def smooth(image_set: ImageSet) -> Scored:
            (scored,) = score_smoothed([self.detector], image_set, task, purpose, self.device, count)
            return scored

        def attack_at(radius: int) -> tuple[Scored, Scored]:
            id_scores = id_images or (images.images, scored.scores)
            attack = smoothed_attack(self.detector, task, radius, role, id_scores, purpose, self.device)
            attacked = score_attacked(attack, images.images, self.device)
            return attacked, smooth(attacked_set(images.images, attacked))

        scored = smooth(images.images)
        attacks = attack_at_radii(task, role, scored, attack_at)
        return {part.name: part for part in parts(task.kind, task, role, scored, attacks)}

    def _refuse_impossible(self, id_images: Given, sets: Sequence[Given], task: Task) -> None:
        """Raise OodbenchError for a task that the detector or the images do not allow."""
        _refuse_ineffective(task)
        if task.certifies and not self.detector.has_bound():
            raise OodbenchError(
                f"{self.detector.name!r} knows no bounds of its score, so nothing can be certified: give a fitted "
                "detector that has them, such as msp, or attack it with 'linf-adaptive'"
            )
        if isinstance(task, Smoothed):
            for images in [id_images] * task.moves("id") + [*sets] * task.moves("ood"):
                task.require_enough(len(images.images))
        moved = [*([id_images] if task.side != "out" else []), *(sets if task.side != "in" else [])]
        moved = [id_images, *sets] if task.smooths else moved
        for images in moved if not isinstance(task, Clean) else ():
            if images.floats is not None:
                raise OodbenchError(
                    f"images of {images.images.name!r} are not whole levels of 1/255: task {task.kind!r} starts from "
                    "8-bit images"
                )

    def _score_clean(self, images: Given) -> Scored:
        if images.floats is not None:
            places = np.arange(len(images.floats))
            batch = ImageBatch(images.floats, places, self._purpose(images), images.images.name)
            return score_floats(self.detector, batch, self.device)
        return self._score_versions(images, Versions())

    def _score_versions(self, images: Given, versions: Versions) -> Scored:
        (scored,) = score_versions([self.detector], images.images, versions, self._purpose(images), self.device)
        return scored

    def _score_ood(self, task: Task, images: Given, id_images: Given, clean_id: Scored) -> Scored:
        """Score one OOD set under the task."""
        if isinstance(task, Certified):
            return score_certified(self.detector, images.images, task, self.device)
        if not task.attacks():
            return self._score_versions(images, task.versions())
        return self._attack(images, task, aim(self.detector, task, id_images.images, clean_id.scores, self.device))

    def _attack(self, images: Given, task: Task, goal: Goal) -> Scored:
        """Attack one set, from the version of each image that scores highest."""
        versions, start_versions = task.versions(), None
        if len(versions) > 1:
            start_versions = self._score_versions(images, versions).extras["version"].astype(np.int64)
        attack = Attack(self.detector, task, goal, self._purpose(images), start_versions)
        return score_attacked(attack, images.images, self.device)

    def _purpose(self, images: Given) -> Purpose:
        return Purpose(self.seed, images.images.name)  # as in a run: the same set gets the same draws


def _refuse_ineffective(task: Task) -> None:
    """Raise OodbenchError for a user's task that defines `alter` and no radius: it would never be called."""
    has_radius = "epsilon" in getattr(task, "__dataclass_fields__", ())  # a field of 0 is meant to be 0
    if type(task).alter is not Task.alter and not task.attacks() and not has_radius:
        raise OodbenchError(
            f"the task {task.kind!r} alters images and says no radius, so its alter() would never be called: give "
            f"{type(task).__name__} an epsilon above 0, the most that it moves a pixel in 1/255"
        )


def metric_rows(measured: Measured, detector: Detector, convention: str, intervals: bool) -> Iterator[dict[str, Any]]:
    """Yield the rows of `oodbench.evaluate` for one OOD set under one task, one for each metric."""
    task = measured.task
    published = type(detector) if convention == "published" and not isinstance(detector, GivenScore) else None
    sides = (
        _side(measured.id_scored, task, task.side != "out" and task.epsilon > 0),
        _side(measured.ood_scored, task),
        _side(measured.clean_id, task),
    )
    (id_side, ood_side, clean_id), _ = published_sides(published, sides)
    operating_point = published.operating_point if published else None
    first = {"task": task.kind, "ood": measured.ood}
    of_set = {"n_id": len(id_side.scores), "n_ood": len(ood_side.scores), "convention": convention}
    of_set |= {"epsilon": task.epsilon, "threat": task.threat()}
    of_set |= figures.attack_columns(id_side, ood_side)
    for row in figures.metric_rows(id_side, ood_side, clean_id.scores, convention, operating_point, intervals):
        yield {**first, **row, **of_set}


def _side(scored: Scored, task: Task, attacked: bool = True) -> figures.Side:
    """One side of a comparison as a run would store it, as far as figures and flags need it."""
    checks = honesty.as_attributes(scored.checks)
    attributes = {"looks": scored.looks, "stops_at": task.stops_at(), **checks}
    return figures.Side(scored.scores, scored.extras, attributes, attacked, scored.extras.get("continued"))


def requested_task(attack: Any, epsilon: Any) -> Task:
    """The task that a caller asks for.

    Args:
        attack: a kind of task, or a task; None for nothing.
        epsilon: radius of the ball in 1/255, for a kind that has one; else None.

    Raises:
        OodbenchError: there is no such kind of task, it needs a radius, or it takes none.
    """
    if isinstance(attack, type) and issubclass(attack, Task):
        raise OodbenchError(f"attack is the class {attack.__name__}: make one, such as {attack.__name__}()")
    if isinstance(attack, Task):
        if epsilon is not None:
            raise OodbenchError(f"attack is a task, which says its own radius: leave epsilon={epsilon!r} out")
        return attack
    if attack is None and epsilon is None:
        return Clean()
    if attack is not None and not isinstance(attack, str):
        raise OodbenchError(f"attack is of type {type(attack).__name__}: give a name, as 'linf-adaptive', or a task")
    if attack is None:
        raise OodbenchError(f"epsilon={epsilon!r} without an attack: an attack needs both, as 'linf-adaptive' and 8")
    if attack not in KINDS:
        raise unknown("attack", attack, KINDS)
    return _task_of_kind(attack, epsilon)


def _task_of_kind(name: str, epsilon: Any) -> Task:
    kind = KINDS[name]
    has_radius = "epsilon" in {field.name for field in fields(kind)}  # type: ignore[arg-type]
    if has_radius and epsilon is None:
        raise OodbenchError(f"attack={name!r} without epsilon: an attack needs both, as 'linf-adaptive' and 8")
    if not has_radius:
        if epsilon is not None:
            raise OodbenchError(f"attack {name!r} moves nothing inside a ball: leave epsilon={epsilon!r} out")
        return kind()
    try:
        return replace(kind(), epsilon=_levels(epsilon))  # type: ignore[type-var]
    except ValueError as error:
        raise OodbenchError(f"attack {name!r}: {error}") from error


def _levels(epsilon: Any) -> int:
    """A radius as a whole number of levels; ValueError if it is another kind of value."""
    try:
        integral = not isinstance(epsilon, bool | str | np.bool_) and float(epsilon).is_integer()
    except (TypeError, ValueError):
        integral = False
    if not integral:
        raise ValueError(f"epsilon is {epsilon!r}, but it counts whole levels of 1/255: write 8 for 8/255")
    return int(epsilon)


def flag_warnings(frame: pd.DataFrame) -> list[str]:
    """The flags that a table would show, as sentences.

    Args:
        frame: rows of `oodbench.evaluate`.
    """
    sentences = []
    aurocs = frame[frame["metric"] == "auroc"]
    clean = aurocs[aurocs["task"] == Clean.kind][["value", "n_id", "n_ood"]]
    if upside_down := honesty.upside_down_text(list(clean.itertuples(index=False, name=None))):
        sentences.append(upside_down)
    for task, part in aurocs.groupby("task", sort=False):
        sentences += [f"{task}: {flag.text}" for flag in severity.flag_statements(set_flags(part))]
    return sentences
