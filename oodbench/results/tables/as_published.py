"""Scores as a detector's paper prints them: as kept with a result, or derived from the score where they were not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from oodbench.results.tables.figures import Floats, Side

if TYPE_CHECKING:
    from oodbench.detector import Detector


def as_printed(detector: type[Detector] | None, sides: Sequence[Side]) -> tuple[list[Side], bool]:
    """Groups that are held against each other, their scores as the paper of `detector` prints them.

    Kept ones are taken only where all groups have them: those that are derived tie elsewhere.

    Args:
        detector: whose scores they are; None to leave them as they are.
        sides: with scores as they are stored.

    Returns:
        The groups, and whether the scores are derived though the detector says that its paper's are others.
    """
    if detector is None:
        return list(sides), False
    kept = all("published" in side.extras for side in sides)
    return [_printed(detector, side, kept) for side in sides], detector.has_published() and not kept


def _printed(detector: type[Detector], side: Side, kept: bool) -> Side:
    derived = detector.as_published(side.scores)
    return replace(
        side,
        scores=np.asarray(side.extras["published"]) if kept else derived,
        continued=None if side.continued is None else _continued(detector, side.continued),
        unrounded=derived,
    )


def _continued(detector: type[Detector], reached: Floats) -> Floats:
    """What images reached that were climbed on with is not kept as printed: it is held against what is derived."""
    return np.where(np.isnan(reached), np.nan, detector.as_published(reached))
