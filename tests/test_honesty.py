"""Flags of an attack: counted from what it left behind, said where they are many."""

from math import isnan

import numpy as np

from oodbench import honesty


def test_shares_are_counted_per_image():
    extras = {
        "stuck": np.array([1.0, 0.0, 0.0, 0.0]),
        "objective_before": np.array([1.0, 2.0, 3.0, 4.0]),
        "objective_after": np.array([1.0, 2.5, 3.0, 4.5]),
    }
    assert honesty.shares(extras) == {"stuck": 0.25, "unmoved": 0.5}


def test_a_task_that_leaves_nothing_is_not_flagged():
    shares = honesty.shares({})
    assert all(isnan(share) for share in shares.values())
    assert honesty.warnings(shares) == []


def test_only_what_is_not_tolerated_is_said():
    assert honesty.warnings({"stuck": 0.01, "unmoved": 0.05}) == []
    (said,) = honesty.warnings({"stuck": 0.71, "unmoved": 0.0})
    assert said == "no gradient at the start of the attack on 71% of the images, so it stood still there"
