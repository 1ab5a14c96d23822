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


def places_looked_at(value, slope, iterations, epsilon=100):
    """Where APGD looks on a line, in levels from the image.

    Args:
        value: of the objective, by place and number of the look.
        slope: that its gradient tells there, likewise.
        iterations: of APGD.
        epsilon: radius in levels.
    """
    places = []

    def objective(images):
        place = 255 * images.sum((1, 2, 3)) - 127.5
        look = len(places)
        places.append(place.item())
        return (place - place.detach()) * slope(places[-1], look) + value(places[-1], look)

    apgd(objective, torch.full((1, 1, 1, 1), 0.5, dtype=torch.float64), epsilon=epsilon, iterations=iterations)
    return places


def test_a_walk_by_hand_has_momentum_and_goes_back_to_the_best_point():
    """A peak 50 levels up in a ball of 100; checkpoints are 3, 5, 6 and 7 of 10.

    The first step, of 200, ends at the edge, 100. From there 0.75 of the way to -100 and 0.25 of the last move: -25.
    Then 0.75 of the way to 100 and 0.25 of -125: 37.5. Only one step of three went up, so the step is halved: from
    37.5 three quarters to 100 and a quarter of 62.5, which is 100; from there three quarters to 0 and a quarter of
    62.5: 40.625. One step of two went up, and a step of 50 leads to 63.28125, further from the peak than 40.625 was:
    it goes on from there, without momentum since it had come from there, by three quarters of 25.
    """
    places = places_looked_at(lambda at, _: -abs(at - 50), lambda at, _: 1.0 if at < 50 else -1.0, 10)
    assert places[:8] == pytest.approx([0, 100, -25, 37.5, 100, 40.625, 63.28125, 59.375], abs=1e-6)


def test_steps_that_rise_to_nothing_better_are_halved():
    """Checkpoints are 5 and 9 of 20. All steps go up until 5, so nothing is halved there; then three of four go up, and
    still end below the best point, 100, where the slope pointed down: it goes on from there, by a step of 100.
    """
    values = [0, 1, 2, 3, 4, 5, -10, -9, -8, -7, *[-20] * 11]
    places = places_looked_at(lambda _, look: values[look], lambda _, look: 1.0 if look < 5 else -1.0, 20)
    assert places[5:10] == pytest.approx([100, -50, -100, -100, -100], abs=1e-6)
    # Three quarters of the way from 100 to 0, and a quarter of the way that it had come, from -100.
    assert places[10] == pytest.approx(75, abs=1e-6)
