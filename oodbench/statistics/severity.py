"""The severity of a flag: how far off a number may be, by the scores themselves, and whether to believe it.

An image on which an attack failed might have passed every ID image otherwise: giving just those images the highest
score bounds what the failure hides. The effect of another attack is no bound but a measurement: the number is off by
that much at least.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, fsum, isnan, nan

import numpy as np
import numpy.typing as npt

from oodbench.basics.arrays import Floats
from oodbench.metrics import auroc, curve, fpr95
from oodbench.statistics import honesty
from oodbench.statistics.repeatability import spread_of

Extras = Mapping[str, npt.NDArray[np.float64] | npt.NDArray[np.uint8]]

AT_LEAST = {"unconverged": "unconverged", "steps": "steps", "square": "square_gain", "transfer": "transfer_gain"}
"""Flags of other attacks that did more damage, and the measurement of how much the AUROC falls with them."""

UNBOUNDED_FLAGS = ("gradient_error", "gradient_missing", "unbounded", "unbounded_auroc", "radii")
"""Flags of an attack that was blind to the score: nothing bounds what it missed."""

UNKNOWN_ERROR = 1.0
"""The error of a figure whose error is not known."""

BELIEVED, BOUND = 0.01, 0.05
"""Errors up to which a number is believed, and up to which it is still informative."""


NO, AT_MOST, WITHIN = "no", "at most", "within"
BELIEFS: Mapping[str, str] = {
    NO: "not to be believed, may be off by",
    AT_MOST: "too good, the true value is worse by at least",
    WITHIN: "to be believed within",
}
"""What is left of a flagged number, the worst first; a number of points follows in texts."""


@dataclass(frozen=True)
class Effect:
    """How far off the AUROC and the FPR@95 may be by a flag, as fractions; NaN where that is not known.

    Attributes:
        auroc: of the AUROC.
        fpr95: of the FPR@95.
    """

    auroc: float
    fpr95: float = nan


@dataclass(frozen=True)
class FlagStatement:
    """What is reported of one number: a text, its largest error as a fraction, one of `BELIEFS`, and a remedy."""

    text: str
    effect: float
    belief: str
    remedy: str = ""


@dataclass(frozen=True)
class SetFlags:
    """The flags of one OOD set.

    Attributes:
        values: each of `oodbench.statistics.honesty.FLAGS` as measured; not a number where it was not.
        effects: of the flags, by name; the effect of a flag that is missing is not known.
    """

    values: Mapping[str, float]
    effects: Mapping[str, Effect]


def flag_effects(
    id_scores: Floats,
    ood_scores: Floats,
    found: Mapping[str, float],
    id_extras: Extras,
    ood_extras: Extras,
    outguessed: tuple[float, float] = (nan, nan),
) -> dict[str, Effect]:
    """The effect of each flag on the numbers of ID scores (N,) against OOD scores (M,), by its name.

    A flag without an effect is left out.

    Args:
        id_scores: attacked where ID images are.
        ood_scores: likewise.
        found: each of `oodbench.statistics.honesty.FLAGS` as measured; not a number where it was not.
        id_extras: what the task left about each ID image, (N,) each.
        ood_extras: likewise, (M,).
        outguessed: share of the ID images, and of the OOD images, on which a guess beats the attack; not a number
            where they were not attacked.
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
        # Counted on a sample: the failing images may be those whose failure matters most.
        of_id_share, of_ood_share = (0.0 if isnan(share) else share for share in outguessed)
        result["outguessed"] = moved(
            _highest(id_scores, of_id_share), _highest(-ood_scores, of_ood_share), lowest, highest
        )
    raised = [name for name in UNBOUNDED_FLAGS if name in measured and measured[name] > honesty.FLAGS[name].tolerated]
    return result | {name: Effect(before.auroc, 1 - before.fpr95) for name in raised}


def mean_effect(name: str, sets: Sequence[SetFlags]) -> Effect | None:
    """The mean effect of a flag on the figures of OOD sets, of which those without an effect count as 0.

    None where it is not known of a set on which the flag is raised.
    """
    if any(name not in one.effects for one in sets if honesty.is_raised(name, one.values)):
        return None
    effects = [one.effects.get(name, Effect(0.0, 0.0)) for one in sets]
    return Effect(
        fsum(effect.auroc for effect in effects) / len(sets), fsum(effect.fpr95 for effect in effects) / len(sets)
    )


