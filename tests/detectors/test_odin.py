"""ODIN's step, its tuning and its gradient; scores against the reference are in test_scores.py."""

import numpy as np
import pytest
import torch
from torch import nn

from oodbench.attacks.attack_goal import Goal
from oodbench.basics.errors import OodbenchError
from oodbench.detector import TuningImages
from oodbench.detectors.odin import MAGNITUDES, ODIN, step_direction
from oodbench.images.imageset import ImageSet
from oodbench.images.resident import IDImages
from oodbench.networks.network import Network, Representation
from oodbench.scoring import clean
from oodbench.scoring.batches import Purpose
from oodbench.scoring.clean import score_versions
from oodbench.scoring.fitting import FittingImages, fit
from oodbench.tasks import Linf
from oodbench.tasks.versions import Versions


class Tanh(Network):
    """A smooth network over 2x2 images."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.w = nn.Parameter(torch.randn(8, 12, generator=generator))
        self.v = nn.Parameter(torch.randn(3, 8, generator=generator))

    def represent(self, images):
        hidden = torch.tanh(images.flatten(1) @ self.w.T.to(images.dtype))
        return Representation(hidden @ self.v.T.to(images.dtype), hidden, ())


class Rounding(Tanh):
    """No gradient comes through."""

    def represent(self, images):
        return super().represent(images.detach().round())


def pixels(count, seed):
    return torch.randint(0, 256, (count, 3, 2, 2), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def test_a_zero_gradient_steps_down():
    assert step_direction(torch.tensor([0.0, -0.0, -2.0, 3.0])).tolist() == [1, 1, -1, 1]


def test_the_step_raises_the_score():
    images = pixels(20, 0) / 255
    stepped, plain = ODIN(ODIN.Parameters(magnitude=0.002)), ODIN(ODIN.Parameters(magnitude=0.0))
    fit([stepped, plain], Tanh(), 3)
    assert (stepped.score(images) > plain.score(images)).all()


def test_the_gradient_of_the_score_goes_through_the_step():
    detector = ODIN(ODIN.Parameters(magnitude=0.01, temperature=10.0))
    fit([detector], Tanh(), 3)
    images = (pixels(1, 0) / 255).double()
    shift = torch.zeros_like(images)
    shift[0, 1, 0, 1] = 1e-6
    leaf = images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(detector.score(leaf).sum(), leaf)
    numeric = (detector.score(images + shift) - detector.score(images - shift)) / 2e-6
    assert gradient[0, 1, 0, 1].item() == pytest.approx(numeric.item(), rel=1e-5)


def test_tuning_takes_the_first_of_the_best_magnitudes():
    detector = ODIN()
    shown = FittingImages(heldout=IDImages(pixels(60, 1), torch.arange(60) % 3), outliers=pixels(50, 2))
    (fitted,) = fit([detector], Tanh(), 3, shown)
    tuned = fitted.tuned
    assert [float(name) for name in tuned["tried"]] == pytest.approx(MAGNITUDES)
    assert len(MAGNITUDES) == 21
    assert MAGNITUDES[-1] == pytest.approx(0.004)
    trials = list(tuned["tried"].values())
    assert tuned["magnitude"] == pytest.approx(MAGNITUDES[trials.index(min(trials))])
    assert (tuned["source"], tuned["id_images"], tuned["outliers"]) == ("heldout", 60, 50)
    given = ODIN(ODIN.Parameters(magnitude=tuned["magnitude"]))
    fit([given], Tanh(), 3)
    images = pixels(9, 3) / 255
    assert torch.equal(given.score(images), detector.score(images))


def test_of_several_magnitudes_that_with_the_lowest_published_fpr_is_taken(monkeypatch):
    """ID images score 0 to 19, so that the published threshold is 1, and who scores 1 is rejected."""
    ood_scores = torch.full((len(MAGNITUDES), 4), 5.0)
    ood_scores[3] = torch.tensor([5.0, 1, 1, 1])
    ood_scores[7] = torch.tensor([5.0, 0, 0, 0])
    ood_scores[9] = torch.tensor([5.0, 5, 0, 0])
    by_count = {20: torch.arange(20.0).expand(len(MAGNITUDES), 20), 4: ood_scores}
    monkeypatch.setattr(ODIN, "_scores_at_magnitudes", lambda _, images: by_count[len(images)])
    tuned = ODIN().tune(TuningImages(pixels(20, 1), torch.zeros(20), pixels(4, 2)))
    assert (tuned["magnitude"], tuned["fpr95"]) == (pytest.approx(0.0006), 0.25)
    assert list(tuned["tried"].values()) == [1, 1, 1, 0.25, 1, 1, 1, 0.25, 1, 0.5, *[1] * 11]


def test_a_given_magnitude_is_not_tuned():
    (fitted,) = fit([ODIN(ODIN.Parameters(magnitude=0.001))], Tanh(), 3)
    tuned = fitted.tuned
    assert tuned == {}


def test_tuning_on_test_images_is_asked_for_by_name():
    test = IDImages(pixels(30, 1), torch.arange(30) % 3)
    (fitted,) = fit(
        [ODIN(ODIN.Parameters(tuning="id-test"))], Tanh(), 3, FittingImages(id_test=test, outliers=pixels(9, 2))
    )
    tuned = fitted.tuned
    assert tuned["source"] == "id-test"


def test_a_network_without_gradients_is_refused():
    detector = ODIN(ODIN.Parameters(magnitude=0.001))
    fit([detector], Rounding(), 3)
    with pytest.raises(OodbenchError, match="not differentiable"), torch.no_grad():
        detector.score(pixels(4, 0) / 255)
    plain = ODIN(ODIN.Parameters(magnitude=0.0))
    fit([plain], Rounding(), 3)
    with pytest.raises(OodbenchError, match="not differentiable"):
        Linf().alter(Goal.of(plain), pixels(4, 0) / 255, torch.arange(4).numpy(), "x")


@pytest.mark.parametrize("wrong", [dict(magnitude=-0.1), dict(temperature=0.0), dict(tuning="outliers")])
def test_impossible_parameters(wrong):
    with pytest.raises(ValueError, match="choose"):
        ODIN.Parameters(**wrong)


@pytest.mark.parametrize(("magnitude", "passes"), [(0.0, 1), (0.001, 2)])
def test_the_step_takes_one_pass_besides_the_shared_one(magnitude, passes, monkeypatch):
    fit([odin := ODIN(ODIN.Parameters(magnitude=magnitude))], network := Tanh(), 3)
    images = ImageSet("some", pixels(4, 0).permute(0, 2, 3, 1).numpy(), np.zeros(4, np.int64), "")
    seen = []
    monkeypatch.setattr(network, "represent", lambda some: seen.append(some) or Tanh.represent(network, some))
    # Looks that tell whether a score is steady have passes of their own.
    monkeypatch.setattr(clean, "_add_unsteadiness", lambda detectors, scored, *_: scored)
    (scored,) = score_versions([odin], images, Versions(), Purpose("x"), torch.device("cpu"))
    assert len(seen) == passes
    np.testing.assert_array_equal(scored.scores, odin.score(pixels(4, 0) / 255).detach().numpy())


def test_a_shared_pass_without_gradient_is_refused():
    fit([odin := ODIN(ODIN.Parameters(magnitude=0.001))], Rounding(), 3)
    images = ImageSet("some", pixels(4, 0).permute(0, 2, 3, 1).numpy(), np.zeros(4, np.int64), "")
    with pytest.raises(OodbenchError, match="not differentiable"):
        score_versions([odin], images, Versions(), Purpose("x"), torch.device("cpu"))
