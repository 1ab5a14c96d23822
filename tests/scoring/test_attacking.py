"""One task against one detector: the lures, the score at which it stops, and what is stored of the images after it."""

import numpy as np
import pytest
import torch

from oodbench.attacks.attack_goal import Goal
from oodbench.detector import Detector
from oodbench.images.imageset import ImageSet, image_digests
from oodbench.scoring import attacking
from oodbench.scoring.attacking import LURES, Attack, aim, images_to_look_at, score_attacked, stopping_score
from oodbench.scoring.batches import Purpose
from oodbench.scoring.fitting import fit
from oodbench.scoring.scored import Scored, join_parts
from oodbench.tasks import LinfAdaptive, Task
from oodbench.tasks.task import Altered
from tests.pixelnetwork import Pixels

CPU = torch.device("cpu")


class Bright(Detector):
    """The brightness of an image."""

    name = "bright"
    paper = "none"

    def score_representation(self, representation):
        return representation.features.double().flatten(1).mean(1)


class Lighter(Task):
    """Every pixel is lighter by a number of levels, which need not be whole."""

    kind = "lighter"
    epsilon = 8
    levels = 5.0

    def alter(self, goal, images, indices, purpose):
        return Altered((images + self.levels / 255).clamp(max=1))


@pytest.fixture
def bright():
    detector = Bright()
    fit([detector], Pixels(), 2)
    return detector


def grey(*levels):
    """A set of one 8 x 8 image of each grey level."""
    pixels = np.tile(np.asarray(levels, np.uint8)[:, None, None, None], (1, 8, 8, 3))
    return ImageSet("grey", pixels, np.zeros(len(levels), np.int64), "drawn")


def attack(detector, task, **options):
    return Attack(detector, task, Goal.of(detector), Purpose(1, "grey"), **options)


def test_an_attack_has_enough_where_an_image_has_passed_nearly_all_id_images():
    task = LinfAdaptive(8)
    assert 0.9 < task.stops_at() < 1
    assert stopping_score(np.arange(10.0), task) == 9
    assert stopping_score(np.ones(10), task) == np.inf  # who reaches one score of all has not passed it


def test_lures_are_the_id_images_with_the_highest_scores(bright):
    levels = np.arange(10, 10 + 3 * LURES, 2)
    scores = levels / 255
    goal = aim(bright, LinfAdaptive(8), grey(*levels), scores, CPU)
    assert (255 * goal.lures[:, 0, 0, 0]).round().tolist() == levels[::-1][:LURES].tolist()


def test_in_every_batch_the_images_that_were_chosen_are_climbed_on_with(bright, monkeypatch):
    monkeypatch.setattr(attacking, "batch_size", lambda *_: 2)
    to_continue = np.array([True, False, False, False, False, True])
    scored = score_attacked(attack(bright, Lighter(), to_continue=to_continue), grey(*range(100, 106)), CPU)
    assert (~np.isnan(scored.extras["continued"])).tolist() == to_continue.tolist()


@pytest.mark.parametrize(("levels", "outside"), [(5.0, 0), (5.4, 1), (8.0, 0), (9.0, 1)])
def test_an_image_that_left_the_ball_or_the_grid_is_outside(bright, levels, outside):
    task = Lighter()
    task.levels = levels
    assert score_attacked(attack(bright, task), grey(100), CPU).extras["outside"].tolist() == [outside]


def test_digests_are_of_the_attacked_images_whether_these_are_kept_or_not(bright):
    lighter = image_digests(grey(105, 155).images)
    for keep in (True, False):
        scored = score_attacked(attack(bright, Lighter(), keep_images=keep), grey(100, 150), CPU)
        assert np.array_equal(scored.digests, lighter)
        assert len(scored.images) == (2 if keep else 0)


def test_an_attack_is_checked(bright, monkeypatch):
    monkeypatch.setattr(attacking, "batch_size", lambda *_: 2)
    checks = score_attacked(attack(bright, Lighter()), grey(*range(100, 104)), CPU).checks
    assert checks["gradient_error"] == pytest.approx(0, abs=1e-3)
    assert checks["unsteadiness"] == 0


class BlindToLight(Bright):
    """No gradient comes back from images that are rather bright."""

    def score_representation(self, representation):
        score = super().score_representation(representation)
        return torch.where(score > 0.5, score.detach(), score)


@pytest.mark.parametrize("last_first", [False, True])
def test_a_fault_on_a_part_of_a_sorted_set_is_seen_wherever_that_part_lies(last_first):
    detector = BlindToLight()
    fit([detector], Pixels(), 2)
    levels = np.r_[np.arange(20, 120), np.full(200, 200)]
    checks = score_attacked(attack(detector, Lighter()), grey(*levels[:: -1 if last_first else 1]), CPU).checks
    assert checks["gradient_missing"] == 1  # on two images in three


def test_processes_that_attack_a_part_each_check_the_attack_as_one_does():
    detector = BlindToLight()
    fit([detector], Pixels(), 2)
    images = grey(*np.r_[np.arange(20, 220), np.full(100, 200)])
    marked = dict(zip(("to_continue", "to_check"), images_to_look_at(images, Lighter(), CPU), strict=True))
    whole = attack(detector, Lighter(), **marked)
    shares = [slice(0, 150), slice(150, 151), slice(151, 300)]
    parts = [score_attacked(whole.part(share), images.part(share), CPU) for share in shares]
    together, alone = join_parts(parts), score_attacked(whole, images, CPU)
    assert together.checks == pytest.approx(alone.checks, abs=1e-6)
    assert together.checks["gradient_missing"] > 0.5 > parts[0].checks["gradient_missing"]


def test_of_a_check_that_does_not_say_what_it_saw_the_worst_part_counts():
    parts = [Scored(np.zeros(1), np.zeros(1, np.int64), checks={"unsteadiness": value}) for value in (0.1, np.nan, 0.3)]
    assert join_parts(parts).checks == {"unsteadiness": 0.3}
