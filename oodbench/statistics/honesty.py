"""Honesty flags: what scores and attacks show themselves of how far a number can be believed."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from oodbench.metrics import Curve, auroc, auroc_ties, curve

CHECK = "check_"
"""In front of the name of what was measured with an attack, among the attributes of its scores."""


def as_attributes(checks: Mapping[str, float]) -> dict[str, float]:
    """What was measured with an attack, by name, as the attributes of its scores have it."""
    return {f"{CHECK}{name}": value for name, value in checks.items()}


@dataclass(frozen=True)
class Flag:
    """Something that is measured, and said where there is too much of it.

    Attributes:
        tolerated: up to this nothing is said.
        meaning: what is said; `{value}` is what was measured.
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
"""What is measured of every attack, or on request (from "unbounded" on, which is stored negative: less is worse)."""

RISE = 0.001
"""By how much an AUROC may rise with the radius before it is said."""

UPSIDE_DOWN = 0.4
"""An AUROC of clean images below this on every OOD set looks like a score of the wrong sign."""

STRONGEST_FIRST = ("certified", "linf-adaptive", "l2-adaptive", "linf", "l2", "clean")
"""Kinds of tasks of which none may leave more of an AUROC than a later one within its ball."""

SMOOTHED = ("smoothed-guaranteed", "smoothed-attacked", "smoothed")
"""The same of a smoothed score, which is another one than the detector's: the two do not compare."""

IN_L2 = ("l2-adaptive", "l2")
"""Those of them in an L2 ball. One of L-infinity holds it at the same radius, and not the other way round."""

OF_IMAGES = ("outside", "blind", "stuck", "broken", "guessed", "stalled")
"""Counted over what a task leaves about each image, 1 where it is so."""


def measured(
    points: Curve,
    extras: Mapping[str, npt.NDArray[np.float64] | npt.NDArray[np.uint8]],
    attributes: Mapping[str, object],
) -> dict[str, float]:
    """What each of `FLAGS` is about; not a number where the task left nothing of the kind.

    Args:
        points: of the ID scores against the OOD scores.
        extras: what the task left about each OOD image.
        attributes: of the group of scores; "check_NAME" was measured with the attack.
    """
    found = {name: float("nan") for name in FLAGS} | {"ties": auroc_ties(points)}
    found |= {name: float(np.mean(rows)) for name, rows in flagged_images(extras).items()}
    for name in FLAGS:
        if isinstance(value := attributes.get(f"{CHECK}{name}"), float):
            found[name] = -value if FLAGS[name].tolerated < 0 else value
    return found


def flagged_images(extras: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[np.bool_]]:
    """Which images, bool (N,), each flag that is counted over images is about, from what a task left about each."""
    found = {name: extras[name] > 0 for name in OF_IMAGES if name in extras}
    if {"objective_before", "objective_after"} <= extras.keys():
        still = extras["objective_after"] <= extras["objective_before"]
        # An image that had passed enough ID images by itself was not to be moved.
        found["unmoved"] = still & (extras.get("retired", np.zeros(len(still))) == 0)
    return found


def unconverged(
    id_scores: npt.NDArray[np.float64],
    ood_scores: npt.NDArray[np.float64],
    *,
    id_continued: npt.NDArray[np.float64] | None = None,
    ood_continued: npt.NDArray[np.float64] | None = None,
) -> float:
    """By how much the AUROC falls over the images that were climbed on with after an attack; not a number without any.

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
    if all(one is other for one, other in zip(before, after, strict=True)):
        return float("nan")
    return float(auroc(curve(*before)) - auroc(curve(*after)))


def rising(curves: Mapping[str, Sequence[tuple[int, float]]]) -> dict[str, tuple[str, float]]:
    """What to say of curves over radii whose AUROC rises: a larger ball holds the smaller one, so none truly does.

    Args:
        curves: by name, (radius in 1/255, AUROC) in any order.

    Returns:
        By name, what is said, and by how much the AUROC is off at least.
    """
    said = {}
    for name, points in curves.items():
        rise = max((after - before for (_, before), (_, after) in pairwise(sorted(points))), default=0.0)
        if rise > RISE:
            said[name] = (
                f"the AUROC rises with the radius by {100 * rise:.2f} points somewhere, which no best attack does: the "
                "optimiser fails",
                rise,
            )
    return said


def upside_down(clean: Sequence[tuple[float, int, int]]) -> str:
    """What to say if a score puts OOD images above ID images on every set, without any attack; else "".

    So few images that chance would do it, too, are no evidence: three standard errors of a score that tells nothing.

    Args:
        clean: of each OOD set the AUROC, the number of ID images and the number of OOD images.
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
class Left:
    """What a task leaves of the AUROC.

    Attributes:
        constants: of the task, its "kind" among them.
        aurocs: by OOD set.
    """

    constants: Mapping[str, Any]
    aurocs: Mapping[str, float]

    def beyond(self, other: "Left") -> float:
        """How much more it leaves than `other`, over the sets of both, if all that `other` may do is open to it too.

        Not a number where the two do not compare.
        """
        kinds = [str(task.constants.get("kind")) for task in (self, other)]
        sets = self.aurocs.keys() & other.aurocs.keys()
        order = next((order for order in (STRONGEST_FIRST, SMOOTHED) if set(kinds) <= set(order)), ())
        if not sets or not order or not self._reaches(other):
            return float("nan")
        stronger, weaker = map(order.index, kinds)
        more = float(np.mean([self.aurocs[name] - other.aurocs[name] for name in sets]))
        return more if stronger < weaker else float("nan")

    def _reaches(self, other: "Left") -> bool:
        """Its ball holds the other's, on the same side."""
        own, its = (
            (int(task.constants.get("epsilon", 0)), task.constants.get("side", "out")) for task in (self, other)
        )
        in_l2 = [task.constants.get("kind") in IN_L2 for task in (self, other)]
        holds = its[0] <= own[0] and in_l2 in ([False, True], [False, False], [True, True])
        return its[0] == 0 or (holds and own[1] in (its[1], "both"))


def disordered(tasks: Mapping[str, Left]) -> dict[str, tuple[str, float]]:
    """What to say of tasks of one detector that leave more of the AUROC than weaker ones within their ball.

    Args:
        tasks: by name.

    Returns:
        By name, what is said, and by how much the AUROC is off at least.
    """
    said = {}
    for name, left in tasks.items():
        beyond = {other: more for other, its in tasks.items() if (more := left.beyond(its)) > RISE}
        if beyond:
            said[name] = (
                f"it leaves {100 * max(beyond.values()):.2f} points more of the AUROC than {' and '.join(beyond)}, "
                "which it should outdo: it missed something",
                max(beyond.values()),
            )
    return said


def warnings(means: Mapping[str, float]) -> dict[str, str]:
    """What to say of measurements above what is tolerated, a phrase each, by flag."""
    return {
        name: flag.meaning.format(value=abs(means[name]))
        for name, flag in FLAGS.items()
        if means[name] > flag.tolerated
    }


def worse(one: Mapping[str, float], other: Mapping[str, float]) -> dict[str, float]:
    """Of two measurements of each flag the larger one; what is not a number counts for nothing."""
    return {name: float(np.fmax(one[name], other[name])) for name in FLAGS}
