"""Flags of an attack: counted from what it left behind, said where they are many."""

from math import isnan

import numpy as np
import pytest

from oodbench import honesty
from oodbench.metrics import curve

APART = curve([1.0, 2.0], [-1.0, -2.0])


def test_shares_are_counted_per_image():
    extras = {
        "stuck": np.array([1.0, 0.0, 0.0, 0.0]),
        "objective_before": np.array([1.0, 2.0, 3.0, 4.0]),
        "objective_after": np.array([1.0, 2.5, 3.0, 4.5]),
    }
    assert honesty.shares(APART, extras) == {"stuck": 0.25, "unmoved": 0.5, "ties": 0.0}


def test_ties_are_counted_over_pairs_and_bracket_the_auroc():
    id_scores, ood_scores = [1.0, 1.0, 0.5, 0.2], [1.0, 0.5, 0.5, 0.1, 0.0]
    ties = honesty.shares(curve(id_scores, ood_scores), {})["ties"]
    assert ties == (2 * 1 + 1 * 2) / 20
    won = np.mean([[one >= other for other in ood_scores] for one in id_scores])
    lost = np.mean([[one > other for other in ood_scores] for one in id_scores])
    assert won - lost == pytest.approx(ties)


def test_a_task_that_leaves_nothing_is_not_flagged():
    shares = honesty.shares(APART, {})
    assert isnan(shares["stuck"])
    assert isnan(shares["unmoved"])
    assert honesty.warnings(shares) == []


def test_only_what_is_not_tolerated_is_said():
    assert honesty.warnings({"stuck": 0.01, "unmoved": 0.05, "ties": 0.001}) == []
    (said,) = honesty.warnings({"stuck": 0.71, "unmoved": 0.0, "ties": 0.0})
    assert said == "no gradient at the start of the attack on 71% of the images, so it stood still there"
