"""What a flag can do to a number: from the scores themselves how far off it may be, and whether to believe it.

An image on which an attack failed might have passed every ID image, had it not: giving just those images the highest
score bounds what the failure hides. What another attack reached is no bound, but measured: the number is off by that
much at least.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, fsum, isnan, nan

import numpy as np
import numpy.typing as npt

from oodbench.metrics import auroc, curve, fpr95
from oodbench.statistics import honesty
from oodbench.statistics.repeatability import spread_of

Floats = npt.NDArray[np.float64]
Extras = Mapping[str, npt.NDArray[np.float64] | npt.NDArray[np.uint8]]

AT_LEAST = {"unconverged": "unconverged", "steps": "steps", "square": "square_gain", "transfer": "transfer_gain"}
"""Flags of attacks that did more, and the measurement that says by how much the AUROC falls with them."""

ALL = ("gradient_error", "gradient_missing", "unbounded", "unbounded_auroc", "radii")
"""Signs that the attack was blind to what the score does: nothing bounds what it missed."""

ANYTHING = 1.0
"""By how much a figure may be off where nobody knows by how much."""

BELIEVED, BOUND = 0.01, 0.05
"""Up to which error a number is believed, and up to which it says something still."""


NO, AT_MOST, WITHIN = "no", "at most", "within"
BELIEFS: Mapping[str, str] = {
    NO: "not to be believed, may be off by",
    AT_MOST: "too good, the true value is worse by at least",
    WITHIN: "to be believed within",
}
"""Whether a flagged number says anything, the worst first; points follow."""


@dataclass(frozen=True)
class Effect:
    """How far off a flag says that two numbers may be, as fractions; NaN where it says nothing.

    Attributes:
        auroc: of the AUROC.
        fpr95: of the FPR@95.
    """

    auroc: float
    fpr95: float = nan


@dataclass(frozen=True)
class Said:
    """What is said of one number, the most that it may be off by, as a fraction, and which of `BELIEFS` that leaves."""

    text: str
    effect: float
    belief: str
    remedy: str = ""


def effects(
    id_scores: Floats, ood_scores: Floats, found: Mapping[str, float], id_extras: Extras, ood_extras: Extras
) -> dict[str, Effect]:
    """What each flag can do to the numbers of ID scores (N,) against OOD scores (M,), by its name; none that can't.

    Args:
        id_scores: attacked where ID images are.
        ood_scores: likewise.
        found: each of `oodbench.statistics.honesty.FLAGS` as measured; not a number where it was not.
        id_extras: what the task left about each ID image, (N,) each.
        ood_extras: likewise, (M,).
    """
    before = _figures(id_scores, ood_scores)
    lowest = min(id_scores.min(), ood_scores.min()) - 1
    highest = max(id_scores.max(), ood_scores.max()) + 1

    def moved(id_rows: npt.NDArray[np.bool_], ood_rows: npt.NDArray[np.bool_], id_to: float, ood_to: float) -> Effect:
        after = _figures(np.where(id_rows, id_to, id_scores), np.where(ood_rows, ood_to, ood_scores))
        return Effect(abs(before.auroc - after.auroc), abs(after.fpr95 - before.fpr95))

    of_id, of_ood = honesty.flagged_images(id_extras), honesty.flagged_images(ood_extras)
    result: dict[str, Effect] = {}
    for name in of_id.keys() | of_ood.keys():
        rows = (of_id.get(name, np.zeros(len(id_scores), bool)), of_ood.get(name, np.zeros(len(ood_scores), bool)))
        if rows[0].any() or rows[1].any():
            # An image outside the ball moved further than the attack allows, so this flag makes the figure too low
            # instead of too high.
            result[name] = moved(*rows, highest, lowest) if name == "outside" else moved(*rows, lowest, highest)
    measured = {name: found[name] for name in honesty.FLAGS if not isnan(found[name])}
    if measured.get("ties"):
        result["ties"] = Effect(measured["ties"] / 2)
    if measured.get("unsteadiness"):
        shift = measured["unsteadiness"] * max(spread_of(id_scores), spread_of(ood_scores))
        after = _figures(id_scores - shift, ood_scores + shift)
        result["unsteadiness"] = Effect(before.auroc - after.auroc, after.fpr95 - before.fpr95)
    for name, gain in AT_LEAST.items():
        if gain in measured and max(measured.get(name, 0.0), measured[gain]) > 0:
            # Images may be moved further without passing one ID image more.
            result[name] = result[gain] = Effect(max(measured[gain], 0.0))
    if measured.get("outguessed"):
        result["outguessed"] = _of_a_share(measured["outguessed"], id_scores, ood_scores, before)
    raised = [name for name in ALL if name in measured and measured[name] > honesty.FLAGS[name].tolerated]
    return result | {name: Effect(before.auroc, 1 - before.fpr95) for name in raised}


def mean(several: list[dict[str, Effect]]) -> dict[str, Effect]:
    """Over OOD sets; a set on which a flag says nothing counts as nothing."""
    names = list(dict.fromkeys(name for one in several for name in one))

    def over(name: str, attribute: str) -> float:
        values = [getattr(one[name], attribute) if name in one else 0.0 for one in several]
        return fsum(values) / len(several)

    return {name: Effect(over(name, "auroc"), over(name, "fpr95")) for name in names}


def said(means: Mapping[str, float], effects: Mapping[str, Effect]) -> list[Said]:
    """What to say of measurements above what is tolerated: what was seen, what it does, what to believe; worst first.

    Args:
        means: of each of `oodbench.statistics.honesty.FLAGS`, over OOD sets.
        effects: of them, likewise; what a flag does that is not in it is not known.
    """
    found = []
    for name, phrase in honesty.warnings(means).items():
        effect = effects.get(name)
        size = ANYTHING if effect is None else float(np.fmax(effect.auroc, effect.fpr95))
        sized = "by how much a figure may be off is not known" if effect is None else _sized(name, effect)
        text = f"{phrase}; {sized}: {verdict(name, size)}"
        found.append(Said(text, size, belief(name, size), REMEDIES.get(name, "")))
    return sorted(found, key=lambda one: -one.effect)


def belief(name: str, size: float) -> str:
    """Which of `BELIEFS` is left of a number that a flag says may be off by `size`, a fraction."""
    if name == "outside":
        return NO
    if size <= BELIEVED:
        return WITHIN
    if name in AT_LEAST or name in AT_LEAST.values():
        return AT_MOST
    return WITHIN if size <= BOUND and name != "ties" else NO


def verdict(name: str, size: float) -> str:
    """The same in words."""
    left = belief(name, size)
    if left == NO:
        why = ", since the attack did more than its threat allows" if name == "outside" else ""
        return f"not to be believed{why}"
    if left == AT_MOST:
        return "an upper bound of how well the detector holds, and not the best one"
    bound = "" if size <= BELIEVED else ", as an upper bound of how well the detector holds"
    return f"to be believed within {points(size)}{bound}"


def mark(effect: float) -> str:
    """The sign beside a number that flags say may be off by `effect`, a fraction."""
    return "†" if effect <= BELIEVED else "‡"


MARKS = (
    "† flagged, and off by one point at most; ‡ flagged, and off by more or by nobody knows how much: read its FLAG "
    "before you believe it."
)
"""What the signs mean."""

REMEDIES: Mapping[str, str] = {
    "outside": "mend the attack, then --rerun all",
    "ties": "let score() answer in the log domain, where it does not saturate, then --rerun all",
    "unsteadiness": "put the network into evaluation mode, or let score() draw nothing by chance, then --rerun all",
    "gradient_error": "mend the way back through score(), then --rerun all",
    "gradient_missing": "take detach(), no_grad() and arrays out of the way from images to score(), then --rerun all",
    "broken": "mend the way back through score(), then --rerun all",
}
"""What helps where no other attack does."""


def _figures(id_scores: Floats, ood_scores: Floats) -> Effect:
    points = curve(id_scores, ood_scores)
    return Effect(float(auroc(points)), float(fpr95(points)))


def _of_a_share(share: float, id_scores: Floats, ood_scores: Floats, before: Effect) -> Effect:
    """If the images behind a share that was counted on some of them were those whose failure would matter most."""
    ordered = np.sort(id_scores)
    below, through = (np.searchsorted(ordered, ood_scores, side) for side in ("left", "right"))
    held = np.sort(1 - (below + through) / (2 * len(ordered)))[::-1]
    count = min(len(held), ceil(share * len(held)))
    return Effect(float(held[:count].sum() / len(held)), min(share, 1 - before.fpr95))


def _sized(name: str, effect: Effect) -> str:
    """The effect in words."""
    if name in AT_LEAST or name in AT_LEAST.values():
        return f"the AUROC is too high by {points(effect.auroc)} at least"
    if name == "ties":
        return f"the AUROC may be off by {points(effect.auroc)} to either side"
    higher, lower = ("lower", "higher") if name == "outside" else ("higher", "lower")
    words = f"the AUROC may be up to {points(effect.auroc)} {lower}"
    return words if isnan(effect.fpr95) else f"{words}, FPR@95 up to {points(effect.fpr95)} {higher}"


def points(size: float) -> str:
    """A fraction in percentage points."""
    return f"{100 * size:.2f} points"
