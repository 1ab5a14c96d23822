"""PGD in an L2 ball, step by step: where it looks, what it keeps, and where it says that its climb stalls."""

import pytest
import torch

from oodbench.attacks.pgd_l2 import pgd_l2


def levels(*values):
    """One image of a row of pixels, in levels."""
    return torch.tensor(values, dtype=torch.float64)[None, None, None] / 255


def test_a_step_is_as_long_as_it_says_and_the_last_one_counts():
    places = []

    def uphill(images):
        places.append(255 * images[0, 0, 0].detach())
        return 255 * (images * torch.tensor([3.0, 4.0], dtype=torch.float64)).sum((1, 2, 3))

    climbed = pgd_l2(uphill, levels(100, 100), epsilon=64, step=10, steps=2, start=levels(100, 100))
    # The image, the start, one step and two of 10 along (3, 4), and the last once more on the grid.
    expected = [[100, 100], [100, 100], [106, 108], [112, 116], [112, 116]]
    assert [place.tolist() for place in places] == [pytest.approx(place) for place in expected]
    assert (255 * climbed.images).flatten().tolist() == pytest.approx([112, 116])
    assert (climbed.after - climbed.before).item() == pytest.approx(3 * 12 + 4 * 16)


def test_what_is_better_between_the_levels_alone_is_not_kept():
    def between(images):
        """Up to 1 half way between two levels above 100, a little less than 0 on them."""
        above = 255 * images.sum((1, 2, 3)) - 100
        return torch.where(above > 0, torch.sin(torch.pi * above) ** 2, 0 * above) - 0.01 * above.abs()

    climbed = pgd_l2(between, levels(100), epsilon=5, step=1, steps=1, start=levels(100.75))
    assert (255 * climbed.images).item() == pytest.approx(100)
    assert climbed.after.item() == climbed.before.item() == pytest.approx(0, abs=1e-6)


def test_it_says_where_its_climb_stalls():
    def objective(images):
        slope, plateau = images.sum((1, 2, 3)).unbind()
        return torch.stack([slope, plateau.clamp(max=2 * 0.5 + 0.01)])

    images = torch.full((2, 1, 1, 2), 0.5)
    assert pgd_l2(objective, images, epsilon=60, step=1, steps=30).stalled.tolist() == [False, True]
    assert not pgd_l2(objective, images, epsilon=60, step=1, steps=5).stalled.any()
