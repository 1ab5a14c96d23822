"""Checks an attack thoroughly: what other attacks would have reached on some of its images."""

from collections.abc import Iterable, Mapping
from functools import partial
from itertools import pairwise
from math import inf, nan

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from oodbench.attacks.adam import adam
from oodbench.attacks.apgd import apgd
from oodbench.attacks.ascent import Ascent
from oodbench.attacks.checks import Attacked, is_beaten
from oodbench.attacks.square import square
from oodbench.basics.gradient import PerImage
from oodbench.basics.memory import Portions
from oodbench.basics.passes import Passes
from oodbench.basics.randomness import generators_per_image
from oodbench.images.tensors import channels_first
from oodbench.networks.network import as_input, batch_size

THOROUGH_IMAGES = 100
"""Images of a set on which an attack is checked thoroughly."""

LONG_CLIMB, SHORT_CLIMB = 500, 100
"""Iterations of the climbs that are compared."""

SQUARE_QUERIES = 5000
"""Queries of random search."""

OTHER_RADII = (0.25, 0.5, 2.0)
"""Radii at which the score is climbed besides the attack's own, as shares of that."""

UNBOUNDED_TARGET = 0.999
"""Share of the ID scores that an unbounded climb tries to pass."""

THOROUGH = Passes(forward=SQUARE_QUERIES) + Passes(1, 1) * (2 * (LONG_CLIMB + (2 + len(OTHER_RADII)) * SHORT_CLIMB))
"""The approximate cost of `check_thoroughly` for each of its images."""


def beaten_share(others: Tensor, reached: Tensor, enough: float) -> float:
    """The share of the images on which `is_beaten` holds; arguments as there."""
    return float(is_beaten(others, reached, enough).double().mean())


class IDRanks:
    """Ranks scores among ID scores: the share of ID images that a score passes is its damage to the AUROC.

    Args:
        id_scores: (M,), clean.
    """

    def __init__(self, id_scores: npt.NDArray[np.float64]) -> None:
        self._sorted = np.sort(id_scores)

    def share_passed(self, scores: Tensor) -> npt.NDArray[np.float64]:
        """The share of the ID scores that each of `scores` (N,) is above; an equal one counts half, as in the AUROC."""
        values = scores.double().cpu().numpy()
        below, through = (np.searchsorted(self._sorted, values, side) for side in ("left", "right"))
        return (below + through) / (2 * len(self._sorted))

    def gain(self, others: Tensor, reached: Tensor) -> float:
        """The fall of the AUROC if the score `others` (N,) replaces `reached` (N,) where it does more damage."""
        return float(np.maximum(self.share_passed(others) - self.share_passed(reached), 0).mean())


def check_thoroughly(attacked: Attacked, id_scores: npt.NDArray[np.float64]) -> Mapping[str, float]:
    """Measure what other attacks would have reached; on request, since they cost much.

    Args:
        attacked: the attack that is checked.
        id_scores: (M,), clean.

    Returns:
        unbounded: share of the images that pass the ID median when everything is allowed.
        unbounded_auroc: what is left of the AUROC then.
        radii: by how much the AUROC rises where it rises most from one radius to the next larger one.
        steps: how much more of the ID scores the images pass after 500 iterations than after 100, on average.
        square: share of the images on which random search without gradients, 5,000 queries, beats the attack.
        square_gain: by how much the AUROC would be lower with what that found.
    """
    ranks = IDRanks(id_scores)
    target = float(np.quantile(id_scores, UNBOUNDED_TARGET, method="higher"))
    parts = list(Portions().each(len(attacked.before), lambda rows: _climb_scores(attacked.part(rows), target)))
    reached, free, short, long, blind = (torch.cat([part[name] for part in parts]) for name in CLIMBS)
    over_radii = {share: torch.cat([part[_radius_name(share)] for part in parts]) for share in OTHER_RADII}
    over_radii[1.0] = short
    damage = [ranks.share_passed(over_radii[share]).mean() for share in sorted(over_radii)]
    return {
        "unbounded": float((free >= float(np.median(id_scores))).double().mean()),
        "unbounded_auroc": float(1 - ranks.share_passed(free).mean()),
        "radii": float(max(less - more for less, more in pairwise(damage))),
        "steps": float((ranks.share_passed(long) - ranks.share_passed(short)).mean()),
        "square": beaten_share(blind, reached, attacked.goal.enough),
        "square_gain": ranks.gain(blind, reached),
    }


