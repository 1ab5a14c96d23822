"""The adaptive tier: what holds of any attack, and defences that fool the published one."""

import numpy as np
import pytest
import torch

from oodbench.attacks.goal import Goal
from oodbench.detectors.msp import MSP
from oodbench.fitting import fit
from oodbench.passes import Passes
from oodbench.tasks import Linf
from oodbench.tasks.adaptive import LEVELS, LinfAdaptive


class Plain(MSP):
    """MSP of the toy network."""


class Scaled(MSP):
    """Logits times 1000: the softmax is exactly 1 in float32, its log-odds are not."""

    def score_representation(self, representation):
        return super().score_representation(representation._replace(logits=1000 * representation.logits))

    def published_objective(self, images):
        return (1000 * self.network(images).float()).softmax(1).amax(1)


class GradientKiller(MSP):
    """What the paper would climb has no gradient left."""

    def published_objective(self, images):
        return super().published_objective(images).round() + 0 * images.sum((1, 2, 3))


class SaturatedSigmoid(MSP):
    """What the paper would climb is a float32 sigmoid far out on its flat side."""

    def published_objective(self, images):
        return torch.sigmoid(self.score(images).float() + 200)


def attacked(cls, task, toy, images):
    detector = cls()
    fit([detector], toy("out3"), 3)
    altered = task.alter(Goal.of(detector), images, np.arange(len(images)), "1/letters")
    with torch.no_grad():
        scores = detector.score(altered.images)
    return detector, altered, scores


@pytest.mark.parametrize("level", ["quick", "standard"])
def test_stays_in_the_ball_on_the_grid_and_stores_what_it_scored(toy, toy_images, level):
    detector, altered, scores = attacked(Plain, LinfAdaptive(8, level), toy, toy_images)
    levels = altered.images * 255
    assert (levels - levels.round()).abs().max() < 1e-6
    assert ((levels - toy_images * 255).abs().round()).max() <= 8
    assert altered.images.min() >= 0
    assert altered.images.max() <= 1
    np.testing.assert_allclose(altered.extras["objective_after"], scores, rtol=1e-9)
    with torch.no_grad():
        np.testing.assert_allclose(altered.extras["objective_before"], detector.score(toy_images), rtol=1e-9)
    assert (altered.extras["objective_after"] >= altered.extras["objective_before"]).all()


def test_a_higher_level_is_never_weaker_and_beats_the_published_attack(toy, toy_images):
    scores = {
        task: attacked(Plain, task, toy, toy_images)[2]
        for task in (Linf(8), Linf(8, objective="adaptive"), LinfAdaptive(8, "quick"), LinfAdaptive(8, "standard"))
    }
    published, score_pgd, quick, standard = scores.values()
    assert standard.mean() >= quick.mean()
    assert (standard >= published - 0.05).all()
    assert standard.mean() > score_pgd.mean()


# Logits times 1000 turn the score into a difference of two maxima, which gradients climb less well.
@pytest.mark.parametrize(("masked", "short"), [(Scaled, 0.1), (GradientKiller, 0.02), (SaturatedSigmoid, 0.02)])
def test_a_mask_that_fools_the_published_attack_does_not_fool_this_one(toy, toy_images, masked, short):
    unmasked = attacked(Plain, LinfAdaptive(8), toy, toy_images)[1]
    detector, _, reached = attacked(masked, LinfAdaptive(8), toy, toy_images)
    _, weak, fooled = attacked(masked, Linf(8), toy, toy_images)
    with torch.no_grad():
        clean, transferred = detector.score(toy_images), detector.score(unmasked.images)
    gap = reached.mean() - clean.mean()
    assert transferred.mean() - reached.mean() < short * gap  # as good as the attack on the twin without the mask
    assert reached.mean() - fooled.mean() > 0.2 * gap or weak.extras["stuck"].all()


def test_an_image_is_attacked_alike_in_any_company(toy, toy_images):
    detector = Plain()
    fit([detector], toy("out3"), 3)
    task, order = LinfAdaptive(8, "quick"), np.array([4, 0, 5])
    together = task.alter(Goal.of(detector), toy_images, np.arange(6), "1/letters").images
    assert torch.equal(task.alter(Goal.of(detector), toy_images[order], order, "1/letters").images, together[order])


@pytest.mark.parametrize("level", LEVELS)
def test_counted_cost_is_what_is_spent(toy, toy_images, level):
    detector = Plain()
    fit([detector], toy("out3"), 3)
    calls = []
    detector.network.register_forward_hook(lambda *_: calls.append("forward"))
    represent = detector.network.represent
    detector.network.represent = lambda images: (calls.append("represent"), represent(images))[1]
    LinfAdaptive(8, level).alter(Goal.of(detector), toy_images, np.arange(6), "x")
    assert calls.count("represent") == LinfAdaptive(8, level).passes().forward - 1  # the last one is the score
    assert LinfAdaptive(8, "quick").passes() == Passes(1 + 4 + 1 + 1 + 41, 41)


@pytest.mark.parametrize("wrong", [dict(epsilon=-1), dict(epsilon=256), dict(level="hard")])
def test_refuses_impossible_constants(wrong):
    with pytest.raises(ValueError, match="choose"):
        LinfAdaptive(**wrong)
