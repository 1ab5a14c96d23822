"""What charts are drawn from: against scikit-learn, and by counting."""

import numpy as np
import pytest
from sklearn.metrics import roc_curve

from oodbench.metrics import curve, evaluate, threshold_at_95
from oodbench.results.report.curves import BINS, TOLERANCE, histogram, roc


def sides(n_id=2000, n_ood=3000, gap=1.0, digits=3):
    generator = np.random.default_rng(0)
    return generator.normal(gap, size=n_id).round(digits), generator.normal(size=n_ood).round(digits)


@pytest.mark.parametrize("gap", [-2.0, 0.0, 1.0, 30.0])
@pytest.mark.parametrize("digits", [0, 6])
def test_a_thinned_roc_passes_by_every_point_of_scikit_learns(gap, digits):
    id_scores, ood_scores = sides(gap=gap, digits=digits)
    drawn = roc(curve(id_scores, ood_scores))
    labels = np.r_[np.ones(len(id_scores)), np.zeros(len(ood_scores))]
    x, y, _ = roc_curve(labels, np.r_[id_scores, ood_scores], drop_intermediate=False)
    corners = np.column_stack([drawn.accepted, drawn.kept])[::-1]
    assert corners[0].tolist() == [0, 0]
    assert corners[-1].tolist() == [1, 1]
    assert (np.diff(corners, axis=0) >= 0).all()
    assert {tuple(corner) for corner in corners.round(9)} <= set(zip(x.round(9), y.round(9), strict=True))
    assert max(_distance(corners, point) for point in zip(x, y, strict=True)) <= TOLERANCE
    assert len(corners) < 150


def _distance(corners, point):
    """From a point to a line through corners (N, 2)."""
    starts, ways = corners[:-1], np.diff(corners, axis=0)
    along = ((point - starts) * ways).sum(1) / np.maximum((ways**2).sum(1), 1e-300)
    feet = starts + np.clip(along, 0, 1)[:, None] * ways
    return np.hypot(*(feet - point).T).min()


def test_the_area_under_a_thinned_curve_is_the_auroc():
    id_scores, ood_scores = sides()
    drawn = roc(curve(id_scores, ood_scores))
    area = -np.trapezoid(drawn.kept, drawn.accepted)
    assert area == pytest.approx(evaluate(id_scores, ood_scores)["auroc"], abs=TOLERANCE)


def test_a_curve_of_one_threshold_keeps_its_ends():
    drawn = roc(curve([1.0, 1.0], [1.0]))
    assert (drawn.accepted, drawn.kept) == ([1, 0], [1, 0])


def test_what_passes_the_threshold_is_what_fpr95_counts():
    id_scores, ood_scores = sides(n_id=101)
    least = threshold_at_95(id_scores)
    assert np.mean(ood_scores >= least) == evaluate(id_scores, ood_scores)["fpr95"]
    assert np.mean(id_scores >= least) >= 0.95 > np.mean(id_scores > least)


def test_bars_hold_every_image_and_the_outermost_ones_the_tails():
    scores = np.r_[np.linspace(0, 1, 998), -1e9, 1e9]
    drawn = histogram({"id": scores, "ood": np.full(7, 0.5)})
    assert sum(drawn.counts["id"]) == 1000
    assert sum(drawn.counts["ood"]) == 7
    assert len(drawn.counts["id"]) == BINS
    assert 0 <= drawn.low < 0.01 < 0.99 < drawn.high <= 1
    assert max(drawn.counts["id"][1:-1]) - min(drawn.counts["id"][1:-1]) <= 2
    assert np.flatnonzero(drawn.counts["ood"]).tolist() == [BINS // 2]


@pytest.mark.parametrize("value", [0.0, -3.5, 1e20, 1e-300])
def test_scores_that_are_all_the_same_have_bars_too(value):
    drawn = histogram({"id": np.full(4, value), "ood": np.full(5, value)})
    assert drawn.low < value < drawn.high
    assert (sum(drawn.counts["id"]), sum(drawn.counts["ood"])) == (4, 5)


def test_id_scores_fill_several_bars_however_far_away_ood_is():
    drawn = histogram({"id": np.linspace(0, 1, 1001), "ood": np.linspace(-1e6, 0, 100)})
    assert drawn.low == pytest.approx(0.005 - 4 * 0.99)
    assert np.count_nonzero(drawn.counts["id"]) >= BINS // 6
    assert drawn.counts["ood"][0] >= 99
