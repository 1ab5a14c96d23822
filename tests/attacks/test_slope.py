"""The gradient that attacks climb, where networks hide it at black and white."""

import numpy as np
import pytest
import torch

from oodbench.attacks.attack_goal import Goal
from oodbench.attacks.pgd import pgd
from oodbench.attacks.slope import value_and_slope
from oodbench.basics.gradient import value_and_gradient
from oodbench.tasks.adaptive import LinfAdaptive

WEIGHTS = torch.linspace(-1, 1, 48, dtype=torch.float64).view(3, 4, 4)
CORNERS = torch.tensor([[0.0, 1.0, 0.5, 0.25]] * 4, dtype=torch.float64).expand(2, 3, 4, 4)
"""Black, white and two greys in every row."""

HIDE = {
    "both ends": lambda images: images.clamp(0, 1),
    "black": torch.relu,
    "white": lambda images: 1 - torch.relu(1 - images),
    "both ends in bfloat16": lambda images: images.to(torch.bfloat16).clamp(0, 1).double(),
}


def slope(images):
    return (images * WEIGHTS).flatten(1).sum(1)


@pytest.mark.parametrize("how", HIDE)
def test_a_gradient_that_is_hidden_at_an_end_is_taken_inside(how):
    def hiding(images):
        return slope(HIDE[how](images))

    bare, (_, found) = WEIGHTS.expand(2, 3, 4, 4), value_and_slope(hiding, CORNERS)
    torch.testing.assert_close(found, bare, rtol=0.01, atol=0.01)
    if how != "both ends in bfloat16":
        assert torch.equal(found, bare)


def test_what_hides_nothing_is_looked_at_once():
    calls = []

    def counted(images):
        calls.append(len(images))
        return slope(images) + torch.sin(images[:, 0, 1, 2])

    value, gradient = value_and_gradient(counted, CORNERS)
    found = value_and_slope(counted, CORNERS)
    assert torch.equal(found[0], value)
    assert torch.equal(found[1], gradient)
    assert calls == [2, 2]


def test_a_flat_score_stays_flat_and_costs_nothing_more():
    calls = []

    def flat(images):
        calls.append(len(images))
        return torch.relu(slope(images) - 1000)

    assert not value_and_slope(flat, CORNERS)[1].any()
    assert calls == [2]


def test_only_the_images_that_hide_one_are_looked_at_again():
    calls, images = [], torch.cat([CORNERS[:1], torch.full((1, 3, 4, 4), 0.5, dtype=torch.float64)])

    def counted(some):
        calls.append(len(some))
        return slope(some.clamp(0, 1))

    assert torch.equal(value_and_slope(counted, images)[1], WEIGHTS.expand(2, 3, 4, 4))
    assert calls == [2, 1]


@pytest.mark.parametrize("attack", ["published", "adaptive"])
def test_a_network_that_cuts_its_input_is_attacked_as_one_that_does_not(attack):
    images = (CORNERS * 255).round() / 255

    def reached(score):
        if attack == "published":
            return score(pgd(score, images, epsilon=8, step=1, steps=20).images)
        return score(LinfAdaptive(8, "quick").alter(Goal(score, score), images, np.arange(2), "x").images)

    bare, cut = reached(slope), reached(lambda some: slope(some.clamp(0, 1)))
    torch.testing.assert_close(cut, bare)
    assert (bare > slope(images) + 0.3).all()
