"""The adaptive tier: what holds of any attack, and defences that fool the published one."""

import inspect
from dataclasses import replace

import numpy as np
import pytest
import torch

from oodbench.attacks.attack_goal import Goal
from oodbench.attacks.checks import gradient_error, gradient_missing, unsteadiness
from oodbench.detectors.msp import MSP
from oodbench.metrics import curve
from oodbench.scoring.fitting import fit
from oodbench.statistics import honesty
from oodbench.tasks import Linf
from oodbench.tasks.adaptive import LEVELS, LinfAdaptive
from oodbench.tasks.adaptive_search import STAGES


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


@pytest.mark.parametrize(("masked", "short"), [(Scaled, 0.01), (GradientKiller, 0.01), (SaturatedSigmoid, 0.01)])
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
def test_no_image_costs_more_than_announced(toy, toy_images, level):
    detector, seen = Plain(), []
    fit([detector], toy("out3"), 3)
    LinfAdaptive(8, level).alter(Goal.of(detector).with_counter(seen.append), toy_images, np.arange(6), "x")
    assert sum(seen) <= len(toy_images) * LinfAdaptive(8, level).passes().forward
    # Three classes where nine are announced, and no surrogate of its own.
    assert sum(seen) > 0.5 * len(toy_images) * LinfAdaptive(8, level).passes().forward


def test_an_image_that_is_far_enough_costs_no_more(toy, toy_images):
    detector, seen = Plain(), []
    fit([detector], toy("out3"), 3)
    with torch.no_grad():
        scores = detector.score(toy_images)
    goal = replace(Goal.of(detector), enough=float(scores.median()))
    altered = LinfAdaptive(8).alter(goal.with_counter(seen.append), toy_images, np.arange(6), "x")
    assert (altered.extras["retired"] == (altered.extras["objective_after"] >= goal.enough)).all()
    assert altered.extras["retired"][scores.numpy() >= goal.enough].all()
    assert sum(seen) < 0.7 * len(toy_images) * LinfAdaptive(8).passes().forward


def test_lures_are_followed_to_the_edge_of_the_ball(toy_images):
    lure = toy_images[5:]

    def near(images):
        """Rises towards one image only, in steps that have no gradient."""
        return -(images - lure).abs().flatten(1).mean(1).mul(200).round() + 0 * images.sum((1, 2, 3))

    altered = LinfAdaptive(32, "quick").alter(Goal(near, near, lures=lure), toy_images[:5], np.arange(5), "x")
    assert (altered.extras["stage"] == STAGES.index("lure")).all()
    assert (altered.extras["guessed"] == 1).all()


def test_without_a_gradient_there_is_random_search_and_it_is_said(toy, toy_images):
    detector = Plain()
    fit([detector], toy("out3"), 3)

    def detached(images):
        return detector.score(images).detach()

    altered = LinfAdaptive(8, "quick").alter(Goal(detached, detached), toy_images, np.arange(6), "x")
    assert (altered.extras["blind"] == 1).all()
    assert altered.extras["objective_after"].mean() > altered.extras["objective_before"].mean()


def test_a_gradient_that_is_not_a_number_is_flagged(toy, toy_images):
    detector = Plain()
    fit([detector], toy("out3"), 3)

    def broken(images):
        return detector.score(images) + 0 * torch.sqrt(images[:, 0, 0, 0] - images[:, 0, 0, 0])

    altered = LinfAdaptive(8, "quick").alter(Goal(broken, broken), toy_images, np.arange(6), "x")
    assert (altered.extras["broken"] == 1).all()


class Quantised(MSP):
    """Sees images in eight levels, which have no gradient."""

    def score(self, images):
        return super().score((images * 7).round() / 7 + 0 * images)


class Noisy(MSP):
    """Adds noise of its own to every image."""

    def score(self, images):
        return super().score(images + 0.05 * torch.randn_like(images))


class Detached(MSP):
    """Half of the gradient is lost on the way."""

    def score(self, images):
        return super().score(images) + 5 * images.detach().sum((1, 2, 3))


