"""What must hold of every rule of ascent, and what Adam is there for."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from oodbench.attacks.adam import RATE, adam
from oodbench.attacks.apgd import apgd

BOTH = pytest.mark.parametrize("climb", [apgd, adam])


def grey(level, count=3):
    return torch.full((count, 1, 2, 2), level / 255, dtype=torch.float64)


@BOTH
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), epsilon=st.integers(0, 40), iterations=st.integers(1, 12))
def test_stays_in_the_ball_and_never_loses(climb, seed, epsilon, iterations):
    generator = torch.Generator().manual_seed(seed)
    images, start = torch.rand((2, 5, 1, 3, 3), generator=generator, dtype=torch.float64)
    weights = 8 * torch.randn(9, generator=generator, dtype=torch.float64)

    def objective(some):
        return torch.sin(some.flatten(1) @ weights)

    found = climb(objective, images, epsilon=epsilon, iterations=iterations, start=start)
    assert (found.images - images).abs().max() <= epsilon / 255 + 1e-12
    assert found.images.min() >= 0
    assert found.images.max() <= 1
    assert (found.after >= found.before).all()
    torch.testing.assert_close(objective(found.images), found.after)


@BOTH
def test_an_image_climbs_alike_in_any_company(climb):
    generator = torch.Generator().manual_seed(3)
    images = torch.rand((6, 1, 3, 3), generator=generator, dtype=torch.float64)
    weights = 20 * torch.randn(9, generator=generator, dtype=torch.float64)

    def objective(some):
        return torch.sin((some.flatten(1) * weights).sum(1))

    together = climb(objective, images, epsilon=8, iterations=30)
    apart = climb(objective, images[[4, 1]], epsilon=8, iterations=30)
    assert torch.equal(apart.images, together.images[[4, 1]])
    one_after_the_other = climb(objective, images, epsilon=8, iterations=30, batch=1)
    assert torch.equal(one_after_the_other.images, together.images)


@BOTH
def test_says_where_there_is_nothing_to_climb(climb):
    def objective(some):
        alive, dead, broken = some[:, 0, 0, 0].unbind()
        return torch.stack([alive, dead * 0, torch.sqrt(-1 - broken)])

    found = climb(objective, grey(100), epsilon=4, iterations=3)
    assert found.stuck.tolist() == [False, True, True]
    assert found.broken.tolist() == [False, False, True]
    assert torch.equal(found.images[1:], grey(100)[1:])


@BOTH
@pytest.mark.parametrize("iterations", [1, 2, 7, 40])
def test_cost_is_one_pass_more_than_iterations(climb, iterations):
    calls = []

    def objective(some):
        calls.append(1)
        return some.sum((1, 2, 3))

    climb(objective, grey(100), epsilon=4, iterations=iterations)
    assert len(calls) == iterations + 1


def test_adams_first_step_and_last():
    # The first is the gradient's sign, so long as RATE says; steps shrink evenly, the last of 2 is half as long.
    seen = []

    def slope(images):
        seen.append(images.detach().clone())
        return (images * torch.tensor([1.0, -3.0, 0.0, 2.0]).double().view(1, 1, 2, 2)).sum((1, 2, 3))

    adam(slope, grey(100, 1), epsilon=16, iterations=2)
    steps = [255 * (after - before).flatten() for before, after in pairwise(seen)]
    expected = RATE * 16 * torch.tensor([1.0, -1.0, 0.0, 1.0]).double()
    torch.testing.assert_close(steps[0], expected, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(steps[1], expected / 2, rtol=1e-6, atol=1e-9)


def test_adam_climbs_where_steps_of_one_size_go_nowhere():
    """A squared distance, a thousand times as steep in some directions as in others; its maximum is in the ball."""
    generator = torch.Generator().manual_seed(0)
    images = 0.3 + 0.4 * torch.rand((4, 1, 6, 6), generator=generator, dtype=torch.float64)
    goal = images + (torch.rand(images.shape, generator=generator, dtype=torch.float64) - 0.5) * 16 / 255
    axes, _ = torch.linalg.qr(torch.randn((36, 36), generator=generator, dtype=torch.float64))

    def score(some):
        return -(((some - goal).flatten(1) @ axes).square() * torch.logspace(0, 3, 36).double()).sum(1)

    by_signs, by_adam = (climb(score, images, epsilon=8, iterations=100).after for climb in (apgd, adam))
    assert (by_adam > by_signs / 100).all()
