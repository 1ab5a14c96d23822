import numpy as np
import pytest
import torch
from scipy.stats import kstest

from oodbench.corruptions.draws import CounterDraws


def test_an_image_draws_alike_in_any_company_and_order() -> None:
    together = CounterDraws([3, 7, 11], "noise", 1)
    apart = CounterDraws([11, 7], "noise", 1)
    for shape in ((4, 5), (3,), (2, 2, 2)):
        torch.testing.assert_close(together.normal(*shape)[[2, 1]], apart.normal(*shape), rtol=0, atol=0)
        torch.testing.assert_close(together.uniform(*shape)[[2, 1]], apart.uniform(*shape), rtol=0, atol=0)


def test_another_image_purpose_or_turn_draws_otherwise() -> None:
    draws = CounterDraws([0, 1], "noise", 1)
    first, second = draws.uniform(100), draws.uniform(100)
    others = [first[0], first[1], second[0], CounterDraws([0], "noise", 2).uniform(100)[0]]
    others += [CounterDraws([0], "noise", "1").uniform(100)[0]]
    for number, one in enumerate(others):
        for other in others[number + 1 :]:
            assert not np.isclose(one, other).any()


def test_the_stream_of_splitmix64() -> None:
    # The first three numbers of SplitMix64 from state 1234567, as published with its C code.
    draws = CounterDraws([0], "anything")
    draws._keys = torch.tensor([1234567])
    bits = [int(value) % 2**64 for value in draws._bits(3)[0]]
    assert bits == [6457827717110365317, 3203168211198807973, 9817491932198370423]


@pytest.mark.parametrize("rows", [(1, 200_000), (2_000, 100)])
def test_distributions(rows: tuple[int, int]) -> None:
    draws = CounterDraws(range(rows[0]), "distribution")
    assert kstest(draws.uniform(rows[1]).flatten().numpy(), "uniform").pvalue > 1e-3
    assert kstest(draws.normal(rows[1]).flatten().numpy(), "norm").pvalue > 1e-3


def test_neighbouring_images_and_turns_are_not_correlated() -> None:
    noise = CounterDraws(range(300), "correlation").normal(300)
    for one, other in ((noise[1:], noise[:-1]), (noise[:, 1:], noise[:, :-1])):
        assert abs(float((one * other).mean())) < 5 / (300**2) ** 0.5


def test_integers_reach_both_ends_equally_often() -> None:
    drawn = CounterDraws([5], "integers").integers(-2, 2, 40_000)[0]
    counts = torch.bincount(drawn + 2, minlength=4)
    assert len(counts) == 4
    assert (counts - 10_000).abs().max() < 5 * (40_000 * 0.25 * 0.75) ** 0.5


def test_an_odd_number_of_normal_draws() -> None:
    assert CounterDraws([0, 1], "odd").normal(3).shape == (2, 3)
    assert CounterDraws([0, 1], "odd").normal(3, 5, 1).shape == (2, 3, 5, 1)
