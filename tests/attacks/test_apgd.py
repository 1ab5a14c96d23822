"""APGD: its schedule, and its step rule on objectives whose maximum is known."""

import pytest
import torch

from oodbench.attacks.apgd import apgd, checkpoints
from oodbench.attacks.pgd import pgd


def test_checkpoints_are_those_of_the_paper():
    assert checkpoints(100) == [22, 41, 57, 70, 80, 87, 93, 99]
    assert checkpoints(10)[-1] <= 10


def grey(level, count=3):
    return torch.full((count, 1, 2, 2), level / 255, dtype=torch.float64)


def test_a_slope_is_climbed_to_the_edge_of_the_ball():
    found = apgd(lambda images: images.sum((1, 2, 3)), grey(100), epsilon=8, iterations=5)
    torch.testing.assert_close(found.images * 255, torch.full((3, 1, 2, 2), 108.0, dtype=torch.float64))
    torch.testing.assert_close(found.after - found.before, torch.full((3,), 4 * 8 / 255, dtype=torch.float64))


def test_steps_shrink_to_a_maximum_between_them():
    # A peak 3.3 levels up, 3.3 down and at the image itself: steps of 16 levels overshoot until they are halved.
    peaks = grey(100) + torch.tensor([3.3, -3.3, 0.0]).double().view(3, 1, 1, 1) / 255
    found = apgd(lambda images: -(images - peaks).abs().sum((1, 2, 3)), grey(100), epsilon=8, iterations=100)
    assert ((found.images - peaks).abs() * 255).max() < 0.3


def test_finds_what_fixed_steps_miss():
    generator = torch.Generator().manual_seed(0)
    images = torch.rand((8, 1, 4, 4), generator=generator, dtype=torch.float64)
    frequencies = 40 * torch.randn((16, 12), generator=generator, dtype=torch.float64)

    def bumpy(some):
        return torch.sin(some.flatten(1) @ frequencies).sum(1)

    fixed = pgd(bumpy, images, epsilon=8, step=1, steps=100)
    assert apgd(bumpy, images, epsilon=8, iterations=100).after.mean() > fixed.after.mean()


def test_an_image_stops_where_it_is_enough_and_the_next_one_enters():
    """Slopes of 1 to 4 a pixel: the steep images reach the height soon and make room."""
    slopes, seen = torch.arange(1.0, 5.0).double(), []
    images = grey(100, 4)
    images[:, 0, 0, 0] = slopes / 255  # by which the objective tells them apart

    def objective(some):
        seen.append(len(some))
        steepness = (some[:, 0, 0, 0].detach() * 255).round()
        return steepness * some[:, :, 1].sum((1, 2)) * 255

    found = apgd(objective, images, epsilon=0.4, iterations=12, enough=3 * 200.5, batch=2)
    assert found.after.tolist() == pytest.approx([200.8, 401.6, 602.4, 800.0])
    assert found.stalled.tolist() == [True, True, False, False]
    assert seen[:13] == [2] * 13  # the first two never get there
    assert seen[13:] == [2, 1]  # the last is high enough where it stands, the third after one step