CLIMBS = ("reached", "free", "short", "long", "blind")
"""Names of the scores that `check_thoroughly` compares: after the attack, and of each climb but at `OTHER_RADII`."""


def _radius_name(share: float) -> str:
    """The name of the climb at a share of the attack's radius."""
    return f"at {share:g}"


def _climb_scores(attacked: Attacked, target: float) -> Mapping[str, Tensor]:
    """Scores (N,) by name: after the attack ("reached"), and the highest that each climb finds.

    The unbounded climb stops at the score `target`.
    """
    goal, images, epsilon, ball = attacked.goal, attacked.before, attacked.epsilon, attacked.ball
    size = batch_size(images.device, images.shape[-1])

    def climbed(radius: float, iterations: int, enough: float = inf) -> Tensor:
        """The highest scores (N,) that two rules of ascent reach, each in that many iterations."""
        score = goal.score_for_climb(f"check/{attacked.purpose}")
        both = [
            final_scores(
                rule(score, images, epsilon=radius, iterations=iterations, batch=size, enough=enough, ball=ball)
            )
            for rule in (apgd, adam)
        ]
        return torch.maximum(*both)

    def final_scores(found: Ascent) -> Tensor:
        """The scores (N,) that a climb reached; of a random score by draws that the climb did not see."""
        if goal.expected is None:
            return found.after
        with torch.no_grad():
            return torch.cat([goal.score(part) for part in torch.split(found.images, size)]).double()

    with torch.no_grad():
        reached = torch.cat([goal.score(part) for part in torch.split(attacked.after, size)])
    widest = ball.covering_radius(images)
    by_chance = square(
        goal.score_for_climb(f"square check/{attacked.purpose}"),
        images,
        epsilon=epsilon,
        queries=SQUARE_QUERIES,
        generators=generators_per_image(attacked.indices, "square check", attacked.purpose),
        ball=ball,
    )
    return {
        "reached": reached,
        "free": climbed(widest, SHORT_CLIMB, enough=target),
        "short": climbed(epsilon, SHORT_CLIMB),
        "long": climbed(epsilon, LONG_CLIMB),
        "blind": final_scores(by_chance),
        **{_radius_name(share): climbed(min(share * epsilon, widest), SHORT_CLIMB) for share in OTHER_RADII},
    }


def transfer_checks(
    score: PerImage,
    attacked: npt.NDArray[np.uint8],
    donors: Iterable[npt.NDArray[np.uint8]],
    id_scores: npt.NDArray[np.float64],
    enough: float,
    device: torch.device,
) -> Mapping[str, float]:
    """Measure whether images attacked for other detectors would have done more damage.

    Args:
        score: of the detector that the images are tried on.
        attacked: uint8 (N, H, W, C), images attacked for this detector.
        donors: the same images as they were attacked for other detectors.
        id_scores: clean, of this detector.
        enough: a score beyond which a higher one changes next to nothing.
        device: where it runs.

    Returns:
        transfer: share of the images on which one of the donors scores higher.
        transfer_gain: by how much the AUROC would be lower with them.

        Neither is a number without donors.
    """
    portions = Portions()

    def score_part(pixels: Tensor, rows: slice) -> Tensor:
        return score(as_input(pixels[rows]))

    def score_all(images: npt.NDArray[np.uint8]) -> Tensor:
        pixels = channels_first(images, device)
        with torch.no_grad():
            parts = torch.split(pixels, batch_size(device, pixels.shape[-1]))
            works = [(len(part), partial(score_part, part)) for part in parts]
            return torch.cat([scores for count, work in works for scores in portions.each(count, work)])

    best: Tensor | None = None
    for donor in donors:
        scores = score_all(donor)
        best = scores if best is None else torch.maximum(best, scores)
    if best is None:
        return {"transfer": nan, "transfer_gain": nan}
    reached = score_all(attacked)
    return {"transfer": beaten_share(best, reached, enough), "transfer_gain": IDRanks(id_scores).gain(best, reached)}
