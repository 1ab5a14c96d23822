"""Bounds of scores over balls: never below the score that they bound, however small the ball."""

import numpy as np
import torch

from oodbench.detectors.msp import MSP
from oodbench.images.imageset import ImageSet
from oodbench.networks import build
from oodbench.networks.network import as_input
from oodbench.scoring.certified import score_certified
from oodbench.scoring.fitting import fit
from oodbench.tasks import Certified

IMAGES = ImageSet(
    "noise",
    np.random.default_rng(0).integers(10, 246, (20, 32, 32, 3), dtype=np.uint8),  # no ball is cut at black or white
    np.full(20, -1),
    "drawn",
)


class Stepping(MSP):
    """It moves every pixel by up to two levels before it scores, as ODIN does."""

    def widening(self):
        return 2 / 255


def fitted(detector):
    fit([detector], build("small-cnn", 4, mean=(0.5,) * 3, std=(0.25,) * 3, seed=0).eval(), 4)
    return detector


def bounds(detector, epsilon):
    return score_certified(fitted(detector), IMAGES, Certified(epsilon=epsilon), torch.device("cpu")).scores


def test_a_bound_over_one_point_lies_above_the_score_by_rounding_alone():
    with torch.no_grad():
        scores = fitted(MSP()).score(as_input(torch.from_numpy(IMAGES.images).permute(0, 3, 1, 2))).numpy()
    over_a_point = bounds(MSP(), 0)
    assert (over_a_point > scores).all()
    np.testing.assert_allclose(over_a_point, scores, rtol=1e-4, atol=1e-4)


def test_what_a_detector_moves_pixels_by_widens_the_ball():
    np.testing.assert_allclose(bounds(Stepping(), 1), bounds(MSP(), 3))
    assert (bounds(MSP(), 3) > bounds(MSP(), 1)).all()
