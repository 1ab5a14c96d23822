"""Honesty flags: signs in scores and attacks of how far a number can be believed."""

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from oodbench.metrics import Curve, auroc, auroc_ties, curve

CHECK = "check_"
"""Prefix of the name of a measurement of an attack, among the attributes of its scores."""


def as_attributes(checks: Mapping[str, float]) -> dict[str, float]:
    """Measurements of an attack, by name, as attributes of its scores."""
    return {f"{CHECK}{name}": value for name, value in checks.items()}


@dataclass(frozen=True)
class Flag:
    """A measurement that is reported where it exceeds a tolerance.

    Attributes:
        tolerated: up to this value nothing is reported.
        meaning: the text that is reported; `{value}` stands for the measured value.
    """

    tolerated: float
    meaning: str


FLAGS: Mapping[str, Flag] = {
    "outside": Flag(0.0, "{value:.1%} of the attacked images lie outside the ball or off the 8-bit grid"),
    "blind": Flag(
        0.0, "no gradient comes back from the score to the images, so it was searched at random: a weak attack"
    ),
    "stuck": Flag(0.01, "no gradient at the start of the attack on {value:.0%} of the images, so it could not climb"),
    "broken": Flag(0.0, "the gradient was not a number somewhere on the way on {value:.0%} of the images"),
    "unmoved": Flag(0.05, "the attack found nothing better than the clean image for {value:.0%} of the images"),
    "guessed": Flag(
        0.01, "random points or random search beat the gradient on {value:.0%} of the images: the gradient misleads"
    ),
    "outguessed": Flag(
        0.01, "a random point of the ball, or one towards ID images, beats the attack on {value:.0%} of the images"
    ),
    "stalled": Flag(0.05, "the climb found nothing after its tenth step on {value:.0%} of the images"),
    # All other attacks together lower it by some four times as much, see docs/attack-on-the-table.md.
    "unconverged": Flag(
        0.0015,
        "200 more steps of Adam from where the attack ended lower the AUROC by {value:.2%} over the few images that "
        "get them: it has not converged",
    ),
    "ties": Flag(
        0.001, "{value:.1%} of all pairs of an ID and an OOD image tie, and the AUROC is uncertain by as much"
    ),
    "gradient_error": Flag(0.05, "the gradient is off by {value:.0%} of what the score really does (median)"),
    "gradient_missing": Flag(
        0.5,
        "along directions that are drawn at random, the gradient does not tell {value:.0%} of what the score does "
        "(median): it is missing for a part of the image",
    ),
    "unsteadiness": Flag(1e-4, "the score of one image changes by {value:.1e} of its range between two looks"),
    "unbounded": Flag(-0.95, "even with everything allowed, the score is climbed on {value:.0%} of the images only"),
    "unbounded_auroc": Flag(0.01, "even with everything allowed, an AUROC of {value:.1%} is left"),
    "radii": Flag(0.01, "the AUROC rises by {value:.1%} from one radius to a larger one, which no best attack does"),
    "steps": Flag(0.01, "500 steps pass {value:.1%} more of the ID images than 100: it has not converged"),
    "square": Flag(0.01, "random search without gradients beats the attack on {value:.0%} of the images"),
    "square_gain": Flag(0.002, "with what random search found the AUROC would be lower by {value:.1%}"),
    "transfer": Flag(0.01, "images attacked for other detectors beat the attack on {value:.0%} of the images"),
    "transfer_gain": Flag(0.002, "with images attacked for other detectors the AUROC would be lower by {value:.1%}"),
}
"""Measured of every attack or, from "unbounded" on, on request; "unbounded" is stored negative: less is worse."""

RISE = 0.001
"""By how much an AUROC may rise with the radius before that is reported."""

UPSIDE_DOWN = 0.4
"""An AUROC of clean images below this on every OOD set looks like a score of the wrong sign."""

STRONGEST_FIRST = ("certified", "linf-adaptive", "l2-adaptive", "linf", "l2", "clean")
"""Kinds of tasks of which none may leave more of an AUROC than a later one within its ball."""

