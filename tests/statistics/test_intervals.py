"""Intervals: known ones, what none may do, and how often they hold the truth."""

from math import isnan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtr
from scipy.stats import beta, binomtest

from oodbench.basics.errors import OodbenchError
from oodbench.metrics import CONVENTIONS, METRICS, CleanThreshold, accuracy, evaluate
from oodbench.statistics.intervals import accuracy_interval, at_clean_threshold, intervals, share_interval

scores = st.lists(st.floats(-5, 5).map(lambda value: round(value, 1)), min_size=1, max_size=40)
conventions = st.sampled_from(sorted(CONVENTIONS))


@pytest.mark.parametrize(("count", "total"), [(0, 50), (1, 50), (17, 40), (50, 50), (0, 1), (9_990, 10_000)])
def test_a_share_has_the_exact_binomial_interval(count, total):
    exact = binomtest(count, total).proportion_ci(0.95, "exact")
    assert share_interval(count, total) == pytest.approx((exact.low, exact.high), abs=1e-9)


def test_accuracy_is_a_share_of_the_images_with_a_label():
    predictions, labels = np.array([0, 1, 2, 2, 0]), np.array([0, 1, 1, 2, -1])
    assert accuracy_interval(predictions, labels) == share_interval(3, 4)
    assert all(map(isnan, accuracy_interval(predictions, np.full(5, -1))))


def test_a_prediction_of_no_class_is_wrong_unless_none_names_a_class():
    predictions, labels = np.repeat([0, -1], 50), np.zeros(100, int)
    low, high = accuracy_interval(predictions, labels)
    assert low <= accuracy(predictions, labels) == 0.5 <= high
    assert (low, high) == share_interval(50, 100)
    assert all(map(isnan, accuracy_interval(np.full(100, -1), labels)))


def test_a_fixed_threshold_is_binomial():
    # Ten of forty OOD images lie above -0.5; no ID image has anything to do with it.
    ood = [-0.5] * 30 + [0.0] * 10
    found = intervals([0.0, 1.0, 2.0], ood, "published", operating_point=-0.5)
    assert found["fpr95"] == share_interval(10, 40)
    assert intervals([-9.0], [0.0] * 40, "published", operating_point=-0.5)["fpr95"] == share_interval(40, 40)


def test_where_the_threshold_does_not_matter_a_fpr95_is_binomial():
    # Wherever the true threshold lies among ID scores, the same ten of forty OOD images are above it.
    found = intervals(np.linspace(0, 1, 1000), [-1.0] * 30 + [2.0] * 10)
    assert found["fpr95"] == pytest.approx(share_interval(10, 40), abs=1e-6)
    turned = intervals([1.0] * 30 + [-2.0] * 10, np.linspace(-1, 0, 1000))
    assert turned["fpr95_oodpos"] == pytest.approx(share_interval(10, 40), abs=1e-6)


def test_a_few_id_images_do_not_say_where_their_five_percent_lie():
    # With 20 ID images, none may lie below the true threshold (0.95^20 = 36 %), so it may lie below all OOD images.
    assert intervals(np.arange(20.0), np.arange(-50.0, -10))["fpr95"] == (0, 1)


def test_binary_scores_have_half_the_share_for_an_auroc():
    # All ID images score 1; OOD images that score 1, too, cost half a point each: 1 - share / 2, between the exact
    # interval of the share and a bit more for ID images that could have scored 0.
    low, high = intervals([1.0] * 10_000, [1.0] * 10 + [0.0] * 90)["auroc"]
    least, most = share_interval(10, 100)
    assert 1 - most / 2 - 0.02 < low < 1 - most / 2 + 0.005
    assert 1 - least / 2 - 0.005 < high < 1 - least / 2 + 0.02


@settings(max_examples=100, deadline=None)
@given(scores, scores, conventions)
def test_every_interval_has_a_width_and_holds_the_value(id_scores, ood_scores, convention):
    found, values = intervals(id_scores, ood_scores, convention), evaluate(id_scores, ood_scores, convention)
    assert list(found) == list(values)
    for name, (low, high) in found.items():
        assert 0 <= low <= values[name] + 1e-12, name
        assert values[name] - 1e-12 <= high <= 1, name
        assert high - low > 0.01, name  # at most 40 images a side