class HalfBlind(MSP):
    """The gradient reaches one channel of three."""

    def score(self, images):
        return super().score(torch.cat([images[:, :1], images[:, 1:].detach()], 1))


class Saturated(MSP):
    """Ends in a float32 sigmoid, far out on its flat side."""

    def score(self, images):
        return torch.sigmoid(super().score(images).float() + 200)


@pytest.mark.parametrize(
    ("planted", "flag"),
    [
        (Quantised, "guessed"),
        (Quantised, "stuck"),
        (Saturated, "stuck"),
        (Noisy, "unsteadiness"),
        (Detached, "gradient_error"),
        (HalfBlind, "gradient_missing"),
    ],
)
def test_a_planted_fault_raises_its_flag(toy, toy_images, planted, flag):
    detector, sound = planted(), Plain()
    for each in (detector, sound):
        fit([each], toy("out3"), 3)
    goal = Goal.of(detector)
    extras = LinfAdaptive(8, "quick").alter(goal, toy_images, np.arange(6), "x").extras
    checks = {
        "check_gradient_error": gradient_error(goal.score, toy_images),
        "check_gradient_missing": gradient_missing(goal.score, toy_images),
        "check_unsteadiness": unsteadiness(goal.score, toy_images),
    }
    found = honesty.measure_flags(curve([1.0], [0.0]), extras, checks)
    assert found[flag] > honesty.FLAGS[flag].tolerated
    assert gradient_error(sound.score, toy_images) < 0.05
    assert gradient_missing(sound.score, toy_images) < 0.05
    assert unsteadiness(sound.score, toy_images) < 1e-12


class Decides(MSP):
    """What its paper climbs is a decision, which has no gradient at all."""

    def published_objective(self, images):
        return (self.score(images) > 0).double().detach()


@pytest.mark.parametrize("random", [False, True])
def test_what_has_no_gradient_keeps_nobody_from_climbing_the_rest(toy, toy_images, random):
    detector = Decides()
    fit([detector], toy("out3"), 3)
    goal = Goal.of(detector)
    bare = replace(goal, published=goal.score)
    if random:  # a random score is climbed after its surrogates
        goal, bare = (replace(one, expected=lambda climb: goal.score) for one in (goal, bare))
    left = [LinfAdaptive(8, "standard").alter(one, toy_images, np.arange(6), "x") for one in (goal, bare)]
    assert not left[0].extras["blind"].any()
    with torch.no_grad():
        reached = [detector.score(one.images) for one in left]
    torch.testing.assert_close(*reached, atol=0.02, rtol=0)


def test_without_a_gradient_of_the_score_its_surrogates_are_climbed_all_the_same(toy, toy_images):
    detector = Plain()
    fit([detector], toy("out3"), 3)

    def rounded(images):
        return detector.score(images).detach()

    task = LinfAdaptive(8, "standard")
    goals = Goal(rounded, detector.score), Goal(detector.score, detector.score)
    helped, bare = (task.alter(goal, toy_images, np.arange(6), "x") for goal in goals)
    assert helped.extras["blind"].all()
    with torch.no_grad():
        reached, best = (detector.score(one.images) for one in (helped, bare))
    torch.testing.assert_close(reached, best, atol=0.1, rtol=0)


def test_an_attack_that_picks_its_images_is_flagged(toy, toy_images):
    """As one does that attacks an image only if its meaningless label is predicted: nothing here sees labels."""
    detector = Plain()
    fit([detector], toy("out3"), 3)
    goal, task = Goal.of(detector), LinfAdaptive(8, "quick")
    extras = dict(task.alter(goal, toy_images, np.arange(6), "x").extras)
    extras["objective_after"][:3] = extras["objective_before"][:3]
    assert honesty.measure_flags(curve([1.0], [0.0]), extras, {})["unmoved"] == 0.5
    assert "label" not in " ".join(inspect.signature(task.alter).parameters)


