"""Honesty flags: what an attack left behind that says how far its number can be believed."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

TOLERATED = {"stuck": 0.01, "unmoved": 0.05}
"""Shares of the images up to which nothing is said."""

MEANING = {
    "stuck": "no gradient at the start of the attack on {share:.0%} of the images, so it stood still there",
    "unmoved": "the attack found nothing better than the clean image for {share:.0%} of the images",
}


def shares(extras: Mapping[str, npt.NDArray[np.float64] | npt.NDArray[np.uint8]]) -> dict[str, float]:
    """Share of images per flag, from what a task left about each; not a number where it left nothing of the kind.

    `stuck`: the gradient at the start was zero or not a number in every pixel. `unmoved`: the objective at the end is
    that of the clean image.
    """
    found = dict.fromkeys(MEANING, float("nan"))
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