def test_a_detection_error_by_hand():
    """One of nine ID images lies among the OOD images and one of nine OOD images among the ID images.

    With one good image more of each kind, 1 / 10 of both lie on the wrong side of the threshold between the two scores;
    with a bad one more, 2 / 10. No other threshold could be the best one. The variance of either share is
    share * (1 - share) / 11, a quarter of both makes that of the error, and the beta distribution of that mean and
    variance is the one of 21 images.
    """
    low, high = intervals([0.0] + [1.0] * 8, [0.0] * 8 + [1.0])["detection_error"]
    assert low == pytest.approx(beta(2.1, 18.9).ppf(0.025))
    assert high == pytest.approx(beta(4.2, 16.8).ppf(0.975))


@pytest.mark.parametrize("convention", sorted(CONVENTIONS))
def test_an_interval_holds_the_value_exactly_and_no_error_beyond_that_of_rejecting_all(convention):
    generator = np.random.default_rng(0)
    for _ in range(100):
        sizes = generator.integers(1, 12, 2)
        ids, ood = (
            np.round(generator.normal(shift, 1, size) * 2) / 2 for shift, size in zip((1, 0), sizes, strict=True)
        )
        values, ends = evaluate(ids, ood, convention), intervals(ids, ood, convention)
        for name, (low, high) in ends.items():
            assert 0 <= low <= values[name] <= high <= 1, (name, ids, ood)
        id_weight = sizes[0] / sizes.sum() if convention == "published" else 0.5
        assert ends["detection_error"][1] <= min(id_weight, 1 - id_weight) + 1e-12


EXTREMES = {
    "apart": (np.arange(100.0, 300), np.arange(100.0)),
    "reversed": (np.arange(100.0), np.arange(100.0, 300)),
    "one score": (np.ones(200), np.ones(100)),
    "one each": (np.ones(1), np.zeros(1)),
    "two scores": (np.ones(200), np.zeros(100)),
    "saturated": (np.repeat([1.0, 0.5], 100), np.repeat([1.0, 0.0], 50)),
}


@pytest.mark.parametrize("convention", sorted(CONVENTIONS))
@pytest.mark.parametrize("case", EXTREMES)
def test_no_interval_is_a_point(case, convention):
    for name, (low, high) in intervals(*EXTREMES[case], convention).items():
        assert np.isfinite([low, high]).all(), name
        assert high - low > 0.001, name


@pytest.mark.parametrize("convention", sorted(CONVENTIONS))
def test_only_the_order_of_scores_matters(convention):
    generator = np.random.default_rng(1)
    id_scores, ood_scores = np.round(generator.normal(1, 1, 80), 1), np.round(generator.normal(0, 1, 60), 1)
    assert intervals(id_scores, ood_scores, convention) == intervals(np.exp(id_scores), np.exp(ood_scores), convention)
    shuffled = generator.permutation(id_scores), generator.permutation(ood_scores)
    assert intervals(*shuffled, convention) == intervals(id_scores, ood_scores, convention)


@settings(max_examples=50, deadline=None)
@given(scores, scores)
def test_turning_everything_round_exchanges_in_and_out(id_scores, ood_scores):
    one = intervals(id_scores, ood_scores)
    other = intervals([-value for value in ood_scores], [-value for value in id_scores])
    for ours, theirs in [("aupr_in", "aupr_out"), ("fpr95", "fpr95_oodpos"), ("auroc", "auroc")]:
        assert one[ours] == pytest.approx(other[theirs], abs=1e-9)
        assert one[theirs] == pytest.approx(other[ours], abs=1e-9)
    assert one["detection_error"] == pytest.approx(other["detection_error"], abs=1e-9)


def test_more_images_say_more():
    def widths(count):
        grid = (np.arange(count) + 0.5) / count
        found = intervals(4 * grid + 1, 4 * grid)
        return np.array([high - low for low, high in found.values()])

    # A hundred times the images, a tenth of the width, and less where a few images leave much open.
    assert (widths(10_000) < 0.16 * widths(100)).all()
    assert (widths(10_000) > 0.03 * widths(100)).all()


