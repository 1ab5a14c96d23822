"""L2 balls cut to [0, 1]: projections by hand and by what makes them the nearest point, and the 8-bit grid."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from oodbench.attacks.adam import adam
from oodbench.attacks.apgd import apgd
from oodbench.attacks.attack_goal import Goal
from oodbench.attacks.balls import BALLS, L2Ball, LinfBall
from oodbench.attacks.pgd_l2 import pgd_l2
from oodbench.attacks.reducer import Reducer
from oodbench.attacks.square import square
from oodbench.tasks import L2, L2Adaptive


def pixels(*values):
    """One image of a row of pixels."""
    return torch.tensor(values, dtype=torch.float64)[None, None, None]


@pytest.mark.parametrize(
    "point, expected",
    [
        ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
        ((0.53, 0.54, 0.5), (0.53, 0.54, 0.5)),  # 0.05 away, inside
        ((0.8, 0.9, 0.5), (0.56, 0.58, 0.5)),  # 0.5 away in the direction (3, 4): a fifth of the way
        ((-0.5, 0.5, 0.5), (0.4, 0.5, 0.5)),
    ],
)
def test_a_point_is_brought_back_on_the_straight_way(point, expected):
    torch.testing.assert_close(L2Ball(pixels(0.5, 0.5, 0.5), 25.5).project(pixels(*point)), pixels(*expected))


def test_where_a_pixel_reaches_white_the_others_take_over_its_length():
    """The radius is 0.1. White is 0.06 away for the first pixel, so 0.08 is left for the second: by hand."""
    around = L2Ball(pixels(0.94, 0.5, 0.5), 25.5)
    torch.testing.assert_close(around.project(pixels(1.94, 1.5, 0.5)), pixels(1.0, 0.58, 0.5))
    # Of changes of 10, 0.4 and 0.3, what the first leaves, 0.08, is divided as 4 to 3.
    torch.testing.assert_close(around.project(pixels(10.94, 0.9, 0.8)), pixels(1.0, 0.564, 0.548))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**31), epsilon=st.integers(0, 600))
def test_a_projection_is_in_the_ball_and_nothing_there_is_nearer(seed, epsilon):
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand((3, 2, 3, 3), generator=generator, dtype=torch.float64).round(decimals=1)
    points = images + torch.randn(images.shape, generator=generator, dtype=torch.float64)
    around = L2Ball(images, epsilon)
    found = around.project(points)
    assert found.min() >= 0
    assert found.max() <= 1
    assert ((found - images).flatten(1).norm(dim=1) <= epsilon / 255 + 1e-9).all()
    torch.testing.assert_close(around.project(found), found, rtol=1e-7, atol=1e-9)
    # The nearest point of a convex set: the way out of it makes no sharp angle with any way into it.
    for _ in range(10):
        other = around.project(images + torch.randn(images.shape, generator=generator, dtype=torch.float64))
        assert (((points - found) * (other - found)).flatten(1).sum(1) <= 1e-7).all()


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**31), epsilon=st.integers(0, 600), spread=st.sampled_from([0.001, 0.05, 2.0]))
def test_the_grid_is_met_inside_the_ball_by_whole_numbers(seed, epsilon, spread):
    generator = torch.Generator().manual_seed(seed)
    levels = torch.randint(0, 256, (4, 3, 5, 5), generator=generator)
    points = levels / 255 + spread * torch.randn(levels.shape, generator=generator)
    found = L2Ball(levels / 255, epsilon).on_grid(points)
    assert torch.equal(found, found.round())
    assert found.min() >= 0
    assert found.max() <= 255
    assert ((found.long() - levels).square().flatten(1).sum(1) <= epsilon**2).all()


def test_a_corner_a_hair_below_whole_levels_does_not_leave_the_ball():
    """3,072 pixels may change by 46.9999 levels each: 47 would be 6,786,048 where 2605 squared is 6,786,025."""
    grey = torch.full((1, 3, 32, 32), 128 / 255)
    around = L2Ball(grey, 2605)
    found = around.on_grid(around.corner(torch.ones_like(grey))) - 128
    assert not around.is_outside(found.long()).any()
    assert float(found.square().sum()) > 2600**2


def test_a_change_of_less_than_half_a_level_everywhere_is_not_lost():
    """400 pixels may change by 8 levels in all: 0.4 of one each, or one whole level in 64 of them."""
    grey = torch.full((1, 1, 20, 20), 100 / 255)
    change = L2Ball(grey, 8).on_grid(grey + 0.4 / 255) - 100
    assert change.sum() == 64
    assert set(change.flatten().tolist()) == {0.0, 1.0}


def test_what_lies_on_the_grid_in_the_ball_stays_where_it_is():
    levels = torch.randint(50, 200, (5, 3, 4, 4), generator=torch.Generator().manual_seed(0))
    moved = levels + torch.randint(-3, 4, levels.shape, generator=torch.Generator().manual_seed(1))
    assert torch.equal(L2Ball(levels / 255, 21).on_grid(moved / 255), moved.float())
    assert torch.equal(L2Ball(levels / 255, 21).on_grid(torch.full(levels.shape, torch.nan)), levels.float())


def test_outside_is_told_without_rounding():
    change = torch.tensor([[3, 4], [3, 5], [-5, 0]])
    assert L2Ball(torch.zeros(3, 1, 1, 2), 5).is_outside(change).tolist() == [False, True, False]
    assert LinfBall(torch.zeros(3, 1, 1, 2), 4).is_outside(change).tolist() == [False, True, True]


WEIGHTS = torch.randn((3, 8, 8), generator=torch.Generator().manual_seed(4), dtype=torch.float64)


def slope(images):
    """A linear score: the best point of an L2 ball lies along the weights, and the score rises by radius * length."""
    return (images.double() * WEIGHTS).flatten(1).sum(1)


GREY = (torch.full((3, 3, 8, 8), 128.0) / 255).double()
TOP = float(WEIGHTS.norm())


@pytest.mark.parametrize("climb", [apgd, adam])
def test_a_climb_of_a_slope_ends_at_its_top(climb):
    found = climb(slope, GREY, epsilon=64, iterations=100, ball=L2Ball)
    np.testing.assert_allclose(found.after - slope(GREY), 64 / 255 * TOP, rtol=1e-3 if climb is apgd else 2e-2)
    assert ((found.images - GREY).flatten(1).norm(dim=1) <= 64 / 255 + 1e-9).all()
    assert L2Ball(GREY, 64).is_summit(found.images, WEIGHTS.expand_as(GREY)).all()
    assert not L2Ball(GREY, 64).is_summit(GREY, WEIGHTS.expand_as(GREY)).any()
    assert not L2Ball(GREY, 64).is_summit(found.images, torch.zeros_like(GREY)).any()  # nothing says that it is the top


@pytest.mark.parametrize("scale", [1e30, 1e-30])
@pytest.mark.parametrize("climb", [apgd, adam, pgd_l2])
def test_a_slope_of_any_size_is_climbed(climb, scale):
    images = GREY.float()
    options = {"step": 8, "steps": 20} if climb is pgd_l2 else {"ball": L2Ball, "iterations": 20}
    found = climb(lambda some: slope(some) * scale, images, epsilon=64, **options)
    assert (slope(found.images) - slope(images) > 0.9 * TOP * 64 / 255).all()


def test_pgd_ends_there_too_and_the_grid_takes_little_of_it():
    found = pgd_l2(slope, GREY, epsilon=64, step=8, steps=20)
    rise = (found.after - slope(GREY)) / (64 / 255 * TOP)
    assert (rise > 0.99).all()
    assert (rise <= 1).all()
    levels = found.images * 255
    assert (levels - levels.round()).abs().max() < 1e-9
    torch.testing.assert_close(slope(found.images), found.after)


def test_pgd_keeps_the_image_where_nothing_is_better():
    found = pgd_l2(lambda images: -(images - GREY[:1]).square().flatten(1).sum(1), GREY, epsilon=9, step=3, steps=5)
    assert torch.equal((found.images * 255).round(), (GREY * 255).round())
    assert torch.equal(found.after, found.before)


@pytest.mark.parametrize("task", [L2(64, steps=30), L2Adaptive(64, "quick"), L2Adaptive(64, "standard")])
def test_a_task_reaches_the_top_of_a_slope_with_no_flag(task):
    images = GREY.float()
    altered = task.alter(Goal(slope, slope), images, np.arange(3), "1/grey")
    change = (altered.images * 255).round().long() - 128
    assert not L2Ball(images, 64).is_outside(change).any()
    assert (altered.extras["objective_after"] - slope(images).numpy() > 0.99 * 64 / 255 * TOP).all()
    np.testing.assert_allclose(altered.extras["objective_after"], slope(altered.images), rtol=1e-6)
    for flag in ("stuck", "broken", "stalled", "blind", "guessed"):
        assert not altered.extras.get(flag, np.zeros(3)).any()


@pytest.mark.parametrize("norm", BALLS)
def test_random_search_climbs_inside_the_ball(norm):
    images, around = GREY.float(), BALLS[norm]
    own = [np.random.default_rng(number) for number in range(3)]
    found = square(slope, images, epsilon=64, queries=150, generators=own, ball=around)
    assert (found.after > found.before).all()
    torch.testing.assert_close(around(images, 64).project(found.images), found.images)


def test_the_reducer_keeps_to_its_ball():
    reducer = Reducer(slope, GREY.float(), 20, L2Ball)
    reducer.offer(GREY + WEIGHTS)
    assert (reducer.winner == 1).all()
    assert not L2Ball(GREY, 20).is_outside((reducer.images * 255).round().long() - 128).any()
    assert ((reducer.best - reducer.before) / (20 / 255 * TOP) > 0.95).all()


@pytest.mark.parametrize("kind", [L2, L2Adaptive])
def test_a_radius_is_a_whole_number_of_levels(kind):
    assert kind(1000).epsilon == 1000
    for wrong in (-1, 0.5, True, 10**6):
        with pytest.raises(ValueError, match="128 for the 0.5 of the literature"):
            kind(wrong)


def levels(*values):
    """One image of a row of pixels, in levels."""
    return pixels(*values) / 255


def test_a_pixel_goes_to_the_nearest_level_of_its_ball():
    ball = LinfBall(levels(100, 100, 100, 100, 2, 254), 8)
    on_grid = ball.on_grid(levels(103.6, 96.4, 103.4, 120, -9, 300))
    assert on_grid.flatten().tolist() == [104, 96, 103, 108, 0, 255]


def test_a_climb_has_arrived_where_every_pixel_has_a_gradient_that_points_out_of_the_ball():
    ball, low, high = LinfBall(levels(100, 100), 8), levels(92, 92), levels(108, 108)
    assert ball.is_summit(low, levels(-1, -1)).tolist() == [True]
    assert ball.is_summit(high, levels(1, 1)).tolist() == [True]
    # A pixel without a gradient may have been kept from having one, at either end.
    assert ball.is_summit(low, levels(-1, 0)).tolist() == [False]
    assert ball.is_summit(high, levels(1, 0)).tolist() == [False]
    assert ball.is_summit(levels(92, 93), levels(-1, -1)).tolist() == [False]


def test_a_window_of_an_l2_ball_moves_by_what_makes_the_radius_together():
    assert L2Ball(levels(100, 100), 51).amplitude(4) == pytest.approx(0.1)
    assert LinfBall(levels(100, 100), 51).amplitude(4) == pytest.approx(0.2)


def test_what_is_nearer_than_the_radius_is_reached_and_not_passed():
    ball = L2Ball(levels(100, 100), 10)
    torch.testing.assert_close(ball.move_towards(levels(103, 104)), levels(103, 104))
    torch.testing.assert_close(ball.move_towards(levels(130, 140)), levels(106, 108))