def test_against_id_images_the_score_goes_down(toy, toy_images):
    detector = Plain()
    fit([detector], toy("out3"), 3)
    for task in (Linf(8, side="in"), LinfAdaptive(8, "quick", side="in")):
        altered = task.alter(Goal.against(detector), toy_images, np.arange(6), "x")
        with torch.no_grad():
            assert (detector.score(altered.images) < detector.score(toy_images)).all()


@pytest.mark.parametrize("wrong", [dict(epsilon=-1), dict(epsilon=256), dict(level="hard"), dict(side="up")])
def test_refuses_impossible_constants(wrong):
    with pytest.raises(ValueError, match="choose"):
        LinfAdaptive(**wrong)


class Killed(MSP):
    """The way back from the score gives zeros, as a gradient killer in front of the network does."""

    def score(self, images):
        return super().score(images.detach()) + 0 * images.sum((1, 2, 3))


def test_where_the_gradient_is_killed_random_search_goes_on_and_it_is_said(toy, toy_images):
    detector, seen = Killed(), []
    fit([detector], toy("out3"), 3)
    altered = LinfAdaptive(8, "quick").alter(Goal.of(detector).with_counter(seen.append), toy_images, np.arange(6), "x")
    assert altered.extras["stuck"].all()
    assert not altered.extras["blind"].any()
    assert (altered.extras["stage"] == STAGES.index("square")).mean() > 0.5
    assert (altered.extras["guessed"] == 1).all()
    unmasked = attacked(Plain, LinfAdaptive(8, "quick"), toy, toy_images)[1].extras["objective_after"]
    before, after = (altered.extras[f"objective_{when}"] for when in ("before", "after"))
    assert (after - before).mean() > 0.7 * (unmasked - before).mean()
    assert sum(seen) <= 6 * (LinfAdaptive(8, "quick").passes().forward + LEVELS["quick"].blind + 2)


def test_nothing_is_left_to_do_when_all_images_are_far_enough(toy, toy_images):
    detector = Plain()
    fit([detector], toy("out3"), 3)

    def score(images):
        if not len(images):  # as a network with x.view(x.size(0), -1) does
            raise RuntimeError("cannot reshape tensor of 0 elements into shape [0, -1]")
        return detector.score(images)

    goal = replace(Goal.of(detector), score=score, published=score, surrogates={"same": score}, enough=-1e3)
    altered = LinfAdaptive(8, "plus").alter(goal, toy_images, np.arange(6), "x")
    assert altered.extras["retired"].all()
    assert not altered.extras["guessed"].any()


def test_a_gradient_lost_on_the_way_is_flagged(toy, toy_images):
    detector = Plain()
    fit([detector], toy("out3"), 3)
    with torch.no_grad():
        clean = detector.score(toy_images)

    def holed(images):
        """No number for a gradient from a little above the images' own scores on."""
        score = detector.score(images)
        return score + 0 * torch.sqrt(torch.where(score > clean.max() + 0.01, 0.0, 1.0) * images.sum((1, 2, 3)))

    altered = LinfAdaptive(8, "quick").alter(Goal(holed, holed), toy_images, np.arange(6), "x")
    assert (altered.extras["broken"] > altered.extras["stuck"]).any()


@pytest.mark.parametrize(
    ("level", "looks"), [("quick", 1 + 5 + 42 + 42 + 1), ("standard", 1 + 17 + 102 + 202 + 52 + 208 + 1)]
)
def test_an_image_that_never_gets_far_enough_gets_every_stage(level, looks):
    """No lures, surrogates or targets: the image, corners, points and its mean; APGD and Adam on the score, each with a
    look at the image it begins with and one at what it found; the published objective; four restarts; and one look at
    whether an image that was as good after ten steps is at the top.
    """
    batches = []

    def score(images):
        batches.append(len(images))
        return images.double().sum((1, 2, 3))

    images = torch.full((3, 3, 4, 4), 100 / 255)
    altered = LinfAdaptive(8, level).alter(Goal(score, score), images, np.arange(3), "1/grey")
    assert (255 * altered.images).round().unique().tolist() == [108]
    assert sum(batches) == 3 * looks