def test_refuses_what_evaluate_refuses():
    with pytest.raises(OodbenchError, match="did you mean 'published'"):
        intervals([1.0], [0.0], "publised")
    with pytest.raises(OodbenchError, match="OOD scores hold NaN"):
        intervals([1.0], [float("nan")])


def rare(generator):
    """500 ID images, 50 OOD images of which 1 % look like ID."""
    like_id = generator.random(50) < 0.01
    return generator.normal(0, 1, 500), np.where(like_id, generator.normal(0, 1, 50), -9.0)


def overlapping(generator):
    return generator.normal(2, 1, 100), generator.normal(0, 1, 60)


def tied(generator):
    return np.round(generator.normal(2, 1, 100)), np.round(generator.normal(0, 1, 100))


PHI_2_95 = float(ndtr(2 - 1.6448536))
TRUTHS = {
    # 5 % of ID below the threshold: 1 % x 95 % of OOD above. AUROC: 1 % of OOD are as good as ID.
    rare: {"fpr95": 0.0095, "auroc": 0.995, "detection_error": 0.005},
    # Sets d = 2 deviations apart: FPR@95 1 - Phi(d - 1.645), AUROC Phi(d / sqrt 2), least error Phi(-d / 2).
    overlapping: {
        "fpr95": 1 - PHI_2_95,
        "fpr95_oodpos": 1 - PHI_2_95,
        "auroc": ndtr(2**0.5),
        "detection_error": ndtr(-1),
    },
    # Rounded to whole numbers: 6.7 % of ID lie below 0.5, 0.6 % below -0.5; so all OOD from there on are accepted.
    tied: {"fpr95": ndtr(0.5), "fpr95_oodpos": ndtr(0.5), "detection_error": (ndtr(-0.5) + ndtr(-1.5)) / 2},
}


@pytest.mark.parametrize("draw", TRUTHS, ids=lambda draw: draw.__name__)
def test_the_truth_is_inside_as_often_as_stated(draw):
    generator = np.random.default_rng(14)
    drawn = [intervals(*draw(generator)) for _ in range(300)]
    for name, truth in TRUTHS[draw].items():
        hits = sum(low - 1e-9 <= truth <= high + 1e-9 for low, high in (found[name] for found in drawn))
        assert hits >= 0.93 * 300 - 2 * (300 * 0.93 * 0.07) ** 0.5, name
    assert set(METRICS) == set(drawn[0])


def test_shares_at_a_clean_threshold_have_the_interval_of_their_convention():
    clean, attacked = np.linspace(0, 1, 200), np.linspace(-1, 0.5, 200)
    ood = np.linspace(-2, 0.4, 80)
    for convention in CONVENTIONS:
        found = at_clean_threshold(CleanThreshold(clean, attacked, ood, convention))
        assert found["fpr95_clean"] == intervals(clean, ood, convention)["fpr95"]
        low, high = intervals(clean, attacked, convention)["fpr95"]
        assert found["fnr_clean"] == (1 - high, 1 - low)
    fixed = at_clean_threshold(CleanThreshold(clean, attacked, ood, "published", 0.2))
    assert fixed["fnr_clean"] == pytest.approx(share_interval(int((attacked <= 0.2).sum()), 200))


def test_a_threshold_between_a_few_levels_is_covered_as_well():
    # Whole numbers: 4.8 % of ID lie below 3, so all OOD images from 3 on are accepted; a draw often says 2 or 3.
    generator = np.random.default_rng(77)
    below, truth = ndtr((2.5 - 5) / 1.5), 1 - ndtr((2.5 - 2.5) / 1.5)
    assert 0.04 < below < 0.05
    hits = 0
    for _ in range(400):
        id_scores, ood_scores = generator.normal(5, 1.5, 300), generator.normal(2.5, 1.5, 100)
        low, high = intervals(np.round(id_scores), np.round(ood_scores))["fpr95"]
        hits += low <= truth <= high
    assert hits >= 0.93 * 400 - 2 * (400 * 0.93 * 0.07) ** 0.5
