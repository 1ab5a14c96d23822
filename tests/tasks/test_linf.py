"""The L-infinity task as the runner sees it."""

import numpy as np
import pytest
import torch

from oodbench.attacks.attack_goal import Goal
from oodbench.basics.passes import Passes
from oodbench.detectors.msp import MSP
from oodbench.scoring.fitting import fit
from oodbench.tasks import Linf


@pytest.fixture
def msp(toy):
    detector = MSP()
    fit([detector], toy("out3"), 3)
    return detector


def test_an_image_is_attacked_alike_in_any_company(msp, toy_images):
    task = Linf(epsilon=8, steps=5, step=2)
    together = task.alter(Goal.of(msp), toy_images, np.arange(6), "1/linf/letters").images
    order = np.array([4, 0, 5, 2])
    apart = task.alter(Goal.of(msp), toy_images[order], order, "1/linf/letters").images
    assert torch.equal(apart, together[order])


def test_purpose_and_index_choose_the_start(msp, toy_images):
    task = Linf(epsilon=8, steps=1, step=1)
    one = task.alter(Goal.of(msp), toy_images, np.arange(6), "1/linf/letters").images
    assert not torch.equal(one, task.alter(Goal.of(msp), toy_images, np.arange(6), "2/linf/letters").images)
    assert not torch.equal(one, task.alter(Goal.of(msp), toy_images, np.arange(6) + 6, "1/linf/letters").images)


def test_adaptive_never_lowers_the_score_and_beats_the_surrogate_on_it(msp, toy_images):
    clean = msp.score(toy_images)
    scores = {}
    for objective in ("published", "adaptive"):
        altered = Linf(epsilon=8, objective=objective).alter(Goal.of(msp), toy_images, np.arange(6), "1/linf/letters")
        scores[objective] = msp.score(altered.images)
    assert (scores["adaptive"] >= clean).all()
    assert scores["adaptive"].mean() > scores["published"].mean()


def test_extras_are_the_objective_at_the_stored_images(msp, toy_images):
    altered = Linf(epsilon=4).alter(Goal.of(msp), toy_images, np.arange(6), "1/linf/letters")
    before, after = msp.published_objective(toy_images), msp.published_objective(altered.images)
    np.testing.assert_allclose(altered.extras["objective_before"], before.numpy(), atol=1e-12)
    np.testing.assert_allclose(altered.extras["objective_after"], after.numpy(), atol=1e-12)
    assert not altered.extras["stuck"].any()


def test_cost_counts_clean_candidate_last_iterate_and_score():
    assert Linf(steps=40).passes() == Passes(forward=43, backward=40)


def test_counted_cost_is_what_is_spent(msp, toy_images):
    calls = []
    msp.network.register_forward_hook(lambda *_: calls.append(1))
    Linf(epsilon=8, steps=7).alter(Goal.of(msp), toy_images, np.arange(6), "x")
    assert len(calls) == Linf(steps=7).passes().forward - 1  # the last one is the score


@pytest.mark.parametrize(
    "constants",
    [dict(epsilon=-1), dict(epsilon=256), dict(steps=0), dict(step=0), dict(objective="surrogate")],
)
def test_refuses_impossible_constants(constants):
    with pytest.raises(ValueError, match="choose|at least"):
        Linf(**constants)
