"""Checks of an attack: what they say of one that did nothing, and of one that did its best."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from oodbench.attacks import thorough_checks
from oodbench.attacks.apgd import apgd
from oodbench.attacks.attack_goal import Goal
from oodbench.attacks.checks import (
    Attacked,
    conclude,
    gradient_error,
    gradient_missing,
    look_at,
    outguessed,
    unsteadiness,
)
from oodbench.attacks.thorough_checks import IDRanks, check_thoroughly, transfer_checks
from oodbench.basics.memory import Portions
from oodbench.detectors.msp import MSP
from oodbench.metrics import auroc, curve
from oodbench.scoring.fitting import fit


@pytest.fixture
def detector(toy):
    fitted = MSP()
    fit([fitted], toy("out3"), 3)
    return fitted


@pytest.fixture
def quick(monkeypatch):
    for name, fewer in (("LONG_CLIMB", 60), ("SHORT_CLIMB", 30), ("SQUARE_QUERIES", 100)):
        monkeypatch.setattr(thorough_checks, name, fewer)


def outguessed_share(attacked):
    return float(outguessed(attacked).double().mean())


def best(detector, images, iterations=60):
    found = apgd(detector.score, images, epsilon=8, iterations=iterations).images
    return (found * 255).round() / 255


def test_an_attack_that_did_nothing_is_beaten_by_all_and_a_good_one_by_none(detector, toy_images, quick):
    id_scores = np.linspace(-5, 2, 50)
    goal, common = Goal.of(detector), (np.arange(6), 8, "1/letters")
    nothing = check_thoroughly(Attacked(goal, toy_images, toy_images, *common), id_scores)
    good = check_thoroughly(Attacked(goal, toy_images, best(detector, toy_images), *common), id_scores)
    assert nothing["square"] == 1
    assert nothing["square_gain"] > 0.05
    assert good["square"] < 0.2
    assert good["square_gain"] < 0.01
    assert good["unbounded"] == 1
    assert good["unbounded_auroc"] < 0.01
    assert good["radii"] <= 0
    assert 0 <= good["steps"] < 0.05


def test_images_made_for_a_twin_beat_only_a_worse_attack(detector, toy_images):
    ids = np.linspace(-5, 50, 100)
    clean, attacked = (
        (images * 255).round().permute(0, 2, 3, 1).numpy().astype(np.uint8)
        for images in (toy_images, best(detector, toy_images))
    )

    def judged(own, donors, enough=np.inf):
        return transfer_checks(detector.score, own, donors, ids, enough, torch.device("cpu"))

    worse = judged(clean, [clean, attacked])
    with torch.no_grad():
        before, after = (detector.score(torch.from_numpy(each).permute(0, 3, 1, 2) / 255) for each in (clean, attacked))
    passed = [np.mean([[score > one for one in ids] for score in scores]) for scores in (before, after)]
    assert worse == {"transfer": 1, "transfer_gain": pytest.approx(passed[1] - passed[0], abs=1e-3)}
    assert judged(attacked, [clean, attacked]) == {"transfer": 0, "transfer_gain": 0}
    assert all(np.isnan(value) for value in judged(attacked, []).values())
    # An image that had got far enough was left alone with good reason.
    assert judged(clean, [attacked], enough=float(before.min()))["transfer"] == 0


def test_a_score_that_cannot_be_climbed_even_with_everything_allowed(toy_images, quick):
    def capped(images):
        return images.mean((1, 2, 3)).clamp(max=0.1)

    attacked = Attacked(Goal(capped, capped), toy_images, toy_images, np.arange(6), 8, "x")
    found = check_thoroughly(attacked, np.array([0.2, 0.3]))
    assert found["unbounded"] == 0
    assert found["unbounded_auroc"] == 1


def test_what_does_not_fit_into_memory_is_checked_in_parts_to_the_same_figures(detector, toy_images, quick):
    ids, three = detector.score(toy_images).detach().double().numpy(), toy_images[:3]
    small = Goal.of(detector, lures=toy_images[:2])

    def tight(images):
        if len(images) > 2:
            raise torch.OutOfMemoryError
        return detector.score(images)

    goal = replace(small, score=tight)
    common = (three, three, np.arange(3), 8, "1/letters")
    expected = check_thoroughly(Attacked(small, *common), ids)
    assert check_thoroughly(Attacked(goal, *common), ids) == pytest.approx(expected, abs=1e-6)
    whole, in_parts = (conclude(look_at(Attacked(one, *common), Portions())) for one in (small, goal))
    assert set(whole) == {"gradient_error", "gradient_missing", "unsteadiness", "outguessed"}
    # What is drawn for the first of two parts is drawn for the second one again.
    assert in_parts == pytest.approx(whole, abs=0.02)
    bytes_of = (three * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    asked = (bytes_of, [255 - bytes_of], ids, float("inf"), torch.device("cpu"))
    assert transfer_checks(tight, *asked) == pytest.approx(transfer_checks(detector.score, *asked), abs=1e-6)


def test_a_score_that_ties_with_id_images_does_half_the_damage_as_in_the_auroc():
    ids = np.array([0.0, 1.0, 1.0, 1.0])  # a probability that float32 rounds to 1
    reached, others = torch.tensor([0.5, 0.5]), torch.tensor([1.0, 0.5])
    fall = auroc(curve(ids, reached.numpy())) - auroc(curve(ids, others.numpy()))
    assert IDRanks(ids).gain(others, reached) == pytest.approx(fall) == 0.1875
    assert IDRanks(ids).share_passed(torch.tensor([1.0, 2.0, 0.0])).tolist() == [0.625, 1.0, 0.125]


def test_a_climb_that_does_worse_in_a_larger_ball_is_told(toy_images, quick, monkeypatch):
    """A narrow peak a little above the image, and no slope around it: only the smaller steps see it."""
    monkeypatch.setattr(thorough_checks, "SHORT_CLIMB", 2)
    grey = torch.full_like(toy_images, 0.5)

    def peak(images):
        level = (images.mean((1, 2, 3)) - 0.5) * 255
        return torch.relu(3 - (level - 2).abs()) + 0 * level

    found = check_thoroughly(Attacked(Goal(peak, peak), grey, grey, np.arange(6), 8, "x"), np.linspace(0, 3, 50))
    assert found["radii"] > 0.3


def test_an_image_that_had_got_far_enough_is_not_beaten(detector, toy_images):
    goal = Goal.of(detector, lures=toy_images[:2])
    with torch.no_grad():
        lowest = float(detector.score(toy_images).min())
    common = (toy_images, toy_images, np.arange(6), 8, "1/letters")
    assert outguessed_share(Attacked(goal, *common)) > 0.8
    assert outguessed_share(Attacked(replace(goal, enough=lowest), *common)) == 0


def test_gradient_error_is_that_of_a_wrong_gradient(toy_images):
    def half(images):
        return images.sum((1, 2, 3)) + images.detach().sum((1, 2, 3))

    # The slope is half of the rise: the rise is off by as much as the slope itself.
    assert gradient_error(half, toy_images) == pytest.approx(1, rel=1e-6)
    assert gradient_error(lambda images: images.square().sum((1, 2, 3)), toy_images) < 1e-6
    assert np.isnan(gradient_error(lambda images: images.detach().sum((1, 2, 3)), toy_images))
    assert np.isnan(gradient_error(lambda images: 0 * images.sum((1, 2, 3)), toy_images))


def test_a_gradient_that_is_too_steep_is_as_wrong_as_one_that_is_too_flat():
    images = torch.rand((6, 3, 4, 4), generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def sloping(share):
        """A sum whose gradient is `share` of what it does."""
        return lambda pixels: share * pixels.sum((1, 2, 3)) + (1 - share) * pixels.detach().sum((1, 2, 3))

    # The rise is 1 a level, the slope 2 or 0.5: half and once apart as parts of the slope, once and half of the rise.
    assert gradient_error(sloping(2), images) == pytest.approx(0.5)
    assert gradient_error(sloping(0.5), images) == pytest.approx(1)
    assert gradient_missing(sloping(2), images) == pytest.approx(1)
    assert gradient_missing(sloping(0.5), images) == pytest.approx(0.5)


def test_a_gradient_that_reaches_a_part_of_the_image_alone_is_missing_elsewhere(detector, toy_images):
    def first_channel(images):
        return detector.score(torch.cat([images[:, :1], images[:, 1:].detach()], 1))

    assert gradient_error(first_channel, toy_images) < 0.05  # along itself it is right
    assert gradient_missing(first_channel, toy_images) > 0.5
    assert gradient_missing(detector.score, toy_images) < 0.05
    assert np.isnan(gradient_missing(lambda images: images.detach().sum((1, 2, 3)), toy_images))
    assert np.isnan(gradient_missing(lambda images: 0 * images.sum((1, 2, 3)), toy_images))


@pytest.mark.parametrize("measure", [gradient_error, gradient_missing])
def test_a_gradient_is_compared_with_what_happens_to_images_alone(measure):
    """A network that cuts its input to [0, 1] is flat beyond, where no image is."""
    black_and_white = torch.tensor([[0.0, 1.0]] * 2, dtype=torch.float64).expand(5, 3, 2, 2)
    weights = torch.arange(1.0, 13, dtype=torch.float64).view(3, 2, 2)
    assert measure(lambda images: (weights * images.clamp(0, 1)).sum((1, 2, 3)), black_and_white) < 1e-6


def test_unsteady_is_what_is_random_or_looks_at_its_neighbours(toy_images):
    def centred(images):
        """As batch norm in train mode does."""
        sums = images.sum((1, 2, 3))
        return sums - sums[:3].mean()

    assert unsteadiness(lambda images: images.sum((1, 2, 3)), toy_images) == 0
    assert unsteadiness(centred, toy_images) > 0.01
    assert unsteadiness(lambda images: torch.rand(len(images)), toy_images) > 0.01


def test_an_attack_must_not_lose_against_guesses(detector, toy_images):
    goal = Goal.of(detector, lures=toy_images[:2])
    common = (np.arange(6), 8, "1/letters")
    attacked = Attacked(goal, toy_images, best(detector, toy_images), *common)
    assert outguessed_share(replace(attacked, after=toy_images)) > 0.8
    assert outguessed_share(attacked) == 0
    # An image that scores less than before has lost against itself.
    inverted = Goal(lambda images: -detector.score(images), detector.score)
    assert outguessed_share(replace(attacked, goal=inverted)) == 1
