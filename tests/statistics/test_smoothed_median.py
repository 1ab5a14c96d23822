"""Order statistics as bounds: by hand for five draws, by simulation where the truth is known."""

from math import comb
from statistics import NormalDist

import numpy as np
import pytest

from oodbench.statistics.smoothed_median import MOST_DRAWS, Ranks, draws_needed, ranks, reach

NORMAL = NormalDist()


def at_least(count, draws, p):
    """P(Bin(draws, p) >= count), term by term."""
    return sum(comb(draws, k) * p**k * (1 - p) ** (draws - k) for k in range(count, draws + 1))


def solved(count, draws, wanted):
    """The p at which `at_least` is `wanted`, by halving."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if at_least(count, draws, middle) < wanted else (low, middle)
    return low


def test_five_draws_by_hand():
    # The other image's median lies below the quantile p+ = 0.6406 with probability 3/4, since P(Bin(5, p+) >= 3) = 3/4.
    # The largest of five scores lies above that quantile with probability 1 - p+^5 = 0.892 >= 3/4, the fourth largest
    # with P(Bin(5, p+) < 4) = 0.59 only. Half a deviation away p+ becomes 0.805, and 1 - 0.805^5 = 0.66 is too little.
    quantile = solved(3, 5, 0.75)
    assert quantile == pytest.approx(0.6406, abs=1e-4)
    assert at_least(5, 5, quantile) < 0.25 < at_least(4, 5, quantile)
    assert ranks(5, 0.0, 0.5) == Ranks(median=3, low=1, high=5)
    assert NORMAL.cdf(NORMAL.inv_cdf(quantile) + 0.5) ** 5 > 0.25
    assert ranks(5, 0.5, 0.5) == Ranks(median=3, low=0, high=6)


@pytest.mark.parametrize(("draws", "shift", "failure"), [(60, 0.4, 0.02), (61, 0.0, 1e-3), (200, 1.0, 1e-5)])
def test_ranks_are_the_tightest_that_the_binomial_allows(draws, shift, failure):
    found = ranks(draws, shift, failure)
    median = (draws + 1) // 2
    up = NORMAL.cdf(NORMAL.inv_cdf(solved(median, draws, 1 - failure / 2)) + shift)
    down = NORMAL.cdf(NORMAL.inv_cdf(solved(median, draws, failure / 2)) - shift)
    assert found.median == median
    assert at_least(found.high, draws, up) <= failure / 2 < at_least(found.high - 1, draws, up)
    assert 1 - at_least(found.low, draws, down) <= failure / 2 < 1 - at_least(found.low + 1, draws, down)


def test_bounds_of_a_linear_score_hold_as_often_as_stated_and_are_tight():
    # A linear score of noisy copies is normal; the worst image of the ball has the same, `shift` deviations higher.
    generator, draws, shift, failure = np.random.default_rng(0), 101, 0.5, 0.1
    found = ranks(draws, shift, failure)
    here = np.sort(generator.normal(size=(20_000, draws)), axis=1)
    there = np.median(generator.normal(shift, size=(20_000, draws)), axis=1)
    assert np.mean(there > here[:, found.high - 1]) < failure
    assert np.mean(-there < here[:, found.low - 1]) < failure
    many = ranks(100_000, shift, failure)
    assert NORMAL.inv_cdf(many.high / 100_000) == pytest.approx(shift, abs=0.02)
    assert NORMAL.inv_cdf(many.low / 100_000) == pytest.approx(-shift, abs=0.02)


def test_bounds_widen_with_the_radius_and_close_with_draws():
    highs = [ranks(1000, shift, 1e-5).high for shift in (0, 0.25, 0.5, 1, 1.5, 2)]
    lows = [ranks(1000, shift, 1e-5).low for shift in (0, 0.25, 0.5, 1, 1.5, 2)]
    assert highs == sorted(set(highs))
    assert lows == sorted(set(lows), reverse=True)
    assert ranks(2000, 0.5, 1e-5).high / 2000 < ranks(1000, 0.5, 1e-5).high / 1000
    assert ranks(1000, 0.5, 1e-7).high > ranks(1000, 0.5, 1e-3).high


@pytest.mark.parametrize(("shift", "failure"), [(0.0, 0.1), (0.5, 1e-4), (1.0, 5e-6), (2.0, 0.01)])
def test_draws_needed_are_just_enough(shift, failure):
    needed = draws_needed(shift, failure)
    assert reach(needed, failure) >= shift > reach(needed - 1, failure)
    assert ranks(needed, shift, failure).high == needed
    assert ranks(needed - 1, shift, failure).high == needed  # that is: none of one draw less


def test_a_radius_that_no_number_of_draws_reaches_ends_the_search():
    assert draws_needed(9.0, 1e-6) > MOST_DRAWS
