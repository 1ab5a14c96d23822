"""The ascent against the reference's own results (golden/attacks.json), and what must hold of any ascent."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from oodbench.attacks.pgd import pgd, random_start
from oodbench.detectors.atom import cross_entropy_to_outlier
from oodbench.detectors.msp import cross_entropy_to_uniform


def sofl_objective(logits: torch.Tensor) -> torch.Tensor:
    """-log of the probability of all reject classes, for K = 3."""
    return -logits.log_softmax(1)[:, 3:].logsumexp(1)


CLIMBED = {
    "eval_outlier_class_ce": (cross_entropy_to_outlier, dict(epsilon=8, step=1, steps=40)),
    "eval_uniform_ce": (cross_entropy_to_uniform, dict(epsilon=8, step=1, steps=40)),
    "eval_sofl": (sofl_objective, dict(epsilon=8, step=1, steps=40)),
    "train_atom": (cross_entropy_to_outlier, dict(epsilon=8, step=2, steps=5)),
    "train_acet": (cross_entropy_to_uniform, dict(epsilon=8, step=2, steps=5)),
}


@pytest.mark.parametrize("name", CLIMBED)
def test_reaches_the_images_of_the_reference(name, golden, toy, toy_images):
    (case,) = [case for case in golden("attacks")["attacks"] if case["name"] == name]
    network = toy(case["net"])
    objective, constants = CLIMBED[name]
    found = pgd(lambda images: objective(network(images)), toy_images, **constants)
    deltas = ((found.images - toy_images) * 255).round().int()
    assert torch.equal(deltas, torch.tensor(case["expected_delta"], dtype=torch.int32))
    torch.testing.assert_close(found.before, torch.tensor(case["loss_clean"], dtype=torch.float64), rtol=0, atol=1e-9)
    torch.testing.assert_close(found.after, torch.tensor(case["loss_adv"], dtype=torch.float64), rtol=0, atol=1e-9)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**31), epsilon=st.integers(0, 40), step=st.integers(1, 20), steps=st.integers(1, 8))
def test_stays_in_the_ball_on_the_grid_and_never_loses(seed, epsilon, step, steps):
    generator = torch.Generator().manual_seed(seed)
    levels = torch.randint(0, 256, (5, 3, 4, 4), generator=generator)
    weights = torch.randn(48, generator=generator)
    start = random_start(torch.rand(levels.shape, generator=generator), epsilon)

    def objective(images):
        return torch.sin(8 * images.flatten(1) @ weights)

    found = pgd(objective, levels / 255, epsilon=epsilon, step=step, steps=steps, start=start)
    reached = found.images * 255
    assert (reached - reached.round()).abs().max() < 1e-3
    assert (reached.round() - levels).abs().max() <= epsilon
    assert found.images.min() >= 0
    assert found.images.max() <= 1
    assert (found.after >= found.before).all()
    torch.testing.assert_close(objective(found.images), found.after)


def test_the_start_is_whole_levels_over_the_whole_ball():
    start = random_start(torch.rand(20_000, generator=torch.Generator().manual_seed(0)), 2)
    counts = torch.stack([(start == level).sum() for level in range(-2, 3)]) / len(start)
    # round(U(-2, 2)): the two ends get half the share of the levels between.
    torch.testing.assert_close(counts, torch.tensor([1, 2, 2, 2, 1]) / 8, rtol=0, atol=0.02)


def test_says_where_the_gradient_is_zero_or_not_a_number():
    def objective(images):
        alive, dead, broken = images[:, 0, 0, 0].unbind()
        return torch.stack([alive, dead * 0, torch.sqrt(-1 - broken)])

    images = torch.full((3, 1, 2, 2), 100 / 255)
    found = pgd(objective, images, epsilon=4, step=1, steps=3)
    assert found.stuck.tolist() == [False, True, True]
    assert torch.equal(found.images[1:], images[1:])
    assert found.images[0, 0, 0, 0] * 255 == pytest.approx(103)


def test_of_equal_points_the_first_is_kept():
    images = torch.full((1, 1, 1, 2), 100 / 255)
    climbed = pgd(lambda pixels: 0 * pixels.sum((1, 2, 3)), images, epsilon=8, step=1, steps=20, start=images + 1)
    assert (255 * climbed.images).round().flatten().tolist() == [100, 100]
    assert climbed.stalled.all()
