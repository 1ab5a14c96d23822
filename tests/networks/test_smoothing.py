"""Scores around an image, and their gradients, against the same written out."""

import pytest
import torch

from oodbench.basics.draws import CommonDraws, DrawsPerImage
from oodbench.basics.errors import NoGradientError
from oodbench.basics.gradient import value_and_gradient
from oodbench.networks.smoothing import scores_around

SIGMA = 0.2


def bent(images):
    return torch.sin(5 * images.double()).flatten(1).sum(1)


def images(count=5):
    return torch.rand((count, 3, 4, 4), generator=torch.Generator().manual_seed(1))


def written_out(score, some, numbers, draws):
    return torch.stack([score(some + SIGMA * draws.normal(number, some)) for number in numbers])


def mean(rows):
    return rows.mean(0)


def median(rows):
    return rows.median(0).values


def second(rows):
    return rows[1]


@pytest.mark.parametrize("made_of", [mean, median, second])
@pytest.mark.parametrize("count", [5, 70])
def test_is_what_it_says_with_the_gradient_of_what_is_made_of_it(made_of, count):
    some, draws = images(count), DrawsPerImage(range(count), "x")
    value, gradient = value_and_gradient(lambda at: made_of(scores_around(bent, at, SIGMA, range(7), draws)), some)
    expected, slope = value_and_gradient(lambda at: made_of(written_out(bent, at, range(7), draws)), some)
    torch.testing.assert_close(value, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(gradient, slope)


def test_of_a_median_one_copy_of_each_image_is_scored_again():
    looked = []

    def counted(some):
        looked.append((torch.is_grad_enabled(), len(some)))
        return bent(some)

    value_and_gradient(lambda at: median(scores_around(counted, at, SIGMA, range(9), CommonDraws("x"))), images())
    assert sum(count for with_graph, count in looked if not with_graph) == 45
    assert sum(count for with_graph, count in looked if with_graph) == 5
    assert max(count for _, count in looked) <= 64


def test_of_no_images_there_are_no_scores():
    value, gradient = value_and_gradient(
        lambda at: median(scores_around(bent, at, SIGMA, range(3), CommonDraws("x"))), images()[:0]
    )
    assert value.shape == (0,)
    assert gradient.shape == (0, 3, 4, 4)


def test_further_numbers_go_on_where_others_stopped():
    draws = CommonDraws("x")
    whole = scores_around(bent, images(), SIGMA, range(6), draws)
    assert torch.equal(whole[4:], scores_around(bent, images(), SIGMA, range(4, 6), draws))


def test_a_score_without_a_gradient_has_none():
    with pytest.raises(NoGradientError):
        value_and_gradient(
            lambda at: scores_around(lambda some: bent(some.detach()), at, SIGMA, range(2), CommonDraws("x")).mean(0),
            images(),
        )
