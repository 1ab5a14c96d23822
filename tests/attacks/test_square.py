"""Square: its schedule, what it finds without gradients, and what must hold of any attack."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from oodbench.attacks.square import square, window_share


def generators(count, seed=0):
    return [np.random.default_rng([seed, index]) for index in range(count)]


def test_windows_shrink_as_in_the_paper():
    shares = {
        query: window_share(query, 10_000) for query in (0, 10, 11, 51, 201, 501, 1001, 2001, 4001, 6001, 8001, 9999)
    }
    assert list(shares.values()) == pytest.approx([0.8 / 2**halvings for halvings in (0, 0, *range(1, 10), 9)])
    assert window_share(5, 5_000) == window_share(10, 10_000)


def test_a_slope_is_climbed_to_the_corner_without_a_gradient():
    weights = torch.where(torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0)) < 0.5, -1.0, 1.0)
    images = torch.full((4, 3, 8, 8), 100 / 255)

    def step_function(some):
        return ((some - images) * weights > 4 / 255).double().sum((1, 2, 3))

    found = square(step_function, images, epsilon=8, queries=600, generators=generators(4))
    assert (found.after > 0.75 * 192).all()
    assert ((found.images - images).abs() * 255).max() == pytest.approx(8, abs=1e-3)
    assert torch.equal(step_function(found.images), found.after)


def test_never_loses_and_stays_in_the_ball():
    images = torch.rand((5, 3, 6, 6), generator=torch.Generator().manual_seed(1))

    def objective(some):
        return torch.sin(30 * some.double()).sum((1, 2, 3))

    found = square(objective, images, epsilon=20, queries=40, generators=generators(5))
    assert (found.after >= found.before).all()
    assert (found.images - images).abs().max() <= 20 / 255 + 1e-6
    assert found.images.min() >= 0
    assert found.images.max() <= 1
    assert not found.stuck.any()


def test_an_image_is_searched_alike_in_any_company():
    images = torch.rand((6, 3, 6, 6), generator=torch.Generator().manual_seed(1))

    def objective(some):
        return torch.sin(30 * some.double()).sum((1, 2, 3))

    together = square(objective, images, epsilon=8, queries=30, generators=generators(6))
    own = generators(6)
    apart = square(objective, images[[4, 1]], epsilon=8, queries=30, generators=[own[4], own[1]])
    assert torch.equal(apart.images, together.images[[4, 1]])


def test_a_small_window_is_one_pixel_and_a_large_one_fits():
    seen = []

    def objective(some):
        seen.append(some.clone())
        return torch.arange(len(seen), len(seen) + 1).double().expand(len(some))

    square(objective, torch.full((1, 3, 4, 6), 0.5), epsilon=8, queries=2_000, generators=generators(1))
    changed = [int((one != other).any(1).sum()) for one, other in pairwise(seen[2:])]
    assert max(changed) <= 16
    assert max(changed[-200:]) == 1
