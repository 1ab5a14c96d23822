"""Honesty flags: what scores and attacks show themselves of how far a number can be believed."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from oodbench.metrics import Curve, auroc_ties

TOLERATED = {"stuck": 0.01, "unmoved": 0.05, "ties": 0.001}
"""Shares of the images, or of pairs of an ID and an OOD image, up to which nothing is said."""

MEANING = {
    "stuck": "no gradient at the start of the attack on {share:.0%} of the images, so it stood still there",
    "unmoved": "the attack found nothing better than the clean image for {share:.0%} of the images",
    "ties": "{share:.1%} of all pairs of an ID and an OOD image tie, and the AUROC is uncertain by as much",
}
"""What a flag says. A saturated score ties, and ties look like robustness."""


def shares(points: Curve, extras: Mapping[str, npt.NDArray[np.float64] | npt.NDArray[np.uint8]]) -> dict[str, float]:
    """The share that each flag counts; not a number where the task left nothing of the kind.

    `ties`: pairs with equal scores. `stuck`: the gradient at the start was zero or not a number in every pixel.
    `unmoved`: the objective at the end is that of the clean image.

    Args:
        points: of the ID scores against the OOD scores.
        extras: what the task left about each OOD image.
    """
    found = dict.fromkeys(MEANING, float("nan")) | {"ties": auroc_ties(points)}
    if "stuck" in extras:
        found["stuck"] = float(np.mean(extras["stuck"]))
    if {"objective_before", "objective_after"} <= extras.keys():
        found["unmoved"] = float(np.mean(extras["objective_after"] <= extras["objective_before"]))
    return found


def warnings(mean_shares: Mapping[str, float]) -> list[str]:
    """What to say of shares above what is tolerated, a phrase each."""
    return [
        MEANING[flag].format(share=mean_shares[flag]) for flag, most in TOLERATED.items() if mean_shares[flag] > most
    ]
