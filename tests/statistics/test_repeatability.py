"""Second looks: who is looked at again, and what counts as a change."""

import numpy as np
import pytest
import torch

from oodbench.detector import Detector
from oodbench.images.imageset import ImageSet
from oodbench.scoring.batches import Purpose
from oodbench.scoring.clean import score_versions
from oodbench.scoring.fitting import fit
from oodbench.statistics.repeatability import change_between_looks, second_looks, spread_of
from oodbench.tasks.versions import Versions


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 63, 64, 65, 1000])
def test_each_image_once_at_even_distances_in_groups_of_several(count):
    groups = second_looks(count)
    rows = np.sort(np.concatenate(groups))
    assert len(rows) == len(set(rows)) == min(count, 64)
    assert rows[0] == 0
    assert np.ptp(np.diff(rows)) <= 1 if len(rows) > 1 else True
    assert rows[-1] >= count - 1 - count // 64
    assert all(len(group) > 1 for group in groups) or count < 4


def test_a_change_is_measured_against_the_spread_and_rounding_is_none():
    scores = np.array([0.0, 1.0, 2.0, 3.0, 4.0])
    assert spread_of(scores) == 2
    assert change_between_looks(scores, np.array([0.0, 1.0, 2.5, 3.0, 3.9]), 2.0) == 0.25
    assert change_between_looks(scores, scores + 3e-6, 2.0) == 0
    # Most of a saturated softmax is one value, and the quartiles lie on it.
    saturated = np.r_[np.ones(90), np.linspace(0.1, 0.9, 10)]
    assert spread_of(saturated) == np.std(saturated)
    assert change_between_looks(saturated, saturated - 6e-8, spread_of(saturated)) == 0


class OfItsBatch(Detector):
    name, paper = "of-its-batch", "none"

    def score_representation(self, representation):
        brightness = representation.features.sum(1)
        return (brightness - self.share * brightness.mean()).double()


class ByChance(Detector):
    name, paper = "by-chance", "none"

    def score_representation(self, representation):
        brightness = representation.features.sum(1).double()
        return brightness + 0.01 * torch.randn(len(brightness), dtype=torch.float64)


@pytest.mark.parametrize("versions", [Versions(), Versions(types=("contrast",), severities=(1,))])
def test_a_score_that_depends_on_its_batch_or_on_chance_is_told_from_one_that_does_not(toy, versions):
    steady, company, chance = OfItsBatch(), OfItsBatch(), ByChance()
    steady.share, company.share = 0.0, 0.5
    fit(detectors := [steady, company, chance], toy("out3"), 3)
    pixels = np.random.default_rng(0).integers(0, 256, (150, 4, 4, 3), np.uint8)
    images = ImageSet("drawn", pixels, np.zeros(150, np.int64), "drawn")
    scored = score_versions(detectors, images, versions, Purpose(1, "drawn"), torch.device("cpu"))
    of_steady, of_company, of_chance = (one.checks["unsteadiness"] for one in scored)
    assert of_steady == 0
    assert 0.01 < of_company < 1
    assert 0.001 < of_chance < 1
