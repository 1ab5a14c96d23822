"""One score on images at hand, under one task: what a run does for a cell, without anything stored."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import pandas as pd
import torch

from oodbench.attacks.attack_goal import Goal
from oodbench.basics.errors import OodbenchError, unknown
from oodbench.detector import Detector
from oodbench.images.imageset import ImageSet
from oodbench.results.store import Role
from oodbench.results.tables import figures
from oodbench.results.tables.as_published import published_sides
from oodbench.results.tables.flags import load_effects
from oodbench.scoring.attacking import Attack, aim, score_attacked
from oodbench.scoring.certified import score_certified
from oodbench.scoring.clean import score_floats, score_versions
from oodbench.scoring.scored import Scored
from oodbench.scoring.smoothed import Floats, Part, at_new_places, attack_on, attacked_at_each, parts, score_smoothed
from oodbench.scoring.user_input import Given, GivenScore
from oodbench.statistics import honesty, severity
from oodbench.tasks import KINDS, Certified, Clean, Smoothed, Task
from oodbench.tasks.versions import Versions


@dataclass(frozen=True)
class Measured:
    """ID scores beside those of one OOD set, under one task.

    Attributes:
        task: what was done.
        ood: the set's name.
        id_scored: of ID images, attacked where the task attacks them.
        ood_scored: of OOD images, attacked, corrupted or bounded where the task does that.
        clean_id: of ID images as they are.
    """

    task: Task
    ood: str
    id_scored: Scored
    ood_scored: Scored
    clean_id: Scored


@dataclass(frozen=True)
class Bench:
    """What everything is measured with.

    Attributes:
        detector: fitted.
        seed: of attacks and corruptions.
        device: where it runs.
    """

    detector: Detector
    seed: int
    device: torch.device

    def measured(self, id_images: Given, sets: Sequence[Given], task: Task) -> Iterator[Measured]:
        """Each OOD set as it is and, unless `task` is to leave it so, under the task.

        Raises:
            OodbenchError: the task cannot be done with this detector or these images, or the score is none.
        """
        self._refuse_impossible(id_images, sets, task)
        if isinstance(task, Smoothed):
            yield from self._smoothed(id_images, sets, task)
            return
        clean = Clean()
        id_scored = self._clean(id_images)
        turned = id_scored
        if task.side != "out" and task.attacks():
            turned = self._attacked(id_images, task, Goal.against(self.detector, task.eot))
        for images in sets:
            ood_scored = self._clean(images)
            yield Measured(clean, images.name, id_scored, ood_scored, id_scored)
            if not isinstance(task, Clean):
                done = self._done(task, images, id_images, id_scored) if task.side != "in" else ood_scored
                yield Measured(task, images.name, turned, done, id_scored)

    def _smoothed(self, id_images: Given, sets: Sequence[Given], task: Smoothed) -> Iterator[Measured]:
        """The same for a task that smooths scores: what it makes of a set as it is, then what it guarantees."""
        id_scored = self._clean(id_images)
        of_id = self._parts(id_images, task, "id")
        smoothed_id = of_id[task.kind].scored
        for images in sets:
            yield Measured(Clean(), images.name, id_scored, self._clean(images), id_scored)
            found = self._parts(images, task, "ood", (id_images.images, smoothed_id.scores))
            for name, part in found.items():
                turned = of_id[name].scored if name in of_id else smoothed_id
                yield Measured(part.task, images.name, turned, part.scored, smoothed_id)

    def _parts(
        self, images: Given, task: Smoothed, role: Role, beside: tuple[ImageSet, Floats] | None = None
    ) -> dict[str, Part]:
        """What the task leaves of one set, by name; `beside` are the ID images and their smoothed scores."""
        purpose, count = self._purpose(images), len(images.images)

        def smoothed(some: ImageSet) -> Scored:
            (scored,) = score_smoothed([self.detector], some, task, purpose, self.device, count)
            return scored

        def attacked(radius: int) -> tuple[Scored, Scored]:
            held = beside or (images.images, scored.scores)
            attack = attack_on(self.detector, task, radius, role, held, purpose, self.device)
            left = score_attacked(attack, images.images, self.device)
            return left, smoothed(at_new_places(images.images, left))

        scored = smoothed(images.images)
        attacks = attacked_at_each(task, role, scored, attacked)
        return {part.name: part for part in parts(task.kind, task, role, scored, attacks)}

    def _refuse_impossible(self, id_images: Given, sets: Sequence[Given], task: Task) -> None:
        _refuse_undone(task)
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

    def _clean(self, images: Given) -> Scored:
        if images.floats is not None:
            places, name = np.arange(len(images.floats)), images.images.name
            return score_floats(self.detector, images.floats, places, name, self._purpose(images), self.device)
        return self._worst(images, Versions())

    def _worst(self, images: Given, versions: Versions) -> Scored:
        (scored,) = score_versions([self.detector], images.images, versions, self._purpose(images), self.device)
        return scored

    def _done(self, task: Task, images: Given, id_images: Given, id_scored: Scored) -> Scored:
        """One OOD set under the task."""
        if isinstance(task, Certified):
            return score_certified(self.detector, images.images, task, self.device)
        if not task.attacks():
            return self._worst(images, task.versions())
        return self._attacked(images, task, aim(self.detector, task, id_images.images, id_scored.scores, self.device))

    def _attacked(self, images: Given, task: Task, goal: Goal) -> Scored:
        versions = task.versions()
        chosen = self._worst(images, versions).extras["version"].astype(np.int64) if len(versions) > 1 else None
        attack = Attack(self.detector, task, goal, self._purpose(images), chosen)
        return score_attacked(attack, images.images, self.device)

    def _purpose(self, images: Given) -> str:
        return f"{self.seed}/{images.images.name}"  # as a run names it: the same set meets the same draws


def _refuse_undone(task: Task) -> None:
    """OodbenchError for a task of somebody's own that alters images, but not inside a ball: nobody would call it."""
    says = "epsilon" in getattr(task, "__dataclass_fields__", ())  # if so, 0 is what it says
    if type(task).alter is not Task.alter and not task.attacks() and not says:
        raise OodbenchError(
            f"the task {task.kind!r} alters images and says no radius, so its alter() would never be called: give "
            f"{type(task).__name__} an epsilon above 0, the most that it moves a pixel in 1/255"
        )


