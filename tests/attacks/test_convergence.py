"""Had an attack converged? What a few more steps say of one that did nothing, and of one that did its best."""

from dataclasses import replace
from math import isnan

import numpy as np
import pytest
import torch

from oodbench.attacks import convergence
from oodbench.attacks.apgd import apgd
from oodbench.attacks.attack_goal import Goal
from oodbench.basics.passes import Passes
from oodbench.detectors.msp import MSP
from oodbench.scoring.fitting import fit
from oodbench.statistics import honesty
from oodbench.tasks.adaptive import LinfAdaptive


@pytest.fixture
def goal(toy):
    fitted = MSP()
    fit([fitted], toy("out3"), 3)
    return Goal.of(fitted)


def test_images_are_chosen_at_even_distances():
    short = Passes(forward=40, backward=40)
    assert np.flatnonzero(convergence.images_to_continue(24, short)).tolist() == list(range(0, 24, 2))
    assert convergence.images_to_continue(5, short).all()
    assert convergence.images_to_continue(500, short).sum() == convergence.CONTINUED


def test_a_twentieth_of_what_a_long_attack_takes_goes_into_looking_further():
    long = convergence.COST * 5
    assert convergence.images_to_continue(1000, long).sum() == 250  # each costs a fifth of an attacked image
    assert convergence.images_to_continue(40, long).sum() == convergence.CONTINUED
    assert convergence.images_to_continue(40, convergence.COST * 50).all()


def test_an_attack_that_did_nothing_is_climbed_on_from_and_a_good_one_is_not(goal, toy_images):
    further = convergence.continue_climb(goal, toy_images, toy_images, 8)
    assert (goal.score(further) > goal.score(toy_images)).all()
    assert ((further - toy_images) * 255).abs().round().max() <= 8
    best = LinfAdaptive(8, "quick").alter(goal, toy_images, np.arange(6), "x").images
    assert (goal.score(convergence.continue_climb(goal, toy_images, best, 8)) - goal.score(best)).max() < 0.01


def test_what_had_got_far_enough_or_has_no_gradient_stays_as_it_is(goal, toy_images):
    enough = float(goal.score(toy_images).min())
    assert torch.equal(convergence.continue_climb(replace(goal, enough=enough), toy_images, toy_images, 8), toy_images)
    blind = Goal(lambda images: goal.score(images).detach(), goal.score)
    assert torch.equal(convergence.continue_climb(blind, toy_images, toy_images, 8), toy_images)


def test_a_slope_that_is_steep_in_few_directions_is_climbed_most_of_the_way(toy_images):
    # -(d' A d) with d the distance from a point of the ball, and A's eigenvalues spread over four decades, as those of
    # a squared Mahalanobis distance are: 0 is the best there is.
    images = 0.25 + toy_images.double() / 2
    count = images[0].numel()
    directions, _ = torch.linalg.qr(torch.randn(count, count, generator=torch.Generator().manual_seed(1)).double())
    scales = torch.logspace(-2, 2, count, dtype=torch.float64)
    summit = images + 0.5 * 8 / 255 * torch.randn(images.shape, generator=torch.Generator().manual_seed(2)).clamp(-2, 2)

    def score(points: torch.Tensor) -> torch.Tensor:
        return -(((points.double() - summit[: len(points)]).flatten(1) @ directions).square() * scales).sum(1)

    steep = Goal(score, score)
    left = apgd(score, images, epsilon=8, iterations=40, start=images).images
    further = convergence.continue_climb(steep, images, left, 8)
    assert score(further).sum() > 0.25 * score(left).sum()


def test_no_more_is_spent_than_announced(goal, toy_images):
    seen = []
    convergence.continue_climb(goal.with_counter(seen.append), toy_images, toy_images, 8)
    assert sum(seen) <= len(toy_images) * convergence.COST.forward


def test_the_gain_is_counted_over_the_images_that_were_tried():
    ids, ood, nan = np.array([1.0, 2.0, 3.0, 4.0]), np.array([0.0, 0.0, 9.0]), np.nan
    # The second image passes none of the four before, and two of them after.
    assert honesty.unconverged(ids, ood, ood_continued=np.array([nan, 2.5, nan])) == 0.5
    assert isnan(honesty.unconverged(ids, ood, ood_continued=np.full(3, nan)))
    assert isnan(honesty.unconverged(ids, ood))
    # ID images that fall below what is above 2 of 3 OOD images.
    assert honesty.unconverged(ids, ood, id_continued=np.array([-1.0, nan, nan, nan])) == 2 / 3


def test_it_goes_on_from_where_the_attack_ended():
    # A valley whose bottom is the image, where there is no slope; the attack had left it by one level.
    images = torch.full((1, 3, 4, 4), 100 / 255)

    def score(pixels):
        return (pixels - images).abs().sum((1, 2, 3))

    climbed = convergence.continue_climb(Goal(score, score), images, torch.full((1, 3, 4, 4), 101 / 255), 8)
    assert (255 * climbed).round().flatten().tolist() == [108] * 48