def flag_statements(sets: Sequence[SetFlags]) -> list[FlagStatement]:
    """Report measurements above their tolerance: what was seen, its effect, and what to believe; the worst first.

    An attack may fail on one OOD set alone, so a flag is raised for the mean over sets where it is for any of them.

    Args:
        sets: the flags of each OOD set behind a figure.
    """
    statements = []
    for name, phrase in honesty.flag_texts([one.values for one in sets]).items():
        effect = mean_effect(name, sets)
        size = UNKNOWN_ERROR if effect is None else float(np.fmax(effect.auroc, effect.fpr95))
        sized = "by how much a figure may be off is not known" if effect is None else _sized(name, effect)
        text = f"{phrase}; {sized}: {verdict(name, size)}"
        statements.append(FlagStatement(text, size, belief(name, size), REMEDIES.get(name, "")))
    return sorted(statements, key=lambda statement: -statement.effect)


def belief(name: str, size: float) -> str:
    """The one of `BELIEFS` that is left of a number that may be off by `size`, a fraction, by a flag."""
    if name == "outside":
        return NO
    if size <= BELIEVED:
        return WITHIN
    if name in AT_LEAST or name in AT_LEAST.values():
        return AT_MOST
    return WITHIN if size <= BOUND and name != "ties" else NO


def verdict(name: str, size: float) -> str:
    """The belief that is left, in words."""
    left = belief(name, size)
    if left == NO:
        why = ", since the attack did more than its threat allows" if name == "outside" else ""
        return f"not to be believed{why}"
    if left == AT_MOST:
        return "an upper bound of how well the detector holds, and not the best one"
    bound = "" if size <= BELIEVED else ", as an upper bound of how well the detector holds"
    return f"to be believed within {points_text(size)}{bound}"


def mark(effect: float) -> str:
    """The sign beside a number that may be off by `effect`, a fraction, by its flags."""
    return "†" if effect <= BELIEVED else "‡"


MARKS = (
    "† flagged, and off by one point at most; ‡ flagged, and off by more or by nobody knows how much: read its FLAG "
    "before you believe it."
)
"""The legend of the signs."""

REMEDIES: Mapping[str, str] = {
    "outside": "mend the attack, then --rerun all",
    "ties": "let score() answer in the log domain, where it does not saturate, then --rerun all",
    "unsteadiness": "put the network into evaluation mode, or let score() draw nothing by chance, then --rerun all",
    "gradient_error": "in a detector of your own mend the way back through score(), then --rerun all",
    "gradient_missing": "in a detector of your own take detach(), no_grad() and arrays out of the way from images to "
    "score(), then --rerun all",
    "broken": "in a detector of your own mend the way back through score(), then --rerun all",
}
"""Advice for flags that no other attack settles."""


def _figures(id_scores: Floats, ood_scores: Floats) -> Effect:
    points = curve(id_scores, ood_scores)
    return Effect(float(auroc(points)), float(fpr95(points)))


def _highest(scores: Floats, share: float) -> npt.NDArray[np.bool_]:
    """Mark the images with the highest of some scores (N,), as many as a share of them comes to, rounded up."""
    marked = np.zeros(len(scores), bool)
    marked[np.argsort(-scores, kind="stable")[: ceil(share * len(scores))]] = True
    return marked


def _sized(name: str, effect: Effect) -> str:
    """The effect in words."""
    if name in AT_LEAST or name in AT_LEAST.values():
        return f"the AUROC is too high by {points_text(effect.auroc)} at least"
    if name == "ties":
        return f"the AUROC may be off by {points_text(effect.auroc)} to either side"
    higher, lower = ("lower", "higher") if name == "outside" else ("higher", "lower")
    words = f"the AUROC may be up to {points_text(effect.auroc)} {lower}"
    return words if isnan(effect.fpr95) else f"{words}, FPR@95 up to {points_text(effect.fpr95)} {higher}"


def points_text(size: float) -> str:
    """A fraction in percentage points."""
    return f"{100 * size:.2f} points"
