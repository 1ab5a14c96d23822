"""Bounds of a score's median anywhere in an L2 ball, by order statistics of the scores of noisy copies.

Chiang et al. 2020, arXiv:2007.03730, lemma 1. Theirs bounds the median itself, which is not known; here the bound is of
the sample median, which a detector can compute: it holds for a score as it is measured.
"""

from dataclasses import dataclass
from math import exp, log

import numpy as np

MOST_DRAWS = 10_000_000
"""`draws_needed` searches up to this number."""


@dataclass(frozen=True)
class Ranks:
    """Places among D sorted scores, counted from 1.

    Attributes:
        median: the lower of two in the middle.
        low: no score in the ball has a sample median below this one; 0 where the draws give no such bound.
        high: none has one above this one; D + 1 where the draws give no such bound.
    """

    median: int
    low: int
    high: int


def ranks(draws: int, shift: float, failure: float) -> Ranks:
    r"""The ranks of an image's `draws` sorted scores that bound the sample median of any image in the ball.

    Let m be the rank of the median and X_(k) the k-th smallest of the scores. Half of `failure` is given to the other
    image's sample median: it lies below that image's quantile p+ with probability 1 - failure / 2, where
    P(Bin(D, p+) >= m) = 1 - failure / 2. That quantile lies below this image's quantile
    \Phi(\Phi^{-1}(p+) + shift), by the lemma of Neyman and Pearson. The other half is given to X_(k), which lies above
    that quantile with probability P(Bin(D, p) < k). `low` is the same from the other side. Ties do no harm, and the two
    halves need not be independent.

    Args:
        draws: D, of each score.
        shift: radius of the ball in deviations of the noise.
        failure: the probability with which each of the two bounds may fail.
    """
    from scipy.special import bdtr, bdtrc

    median = _median(draws)
    up, down = _quantiles(draws, shift, failure)
    places = np.arange(1, draws + 1)
    enough = np.flatnonzero(bdtrc(places - 1, draws, up) <= failure / 2)
    few = np.flatnonzero(bdtr(places - 1, draws, down) <= failure / 2)
    return Ranks(median, int(few[-1]) + 1 if len(few) else 0, int(enough[0]) + 1 if len(enough) else draws + 1)


def reach(draws: int, failure: float) -> float:
    """The largest shift at which so many draws bound the median from above; below 0 where they do so at none.

    Args:
        draws: of each score.
        failure: as in `ranks`.
    """
    from scipy.special import ndtri

    level = exp(log(failure / 2) / draws)
    return float(ndtri(level) - ndtri(_quantile(draws, failure)))


def draws_needed(shift: float, failure: float) -> int:
    """About the least number of draws that bound the median at a `shift`; more than `MOST_DRAWS` for one beyond it.

    Args:
        shift: radius of the ball in deviations of the noise.
        failure: as in `ranks`.
    """
    enough = 1
    while reach(enough, failure) < shift:
        if enough > MOST_DRAWS:
            return enough
        enough *= 2
    few = enough // 2
    while enough - few > 1:
        tried = (enough + few) // 2
        few, enough = (few, tried) if reach(tried, failure) >= shift else (tried, enough)
    return enough


def _median(draws: int) -> int:
    return (draws + 1) // 2


def _quantile(draws: int, failure: float) -> float:
    """p+: a sample median of so many draws lies above this quantile with probability `failure` / 2 at most."""
    from scipy.special import betainccinv

    median = _median(draws)
    return float(betainccinv(median, draws - median + 1, failure / 2))


def _quantiles(draws: int, shift: float, failure: float) -> tuple[float, float]:
    """The quantiles of the image that bound p+ and p- of every image in the ball."""
    from scipy.special import betaincinv, ndtr, ndtri

    median = _median(draws)
    below = betaincinv(median, draws - median + 1, failure / 2)
    return float(ndtr(ndtri(_quantile(draws, failure)) + shift)), float(ndtr(ndtri(below) - shift))
