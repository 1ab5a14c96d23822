"""A random score in the harness: fixed draws wherever it is scored, and attacks that climb what is expected of it."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from oodbench.attacks import convergence
from oodbench.attacks.attack_goal import Goal, scores_per_look
from oodbench.basics.draws import CommonDraws, DrawsPerImage
from oodbench.basics.passes import Passes
from oodbench.detector import Detector
from oodbench.images.imageset import ImageSet
from oodbench.scoring.attacking import Attack, attack_passes, score_attacked
from oodbench.scoring.batches import ImageBatch, Purpose
from oodbench.scoring.clean import score_floats, score_versions
from oodbench.scoring.fitting import fit
from oodbench.statistics import honesty
from oodbench.tasks import Linf, LinfAdaptive, constants
from oodbench.tasks.versions import Versions
from tests.pixelnetwork import Pixels

CPU = torch.device("cpu")


class Shaken(Detector):
    """Brightness along a direction that each draw tilts: what is expected of it is the brightness."""

    name = "shaken"
    paper = "none"

    @dataclass(frozen=True)
    class Parameters:
        """How far it tilts."""

        tilt: float = 3.0

    def draws(self):
        return 1

    def score_drawn(self, images, draws):
        tilted = 1 + self.parameters.tilt * draws.normal(0, images)
        return (images * tilted).double().mean((1, 2, 3))

    def score_representation(self, representation):
        raise TypeError("shaken draws")


@pytest.fixture
def detector():
    made = Shaken()
    fit([made], Pixels(), 2)
    return made


def images(count=70, name="letters"):
    pixels = np.random.default_rng(0).integers(60, 190, (count, 8, 8, 3), dtype=np.uint8)
    return ImageSet(name, pixels, np.zeros(count, np.int64), "drawn")


def test_an_image_has_its_draws_in_any_batch_and_part_of_the_set(detector):
    (whole,) = score_versions([detector], images(), Versions(), Purpose(1, "letters"), CPU)
    assert whole.checks["unsteadiness"] == 0.0
    (part,) = score_versions([detector], images().part(slice(66, 70)), Versions(), Purpose(1, "letters"), CPU)
    assert np.array_equal(part.scores, whole.scores[66:])
    (renamed,) = score_versions([detector], images(name="attacked"), Versions(), Purpose(1, "attacked"), CPU)
    assert np.array_equal(renamed.scores, whole.scores)
    (other,) = score_versions([detector], images(), Versions(), Purpose(2, "letters"), CPU)
    assert not (other.scores == whole.scores).any()
    pixels = torch.from_numpy(images().images).permute(0, 3, 1, 2).float() / 255
    by_hand = detector.score_drawn(pixels, DrawsPerImage(range(70), "score", "1"))
    np.testing.assert_allclose(whole.scores, by_hand, rtol=1e-12)
    floats = score_floats(detector, ImageBatch(pixels, np.arange(70), Purpose(1, "letters"), "letters"), CPU)
    np.testing.assert_allclose(floats.scores, whole.scores, rtol=1e-12)
    assert floats.checks["unsteadiness"] == 0.0


def test_a_score_that_draws_and_does_not_say_so_is_found(detector):
    detector.score_drawn = lambda some, draws: (some * (1 + torch.rand(some.shape))).double().mean((1, 2, 3))
    (found,) = score_versions([detector], images(), Versions(), Purpose(1, "letters"), CPU)
    assert found.checks["unsteadiness"] > honesty.FLAGS["unsteadiness"].tolerated


def test_an_attack_on_the_expectation_does_more_than_one_on_a_single_draw(detector):
    """The direction of one draw is tilted by three times itself, that of the mean over 100 draws by 0.3 of itself."""
    some = images(3)
    many, one = (score_attacked(_keeping(detector, eot), some, CPU).images.astype(float) for eot in (100, 1))
    assert (many - some.images).mean((1, 2, 3)).min() > 7.5
    assert (one - some.images).mean((1, 2, 3)).max() < 4


def _keeping(detector, eot):
    task = LinfAdaptive(8, "quick", eot=eot)
    return Attack(detector, task, Goal.of(detector, draws=eot), Purpose(1, "letters"), keep_images=True)


def test_attacked_images_are_scored_with_the_runs_draws_which_the_attack_never_saw(detector, monkeypatch):
    asked = []
    honest = CommonDraws.normal
    monkeypatch.setattr(CommonDraws, "normal", lambda self, *given: asked.append(self) or honest(self, *given))
    found = score_attacked(_keeping(detector, 20), images(3), CPU)
    pixels = torch.from_numpy(found.images).permute(0, 3, 1, 2).float() / 255
    again = detector.score_drawn(pixels, DrawsPerImage(range(3), "score", "1"))
    np.testing.assert_allclose(found.scores, again, rtol=1e-12)
    assert asked  # climbs and judge draw, and none of them what an image is scored with
    monkeypatch.undo()
    judged = Goal.of(detector, draws=20).score(pixels)
    np.testing.assert_allclose(found.extras["objective_after"], judged, rtol=1e-9)
    assert not np.isclose(found.scores, judged).any()


def test_each_climb_has_draws_of_its_own_and_the_judge_others(detector):
    goal, some = Goal.of(detector), torch.rand(2, 3, 8, 8)
    values = [
        goal.score(some),
        goal.score_for_climb("1/score")(some),
        goal.score_for_climb("1/adam")(some),
        goal.score_for_climb("2/adam")(some),
    ]
    assert len({value[0].item() for value in values}) == 4
    assert torch.equal(goal.score_for_climb("1/adam")(some), values[2])
    against = Goal.against(detector)
    assert torch.equal(against.score(some), -values[0])
    assert torch.equal(against.score_for_climb("1/adam")(some), -values[2])


def test_an_image_is_attacked_alike_in_any_company(detector):
    some = torch.from_numpy(images(5).images).permute(0, 3, 1, 2).float() / 255
    task, order = LinfAdaptive(8, "quick"), np.array([4, 0])
    together = task.alter(Goal.of(detector), some, np.arange(5), "1/letters").images
    assert torch.equal(task.alter(Goal.of(detector), some[order], order, "1/letters").images, together[order])


@pytest.mark.parametrize("task", [Linf(4, steps=3, objective="adaptive"), LinfAdaptive(4, "quick")])
def test_no_attack_costs_more_than_announced(detector, task, monkeypatch):
    monkeypatch.setattr(convergence, "CONTINUED", 0)
    looked = []
    scored = detector.score_drawn
    detector.score_drawn = lambda some, draws: looked.append(len(some)) or scored(some, draws)
    detector.own_passes = lambda: Passes(1)
    task.alter(Goal.of(detector, draws=task.eot), torch.rand(4, 3, 8, 8), np.arange(4), "x")
    announced = 4 * attack_passes(task, detector).forward
    assert 0.5 * announced < sum(looked) <= announced


def test_an_attack_says_how_many_passes_it_took(detector):
    detector.own_passes = lambda: Passes(1)
    task, asked = LinfAdaptive(4, "quick", eot=3), []
    scored = detector.score_drawn
    detector.score_drawn = lambda some, draws: asked.append(len(some)) or scored(some, draws)
    Goal.of(detector, draws=3).with_counter(asked.append).score(torch.rand(2, 3, 8, 8))
    assert asked == [6, 2, 2, 2]
    found = score_attacked(Attack(detector, task, Goal.of(detector, draws=3), Purpose(1, "letters")), images(4), CPU)
    announced = 4 * attack_passes(task, detector).forward
    assert 0.5 * announced < found.looks <= announced


def test_a_look_has_the_draws_that_are_asked_for():
    made = Shaken()
    assert scores_per_look(made, 50) == 50
    made.draws = lambda: 20
    assert scores_per_look(made, 50) == 3
    made.draws = lambda: 1000
    assert scores_per_look(made, 50) == 1


def test_a_constant_that_came_later_is_said_only_where_it_is_another():
    assert "eot" not in constants(LinfAdaptive())
    assert constants(LinfAdaptive(eot=10))["eot"] == 10
    with pytest.raises(ValueError, match="eot is 0"):
        LinfAdaptive(eot=0)
