"""Scores as a detector's paper prints them: as kept with a result, or derived from the score where they were not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from oodbench.basics.arrays import Floats
from oodbench.results.tables.figures import Side

if TYPE_CHECKING:
    from oodbench.detector import Detector


def published_sides(detector: type[Detector] | None, sides: Sequence[Side]) -> tuple[list[Side], bool]:
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
    are_stored = all("published" in side.extras for side in sides)
    return [_published_side(detector, side, are_stored) for side in sides], detector.has_published() and not are_stored


def _published_side(detector: type[Detector], side: Side, are_stored: bool) -> Side:
    derived = detector.as_published(side.scores)
    return replace(
        side,
        scores=np.asarray(side.extras["published"]) if are_stored else derived,
        continued=None if side.continued is None else _published_continued(detector, side.continued),
        unrounded=derived,
    )


def _published_continued(detector: type[Detector], reached: Floats) -> Floats:
    """The scores of images that were climbed on with, derived, since they are not stored as printed."""
    return np.where(np.isnan(reached), np.nan, detector.as_published(reached))