SMOOTHED = ("smoothed-guaranteed", "smoothed-attacked", "smoothed")
"""The same for smoothed scores, which do not compare with the detector's own."""

IN_L2 = ("l2-adaptive", "l2")
"""The kinds whose ball is of L2. An L-infinity ball contains the L2 ball of the same radius, and not vice versa."""

OF_IMAGES = ("outside", "blind", "stuck", "broken", "guessed", "stalled")
"""Flags that are shares of images, from what a task records of each image: 1 where the flag holds."""


def measure_flags(
    points: Curve,
    extras: Mapping[str, npt.NDArray[np.float64] | npt.NDArray[np.uint8]],
    attributes: Mapping[str, object],
) -> dict[str, float]:
    """The value of each of `FLAGS`; not a number where the task recorded nothing for it.

    Args:
        points: of the ID scores against the OOD scores.
        extras: what the task recorded of each OOD image.
        attributes: of the group of scores; "check_NAME" is a measurement of the attack.
    """
    values = {name: float("nan") for name in FLAGS} | {"ties": auroc_ties(points)}
    values |= {name: float(np.mean(rows)) for name, rows in flagged_images(extras).items()}
    for name in FLAGS:
        if isinstance(value := attributes.get(f"{CHECK}{name}"), float):
            values[name] = -value if FLAGS[name].tolerated < 0 else value
    return values


def flagged_images(extras: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[np.bool_]]:
    """Mark the images, bool (N,), for which each flag of `OF_IMAGES` holds, and those that an attack left unmoved.

    Args:
        extras: what a task recorded of each image.
    """
    flagged = {name: extras[name] > 0 for name in OF_IMAGES if name in extras}
    if {"objective_before", "objective_after"} <= extras.keys():
        still = extras["objective_after"] <= extras["objective_before"]
        # An image that had passed enough ID images by itself was not to be moved.
        flagged["unmoved"] = still & (extras.get("retired", np.zeros(len(still))) == 0)
    return flagged


def unconverged(
    id_scores: npt.NDArray[np.float64],
    ood_scores: npt.NDArray[np.float64],
    *,
    id_continued: npt.NDArray[np.float64] | None = None,
    ood_continued: npt.NDArray[np.float64] | None = None,
) -> float:
    """The fall of the AUROC over the images that were climbed on with after an attack; not a number without any.

    Args:
        id_scores: (N,), attacked where ID images are.
        ood_scores: (M,), likewise.
        id_continued: (N,) scores that ID images reached then, not a number where they were left; None for none.
        ood_continued: (M,), likewise.
    """
    before, after = [id_scores, ood_scores], [id_scores, ood_scores]
    for side, continued in enumerate((id_continued, ood_continued)):
        if continued is not None and (tried := ~np.isnan(continued)).any():
            before[side], after[side] = before[side][tried], continued[tried]
    if all(scores is same for scores, same in zip(before, after, strict=True)):
        return float("nan")
    return float(auroc(curve(*before)) - auroc(curve(*after)))


def rising_curves(curves: Mapping[str, Sequence[tuple[int, float]]]) -> dict[str, tuple[str, float]]:
    """Report the curves over radii whose AUROC rises: a larger ball contains the smaller one, so no best attack's does.

    Args:
        curves: by name, (radius in 1/255, AUROC) in any order.

    Returns:
        By name, a text, and by how much the AUROC is off at least.
    """
    reports = {}
    for name, points in curves.items():
        rise = max((after - before for (_, before), (_, after) in pairwise(sorted(points))), default=0.0)
        if rise > RISE:
            reports[name] = (
                f"the AUROC rises with the radius by {100 * rise:.2f} points somewhere, which no best attack does: the "
                "optimiser fails",
                rise,
            )
    return reports


