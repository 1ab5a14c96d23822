"""Promises of thresholds and p-values: by hand, and kept over many draws."""

import numpy as np
import pytest
from scipy.stats import binom

from oodbench.basics.errors import OodbenchError
from oodbench.statistics.conformal import discoveries, images_needed, p_values, threshold

SPLITS = 500


def test_a_threshold_is_the_score_of_that_rank():
    scores = np.arange(1.0, 100.0)[::-1]  # 1 to 99: of 100 places for a new image, 5 lie below the fifth
    assert threshold(scores, 0.95).value == 5
    assert threshold(scores, 0.9).value == 10
    assert threshold(scores, 0.99).value == 1
    kept = threshold(scores, 0.95)
    assert kept.rejects([4.9, 5.0, 5.1]).tolist() == [True, False, False]
    assert kept.promise == "at least 95 % of ID images are kept in expectation over the 99 images chosen on"


def test_with_a_probability_the_first_promise_takes_59_images():
    """Wilks 1941: 59 draws have one below the 5 % point with 95 %, since 0.95^59 < 0.05 < 0.95^58."""
    assert images_needed(0.95, 0.05) == 59
    assert threshold(np.arange(59.0), 0.95, 0.05).value == 0
    with pytest.raises(OodbenchError, match="58 ID images are too few .* with probability 95 %: it takes 59"):
        threshold(np.arange(58.0), 0.95, 0.05)


def test_what_fifteen_images_cannot_promise_is_said():
    assert images_needed(0.95) == 19
    assert threshold(np.arange(19.0), 0.95).value == 0
    with pytest.raises(OodbenchError, match="15 ID images are too few to promise that 95 % are kept: it takes 19"):
        threshold(np.arange(15.0), 0.95)


@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.1])
@pytest.mark.parametrize("ties", [False, True])
def test_id_images_are_rejected_no_more_often_than_promised(alpha, ties):
    rng = np.random.default_rng(1)
    shares = []
    for _ in range(SPLITS):
        scores = rng.standard_normal(1400)
        scores = np.round(scores * 3) if ties else scores
        shares.append(threshold(scores[:400], 1 - alpha).rejects(scores[400:]).mean())
    error = np.std(shares, ddof=1) / np.sqrt(SPLITS)
    assert np.mean(shares) <= alpha + 2 * error
    assert ties or np.mean(shares) >= alpha - 1 / 401 - 2 * error  # and not by keeping everything


@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.1])
@pytest.mark.parametrize("delta", [0.01, 0.1])
def test_a_promise_with_a_probability_is_as_sharp_as_it_can_be(alpha, delta):
    """More than a share of alpha lies below the k-th lowest score where fewer than k images lie in that share."""
    count = 1000
    lowest = int(threshold(np.arange(1.0, count + 1), 1 - alpha, delta).value)
    assert binom.cdf(lowest - 1, count, alpha) <= delta < binom.cdf(lowest, count, alpha)


def test_a_promise_with_a_probability_is_broken_no_more_often():
    rng = np.random.default_rng(2)
    alpha, delta, splits = 0.05, 0.1, 4000
    # Of uniform scores, the share below a threshold is the threshold itself.
    broken = [threshold(row, 1 - alpha, delta).value > alpha for row in rng.random((splits, 1000))]
    assert 0 < np.mean(broken) <= delta + 2 * np.sqrt(delta * (1 - delta) / splits)


def test_p_values_by_hand():
    assert p_values([1.0, 2.0, 3.0, 4.0], [0.0, 1.0, 2.5, 9.0]).tolist() == [0.2, 0.4, 0.6, 1.0]


def test_discoveries_by_hand():
    """0.024 is above its own limit of 0.05 * 2 / 5 and counts all the same, since 0.029 of the next rank is not."""
    p = [0.9, 0.01, 0.024, 0.029, 0.5]
    assert discoveries(p, 0.05).tolist() == [False, True, True, True, False]
    assert not discoveries([0.03, 0.5], 0.01).any()
    assert discoveries([], 0.05).tolist() == []


@pytest.mark.parametrize("prevalence", [0.01, 0.1, 0.5])
def test_of_what_is_called_ood_no_more_than_promised_is_id(prevalence):
    rng = np.random.default_rng(3)
    fdr, batch = 0.05, 400
    wrong = []
    for _ in range(SPLITS):
        ood = rng.random(batch) < prevalence
        scores = rng.standard_normal(batch) - 4 * ood
        called = discoveries(p_values(rng.standard_normal(2000), scores), fdr)
        wrong.append((called & ~ood).sum() / max(1, called.sum()))
    assert np.mean(wrong) <= fdr + 2 * np.std(wrong, ddof=1) / np.sqrt(SPLITS)
    assert np.mean(wrong) > 0  # something is called


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: threshold([1.0], 95), "keep is 95"),
        (lambda: threshold([1.0], 0.9, 1.0), "delta is 1"),
        (lambda: threshold([1.0, np.nan], 0.9), "finite"),
        (lambda: threshold([], 0.9), "one or more"),
        (lambda: p_values([1.0], [np.nan]), "not a number"),
        (lambda: discoveries([0.1], 5), "fdr is 5"),
    ],
)
def test_what_is_no_share_or_no_score_is_refused(call, told):
    with pytest.raises(OodbenchError, match=told):
        call()


def test_what_is_no_number_is_rejected():
    promised = threshold(np.arange(100.0), 0.9)
    assert promised.rejects([np.nan, 50.0, -1.0]).tolist() == [True, False, True]
