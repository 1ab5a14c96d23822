"""The L2 task as the runner sees it: where it starts."""

import numpy as np
import pytest
import torch

from oodbench.attacks.attack_goal import Goal
from oodbench.tasks import L2


def test_a_climb_starts_anywhere_in_the_ball_darker_or_lighter_and_elsewhere_for_each_image():
    places = []

    def objective(pixels):
        places.append(255 * pixels.detach())
        return pixels.sum((1, 2, 3))

    images = torch.full((50, 3, 4, 4), 0.5)
    L2(epsilon=64, steps=1).alter(Goal(objective, objective), images, np.arange(50), "1/letters")
    clean, start = places[:2]
    changes = start - clean
    assert (changes != 0).any() and changes.flatten(1).norm(dim=1).amax() <= 64 + 1e-3
    assert changes.mean() == pytest.approx(0, abs=changes.std().item() / 10)
    assert not torch.equal(changes[0], changes[1])