def upside_down_text(clean: Sequence[tuple[float, int, int]]) -> str:
    """A text if a score ranks OOD images above ID images on every set, without any attack; else "".

    Few images may do so by chance: the AUROC must be three standard errors of an uninformative score below one half.

    Args:
        clean: for each OOD set the AUROC, the number of ID images and the number of OOD images.
    """

    def far_below(auroc: float, n_id: int, n_ood: int) -> bool:
        by_chance = math.sqrt((n_id + n_ood + 1) / (12 * n_id * n_ood))
        return auroc < min(UPSIDE_DOWN, 0.5 - 3 * by_chance)

    if not clean or not all(far_below(*of_set) for of_set in clean):
        return ""
    return (
        "the AUROC is far below 50 % on every OOD set without any attack: the scores may be the wrong way round "
        "(higher must mean in-distribution)"
    )


@dataclass(frozen=True)
class TaskAUROCs:
    """The AUROCs of one detector under one task.

    Attributes:
        constants: of the task, its "kind" among them.
        aurocs: by OOD set, each by whatever tells its images from others.
    """

    constants: Mapping[str, Any]
    aurocs: Mapping[Hashable, float]

    def excess_over(self, other: "TaskAUROCs") -> float:
        """The mean excess of its AUROC over that of `other`, over the sets of both, if its attack is the stronger one.

        Not a number where the two do not compare.
        """
        kinds = [str(task.constants.get("kind")) for task in (self, other)]
        sets = self.aurocs.keys() & other.aurocs.keys()
        order = next((order for order in (STRONGEST_FIRST, SMOOTHED) if set(kinds) <= set(order)), ())
        if not sets or not order or not self._covers(other):
            return float("nan")
        stronger, weaker = map(order.index, kinds)
        more = float(np.mean([self.aurocs[name] - other.aurocs[name] for name in sets]))
        return more if stronger < weaker else float("nan")

    def _covers(self, other: "TaskAUROCs") -> bool:
        """True where its ball contains the other's, on the same side."""
        own, others = (
            (int(task.constants.get("epsilon", 0)), task.constants.get("side", "out")) for task in (self, other)
        )
        in_l2 = [task.constants.get("kind") in IN_L2 for task in (self, other)]
        holds = others[0] <= own[0] and in_l2 in ([False, True], [False, False], [True, True])
        return others[0] == 0 or (holds and own[1] in (others[1], "both"))


def disordered_tasks(
    tasks: Mapping[str, TaskAUROCs], elsewhere: Mapping[str, TaskAUROCs] = MappingProxyType({})
) -> dict[str, tuple[str, float]]:
    """Report the tasks of one detector that leave a higher AUROC than weaker ones within their ball.

    Args:
        tasks: by name.
        elsewhere: others of the same detector, which are not reported themselves.

    Returns:
        By name, a text, and by how much the AUROC is off at least.
    """
    reports = {}
    for name, task in tasks.items():
        others = {**elsewhere, **tasks}
        excess = {other: more for other, weaker in others.items() if (more := task.excess_over(weaker)) > RISE}
        if excess:
            reports[name] = (
                f"it leaves {100 * max(excess.values()):.2f} points more of the AUROC than {' and '.join(excess)}, "
                "which it should outdo: it missed something",
                max(excess.values()),
            )
    return reports


def is_raised(name: str, values: Mapping[str, float]) -> bool:
    """Whether a measurement, one of `FLAGS` as measured on an OOD set, exceeds its tolerance."""
    return values[name] > FLAGS[name].tolerated


def flag_texts(sets: Sequence[Mapping[str, float]]) -> dict[str, str]:
    """The texts of measurements that exceed their tolerance, by flag, each with its mean over the sets that do so.

    Args:
        sets: each of `FLAGS` as measured on an OOD set; not a number where it was not.
    """
    texts = {}
    for name, flag in FLAGS.items():
        raised = [values[name] for values in sets if is_raised(name, values)]
        if raised:
            where = f", on {len(raised)} of {len(sets)} OOD sets" if len(raised) < len(sets) else ""
            texts[name] = flag.meaning.format(value=abs(math.fsum(raised) / len(raised))) + where
    return texts


def larger_of(one: Mapping[str, float], other: Mapping[str, float]) -> dict[str, float]:
    """The larger of two measurements of each flag; a value that is not a number is ignored."""
    return {name: float(np.fmax(one[name], other[name])) for name in FLAGS}
