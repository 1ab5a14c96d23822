"""Paired differences: known ones, what none may do, and how often they hold the truth."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtr

from oodbench.metrics import CONVENTIONS, evaluate
from oodbench.statistics.differences import SAME, Detection, accuracy_difference, differences
from oodbench.statistics.intervals import intervals

few = st.floats(-5, 5).map(lambda value: round(value, 1))


def both(count):
    return st.tuples(*(st.lists(few, min_size=count, max_size=count).map(np.array) for _ in range(2)))


@settings(max_examples=60, deadline=None)
@given(both(12), both(9), st.sampled_from(sorted(CONVENTIONS)))
def test_a_difference_is_one_value_less_the_other_and_turns_round(id_scores, ood_scores, convention):
    one, other = Detection(id_scores[0], ood_scores[0]), Detection(id_scores[1], ood_scores[1])
    values = evaluate(one.id, one.ood, convention), evaluate(other.id, other.ood, convention)
    found, turned = differences(one, other, convention), differences(other, one, convention)
    assert list(found) == list(values[0])
    same = all(np.array_equal(first, second) for first, second in (id_scores, ood_scores))
    for name, difference in found.items():
        assert difference.value == pytest.approx(values[0][name] - values[1][name], abs=1e-12)
        assert -1 <= difference.low <= difference.value <= difference.high <= 1
        assert (difference.high == difference.low) == same
        assert (-difference.high, -difference.low) == pytest.approx((turned[name].low, turned[name].high), abs=1e-9)


def test_the_same_scores_differ_by_nothing_and_other_scores_of_the_same_order_by_perhaps_something():
    id_scores, ood_scores = np.arange(100.0, 300), np.arange(100.0)
    one = Detection(id_scores, ood_scores)
    assert set(differences(one, Detection(id_scores.copy(), ood_scores.copy())).values()) == {SAME}
    for difference in differences(one, Detection(2 * id_scores, 2 * ood_scores)).values():
        assert difference.value == 0
        assert difference.low < 0 < difference.high


def test_what_both_find_hard_tells_them_apart_better_than_their_intervals():
    generator = np.random.default_rng(3)
    id_scores, ood_scores = generator.normal(2, 1, 2000), generator.normal(0, 1, 2000)
    one = Detection(id_scores, ood_scores)
    other = Detection(id_scores + generator.normal(0, 0.2, 2000), ood_scores + generator.normal(0, 0.2, 2000))
    alike = differences(one, other)["auroc"]
    low, high = intervals(id_scores, ood_scores)["auroc"]
    assert alike.high - alike.low < 0.5 * (high - low)
    shuffled = Detection(generator.permutation(other.id), generator.permutation(other.ood))
    apart = differences(one, shuffled)["auroc"]
    assert apart.high - apart.low == pytest.approx(2**0.5 * (high - low), rel=0.1)


def test_the_auroc_of_many_images_has_the_interval_of_delong():
    generator = np.random.default_rng(5)
    hidden = generator.normal(0, 1, 4000)
    scores = [hidden + np.repeat([d, 0.0], 2000) + generator.normal(0, 0.5, 4000) for d in (1.2, 1.0)]
    one, other = (Detection(both[:2000], both[2000:]) for both in scores)
    placements = []
    for side in (one, other):
        wins = (side.id[:, None] > side.ood) + 0.5 * (side.id[:, None] == side.ood)
        placements.append((wins.mean(1), wins.mean(0)))
    variance = sum(np.var(first - second, ddof=1) / 2000 for first, second in zip(*placements, strict=True))
    found = differences(one, other)["auroc"]
    assert found.high - found.low == pytest.approx(2 * 1.96 * variance**0.5, rel=0.1)


def test_a_fixed_threshold_of_one_side_alone():
    ood = np.linspace(-1, 1, 40)
    one, other = Detection(np.arange(50.0), ood, operating_point=-0.5), Detection(np.arange(50.0), ood)
    found = differences(one, other, "published")["fpr95"]
    assert found.value == pytest.approx(np.mean(ood > -0.5) - evaluate(other.id, ood, "published")["fpr95"])
    assert found.low < found.value < found.high


def test_accuracy_is_paired_image_by_image():
    right = np.arange(1000) % 10 > 0
    assert accuracy_difference(right, right.copy()) == SAME
    other = right.copy()
    other[:10] = ~other[:10]  # nine that were right, one that was not
    found = accuracy_difference(right, other)
    assert found.value == pytest.approx(0.008)
    # Ten of a thousand differ: the standard deviation of the difference is about sqrt(10) / 1000.
    assert found.high - found.low == pytest.approx(2 * 1.96 * 10**0.5 / 1000, rel=0.15)
    assert accuracy_difference(~right, right).value == pytest.approx(-0.8)


def test_the_true_difference_is_inside_as_often_as_stated():
    generator = np.random.default_rng(9)

    def correlated(count, first, second):
        hidden = generator.normal(0, 1, count)
        return first + hidden, second + 0.8 * hidden + 0.6 * generator.normal(0, 1, count)

    truths = {
        "auroc": ndtr(2 / 2**0.5) - ndtr(1.5 / 2**0.5),
        "fpr95": ndtr(1.6448536 - 2) - ndtr(1.6448536 - 1.5),
        "fpr95_oodpos": ndtr(1.6448536 - 2) - ndtr(1.6448536 - 1.5),
        "detection_error": ndtr(-1) - ndtr(-0.75),
    }
    hits = dict.fromkeys(truths, 0)
    for _ in range(300):
        id_scores, ood_scores = correlated(200, 2, 1.5), correlated(80, 0, 0)
        found = differences(Detection(id_scores[0], ood_scores[0]), Detection(id_scores[1], ood_scores[1]))
        for name, truth in truths.items():
            hits[name] += found[name].low <= truth <= found[name].high
    assert min(hits.values()) >= 0.93 * 300 - 2 * (300 * 0.93 * 0.07) ** 0.5, hits


def test_a_difference_of_accuracies_by_hand():
    """Three of four right against two of four, two images right for both.

    Clopper and Pearson give 0.1941 to 0.9937 and 0.0676 to 0.9324. With an image more that only the other one has
    right, both have 3 / 5 right and 2 / 5 are right for both: the correlation is (0.4 - 0.36) / 0.24 = 1 / 6. With one
    more that only the first one has right it is (0.4 - 0.8 * 0.4) / sqrt(0.16 * 0.24) = 0.4082.
    """
    difference = accuracy_difference(np.array([True, True, True, False]), np.array([True, True, False, False]))
    down = np.sqrt(0.55588**2 + 0.43241**2 - 2 / 6 * 0.55588 * 0.43241)
    up = np.sqrt(0.24369**2 + 0.43241**2 - 2 * 0.40825 * 0.24369 * 0.43241)
    assert difference.value == 0.25
    assert difference.low == pytest.approx(0.25 - down, abs=1e-4)
    assert difference.high == pytest.approx(0.25 + up, abs=1e-4)
