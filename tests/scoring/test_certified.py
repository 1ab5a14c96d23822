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


def test_a_bound_over_one_point_lies_above_the_score_by_rounding_alone():
    detector = MSP()
    fit([detector], build("small-cnn", 4, mean=(0.5,) * 3, std=(0.25,) * 3, seed=0).eval(), 4)
    pixels = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)
    images = ImageSet("noise", pixels, np.full(20, -1), "drawn")
    with torch.no_grad():
        scores = detector.score(as_input(torch.from_numpy(pixels).permute(0, 3, 1, 2))).numpy()
    bounds = score_certified(detector, images, Certified(epsilon=0), torch.device("cpu")).scores
    assert (bounds > scores).all()
    np.testing.assert_allclose(bounds, scores, rtol=1e-4, atol=1e-4)
