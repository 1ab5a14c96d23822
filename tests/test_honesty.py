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
    found = honesty.measured(APART, extras, {})
    assert {name: found[name] for name in ("stuck", "unmoved", "ties")} == {"stuck": 0.25, "unmoved": 0.5, "ties": 0.0}


def test_ties_are_counted_over_pairs_and_bracket_the_auroc():
    id_scores, ood_scores = [1.0, 1.0, 0.5, 0.2], [1.0, 0.5, 0.5, 0.1, 0.0]
    ties = honesty.measured(curve(id_scores, ood_scores), {}, {})["ties"]
    assert ties == (2 * 1 + 1 * 2) / 20
    won = np.mean([[one >= other for other in ood_scores] for one in id_scores])
    lost = np.mean([[one > other for other in ood_scores] for one in id_scores])
    assert won - lost == pytest.approx(ties)


def test_a_task_that_leaves_nothing_is_not_flagged():
    shares = honesty.measured(APART, {}, {})
    assert isnan(shares["stuck"])
    assert isnan(shares["unmoved"])
    assert honesty.warnings(shares) == []


def test_checks_come_from_the_attributes():
    found = honesty.measured(APART, {}, {"check_square": 0.02, "check_unbounded": 0.9, "hardware": "cpu"})
    assert found["square"] == 0.02
    assert len(honesty.warnings(found)) == 2
    assert "climbed on 90% of the images only" in honesty.warnings(found)[0]


def test_only_what_is_not_tolerated_is_said():
    quiet = {name: flag.tolerated for name, flag in honesty.FLAGS.items()}
    assert honesty.warnings(quiet) == []
    (said,) = honesty.warnings({**quiet, "stuck": 0.71})
    assert said == "no gradient at the start of the attack on 71% of the images, so it stood still there"


def test_of_two_attacks_the_worse_counts():
    one, other = dict.fromkeys(honesty.FLAGS, float("nan")), dict.fromkeys(honesty.FLAGS, 0.1)
    assert honesty.worse(one, other) == other
    assert honesty.worse(one | {"stuck": 0.2}, other)["stuck"] == 0.2