def rows(found: Measured, detector: Detector, convention: str, intervals: bool) -> Iterator[dict[str, Any]]:
    """What `oodbench.evaluate` says of one OOD set under one task, a metric a row."""
    task = found.task
    published = type(detector) if convention == "published" and not isinstance(detector, GivenScore) else None
    sides = (
        _side(found.id_scored, task, task.side != "out" and task.epsilon > 0),
        _side(found.ood_scored, task),
        _side(found.clean_id, task),
    )
    (id_side, ood_side, clean_id), _ = published_sides(published, sides)
    operating_point = published.operating_point if published else None
    first = {"task": task.kind, "ood": found.ood}
    of_set = {"n_id": len(id_side.scores), "n_ood": len(ood_side.scores), "convention": convention}
    of_set |= {"epsilon": task.epsilon, "threat": task.threat()}
    of_set |= figures.attack_columns(id_side, ood_side)
    for row in figures.metric_rows(id_side, ood_side, clean_id.scores, convention, operating_point, intervals):
        yield {**first, **row, **of_set}


def _side(scored: Scored, task: Task, attacked: bool = True) -> figures.Side:
    """As a run would store it, as far as figures and flags ask for it."""
    checks = honesty.as_attributes(scored.checks)
    attributes = {"looks": scored.looks, "stops_at": task.stops_at(), **checks}
    return figures.Side(scored.scores, scored.extras, attributes, attacked, scored.extras.get("continued"))


def asked_task(attack: Any, epsilon: Any) -> Task:
    """What is to be done to OOD images.

    Args:
        attack: a kind of task, or a task; None for nothing.
        epsilon: radius of the ball in 1/255, for a kind that has one; else None.

    Raises:
        OodbenchError: there is no such kind, or it lacks its radius or has none.
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
    return _of_kind(attack, epsilon)


def _of_kind(name: str, epsilon: Any) -> Task:
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
    """A radius as a whole number of levels, whatever kind of number it is."""
    try:
        whole = not isinstance(epsilon, bool | str | np.bool_) and float(epsilon).is_integer()
    except (TypeError, ValueError):
        whole = False
    if not whole:
        raise ValueError(f"epsilon is {epsilon!r}, but it counts whole levels of 1/255: write 8 for 8/255")
    return int(epsilon)


def doubts(frame: pd.DataFrame) -> list[str]:
    """What a table would flag, a sentence each task.

    Args:
        frame: rows of `oodbench.evaluate`.
    """
    said = []
    aurocs = frame[frame["metric"] == "auroc"]
    clean = aurocs[aurocs["task"] == Clean.kind][["value", "n_id", "n_ood"]]
    if turned := honesty.upside_down(list(clean.itertuples(index=False, name=None))):
        said.append(turned)
    for task, part in aurocs.groupby("task", sort=False):
        means = {flag: float(part[flag].mean()) for flag in honesty.FLAGS}
        said += [
            f"{task}: {one.text}"
            for one in severity.said(means, severity.mean(list(map(load_effects, part["effects"]))))
        ]
    return said
