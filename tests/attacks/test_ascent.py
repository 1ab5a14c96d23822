"""What holds of every attack: the ball, and images that lie where a radius means something."""

import numpy as np
import pytest
import torch

from oodbench.attacks.adam import adam
from oodbench.attacks.apgd import apgd
from oodbench.attacks.ascent import vanishes
from oodbench.attacks.balls import LinfBall
from oodbench.attacks.pgd import pgd
from oodbench.attacks.pgd_l2 import pgd_l2
from oodbench.attacks.reducer import Reducer
from oodbench.attacks.square import square
from oodbench.basics.errors import OodbenchError


def total(images):
    return images.sum((1, 2, 3))


def test_the_ball_is_cut_at_black_and_white():
    low, high = LinfBall(torch.tensor([[[[0.0, 0.5, 1.0]]]]), 51).ends
    torch.testing.assert_close(low, torch.tensor([[[[0.0, 0.3, 0.8]]]]))
    torch.testing.assert_close(high, torch.tensor([[[[0.2, 0.7, 1.0]]]]))


@pytest.mark.parametrize("wrong", [-0.1, 1.1, 255.0, float("nan")])
@pytest.mark.parametrize(
    "attack",
    [
        lambda images: pgd(total, images, epsilon=8, step=1, steps=1),
        lambda images: apgd(total, images, epsilon=8, iterations=1),
        lambda images: adam(total, images, epsilon=8, iterations=1),
        lambda images: square(total, images, epsilon=8, queries=1, generators=[np.random.default_rng(0)]),
        lambda images: Reducer(total, images, 8),
    ],
    ids=["pgd", "apgd", "adam", "square", "reducer"],
)
def test_images_outside_the_unit_range_are_refused(attack, wrong):
    with pytest.raises(OodbenchError, match=r"they must lie in \[0, 1\]; divide 8-bit values by 255"):
        attack(torch.full((1, 3, 4, 4), wrong))


@pytest.mark.parametrize("climb", [apgd, adam])
def test_no_images_are_no_mistake(climb):
    assert len(climb(total, torch.empty(0, 3, 4, 4), epsilon=8, iterations=3).images) == 0


def test_pgd_says_where_the_gradient_is_no_number_and_where_the_climb_stalls():
    def objective(images):
        """A slope, a slope beside a pixel without a number, and a plateau just above the image."""
        slope, broken, plateau = images[:, :, 0].sum((1, 2)).unbind()
        broken = broken + 0 * torch.sqrt(images[1, 0, 1, 1] - images[1, 0, 1, 1])
        return torch.stack([slope, broken, plateau.clamp(max=0.5 * 3 * 2 + 0.01)])

    found = pgd(objective, torch.full((3, 3, 2, 2), 0.5), epsilon=40, step=1, steps=30)
    assert found.broken.tolist() == [False, True, False]
    assert found.stuck.tolist() == [False, False, False]
    assert found.stalled.tolist() == [False, False, True]
    few = pgd(objective, torch.full((3, 3, 2, 2), 0.5), epsilon=40, step=1, steps=5)
    assert not few.stalled.any()  # too few steps to say


def holed(images):
    """A slope that gives no number for a gradient from 0.51 on, well on the way; its values are sound."""
    total = images.sum((1, 2, 3))
    hole = torch.where(images.mean((1, 2, 3)) > 0.51, 0.0, 1.0)
    return total + 0 * torch.sqrt(hole * total)


@pytest.mark.parametrize(
    "climb",
    [
        lambda images: pgd(holed, images, epsilon=8, step=1, steps=8),
        lambda images: apgd(holed, images, epsilon=8, iterations=8),
        lambda images: adam(holed, images, epsilon=40, iterations=8),
    ],
    ids=["pgd", "apgd", "adam"],
)
def test_a_gradient_that_is_lost_on_the_way_is_told(climb):
    images = torch.full((2, 3, 4, 4), 0.5)
    images[1] = 0.1
    found = climb(images)
    assert found.broken.tolist() == [True, False]
    assert not found.stuck.any()


def holed_at_first(images):
    """A slope that gives no number for one pixel's gradient up to 0.505 on average, and is sound from there on."""
    hole = torch.where(images.mean((1, 2, 3)) > 0.505, 1.0, 0.0)
    return images.sum((1, 2, 3)) + 0 * torch.sqrt(hole * images[:, 0, 0, 0])


@pytest.mark.parametrize(
    "climb",
    [
        lambda images: pgd(holed_at_first, images, epsilon=8, step=1, steps=8),
        lambda images: pgd_l2(holed_at_first, images, epsilon=80, step=20, steps=8),
        lambda images: apgd(holed_at_first, images, epsilon=8, iterations=8),
        lambda images: adam(holed_at_first, images, epsilon=40, iterations=8),
    ],
    ids=["pgd", "pgd_l2", "apgd", "adam"],
)
def test_a_gradient_that_was_lost_and_comes_back_is_flagged_as_lost(climb):
    images = torch.full((2, 3, 4, 4), 0.5)
    images[1] = 0.6
    climbed = climb(images)
    assert climbed.images[0].mean() > 0.505
    assert climbed.broken.tolist() == [True, False]


def test_an_objective_that_is_no_number_at_the_image_is_left_for_one_that_is():
    def objective(images):
        level = images.mean((1, 2, 3))
        return torch.where(level > 0.5, level, level * float("nan"))

    start = torch.full((1, 3, 4, 4), 4.0)
    found = pgd(objective, torch.full((1, 3, 4, 4), 0.5), epsilon=8, step=1, steps=2, start=start)
    assert found.broken.all()
    assert found.after == pytest.approx(0.5 + 4 / 255)


@pytest.mark.parametrize(("slope", "stuck"), [(0.0, True), (1e-40, True), (float("nan"), True), (1e-30, False)])
def test_a_denormal_gradient_is_none(slope, stuck):
    gradient = torch.zeros(1, 1, 2, 2)
    gradient[0, 0, 0, 0] = slope
    assert vanishes(gradient).tolist() == [stuck]
