"""Smoothed scores on images at hand: closed forms of a linear score, one path for every kind of score, seeds."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import oodbench
from oodbench.basics.errors import OodbenchError
from oodbench.detector import Detector
from oodbench.images.imageset import ImageSet
from oodbench.networks.smallcnn import SmallCNN
from oodbench.registry import discover
from oodbench.scoring.attacking import score_attacked
from oodbench.scoring.batches import Purpose
from oodbench.scoring.fitting import fit
from oodbench.scoring.scored import Scored
from oodbench.scoring.smoothed import TRIVIAL, attack_at_radii, attacked_set, parts, score_smoothed, smoothed_attack
from oodbench.tasks import Smoothed
from tests.pixelnetwork import Pixels

CPU = torch.device("cpu")


class Linear(Detector):
    """The first half of the pixels less the second: |w| = sqrt(192), so noise moves it by sigma * sqrt(192)."""

    name = "linear"
    paper = "none"

    def score_representation(self, representation):
        features = representation.features.double()
        return features[:, :96].sum(1) - features[:, 96:].sum(1)


class Shaken(Linear):
    """The same and a draw of its own."""

    name = "shaken"

    def draws(self):
        return 1

    def score_drawn(self, images, draws):
        tilt = draws.normal(0, images)[:, 0, 0, 0]
        return self.score_representation(self.network.represent(images)) + 100 * tilt


def fitted(detector=None):
    detector = detector or Linear()
    detector.attach(Pixels(), 2)
    return detector


def pictures(count, seed=0, name="toys"):
    images = np.random.default_rng(seed).integers(60, 200, (count, 8, 8, 3), np.uint8)
    return ImageSet(name, images, np.zeros(count, np.int64), "drawn")


def scores_of(detector, images, task, seed=1, count=None):
    (scored,) = score_smoothed([detector], images, task, Purpose(seed, "toys"), CPU, count or len(images))
    return scored


def plain(detector, images):
    return detector.score(torch.from_numpy(images.images).permute(0, 3, 1, 2).float() / 255).numpy()


def test_a_linear_score_is_bounded_as_its_closed_form_says():
    task, images, norm = Smoothed(sigma=0.1, draws=600, radii=(8, 26), confidence=0.5), pictures(6), 192**0.5
    scored = scores_of(fitted(), images, task)
    exact = plain(fitted(), images)
    np.testing.assert_allclose(scored.scores, exact, atol=0.1 * norm * 0.15)
    for radius in task.radii:
        moved = radius / 255 * norm
        beyond = scored.extras[f"high-{radius}"] - exact
        below = exact - scored.extras[f"low-{radius}"]
        for over in (beyond, below):  # no image of the ball scores higher than `moved`, and the bound is not far above
            assert (over >= moved).all()
            assert (over <= moved + 0.1 * norm * 0.5).all()


def test_bounds_that_hold_for_more_images_together_are_wider():
    task, images = Smoothed(sigma=0.1, draws=600, radii=(8,), confidence=0.5), pictures(6)
    few, many = (scores_of(fitted(), images, task, count=count) for count in (6, 600))
    assert (many.extras["high-8"] > few.extras["high-8"]).all()
    assert (many.extras["low-8"] < few.extras["low-8"]).all()


def test_batches_parts_and_other_detectors_change_nothing(monkeypatch):
    task, images = Smoothed(sigma=0.1, draws=30, radii=(1,), confidence=0.5), pictures(5)
    once = scores_of(fitted(), images, task)
    halves = [scores_of(fitted(), images.part(part), task, count=5) for part in (slice(0, 2), slice(2, 5))]
    network = Pixels()
    both = [Shaken(), Linear()]
    for detector in both:
        detector.attach(network, 2)
    beside = score_smoothed(both, images, task, Purpose(1, "called otherwise"), CPU, 5)
    for name in ("low-1", "high-1"):
        np.testing.assert_allclose(np.concatenate([half.extras[name] for half in halves]), once.extras[name], atol=1e-4)
    np.testing.assert_allclose(np.concatenate([half.scores for half in halves]), once.scores, atol=1e-4)
    np.testing.assert_allclose(beside[1].scores, once.scores, atol=1e-4)
    assert (scores_of(fitted(), images, task, seed=2).scores != once.scores).all()
    monkeypatch.setattr("oodbench.scoring.batches.batch_size", lambda device, side: 2)
    np.testing.assert_allclose(scores_of(fitted(), images, task).scores, once.scores, atol=1e-4)


def test_each_detector_over_a_network_predicts_for_itself():
    class Contrary(Linear):
        """Names the other of the two classes."""

        name = "contrary"

        def predict(self, representation):
            return 1 - super().predict(representation)

    network = Pixels()
    detectors = [Linear(), Contrary()]
    for detector in detectors:
        detector.attach(network, 2)
    one, other = score_smoothed(detectors, pictures(5), Smoothed(draws=300), Purpose(1, "toys"), CPU, 5)
    assert (one.predictions + other.predictions == 1).all()


def test_a_score_that_draws_gets_new_draws_with_each_copy():
    task, images = Smoothed(sigma=0.01, draws=300, radii=(1,), confidence=0.5), pictures(3)
    scored = scores_of(fitted(Shaken()), images, task)
    assert np.abs(scored.scores - plain(fitted(), images)).max() < 25  # one draw for all copies would leave it 100 off
    spread = scored.extras["high-1"] - scored.extras["low-1"]
    assert (spread > 5).all()


def test_bounds_widen_with_the_radius_and_hold_the_score():
    task = Smoothed(sigma=0.1, draws=120, radii=(2, 5, 9, 200), confidence=0.9)
    scored = scores_of(fitted(), pictures(4), task)
    highs = np.array([scored.scores, *(scored.extras[f"high-{radius}"] for radius in task.radii)])
    lows = np.array([scored.scores, *(scored.extras[f"low-{radius}"] for radius in task.radii)])
    assert (np.diff(highs, axis=0) >= 0).all()
    assert (np.diff(lows, axis=0) <= 0).all()
    assert (highs[-1] == TRIVIAL).all()
    assert (lows[-1] == -TRIVIAL).all()


def attacked(detector, task, role, images, beside, level_scores):
    def at(radius):
        attack = smoothed_attack(detector, task, radius, role, beside, Purpose(1, "toys"), CPU)
        left = score_attacked(attack, images, CPU)
        return left, scores_of(detector, attacked_set(images, left), task)

    return attack_at_radii(task, role, level_scores, at)


@pytest.mark.usefixtures("briefly_continued")
@pytest.mark.parametrize("role", ["ood", "id"])
def test_an_attack_lies_between_the_score_and_its_bound(role):
    task = Smoothed(sigma=0.1, draws=100, radii=(20,), attack="quick", eot=2, side="both")
    images, ids, detector = pictures(2), pictures(8, 1, "ids"), fitted()
    scored, of_id = scores_of(detector, images, task), np.arange(8.0) + 1e9  # beyond reach: no image is left alone
    found = attacked(detector, task, role, images, (ids, of_id), scored)
    sign = 1 if role == "ood" else -1
    bound = "high" if role == "ood" else "low"
    for radius, left in found.items():
        assert (sign * (scored.extras[f"{bound}-{radius}"] - left.scores) >= 0).all()
        # A linear score can be moved by |w| * radius, and 8-bit images nearly so far.
        assert (sign * (left.scores - scored.scores) > 0.8 * 192**0.5 * radius / 255).all()


def test_an_image_that_stays_keeps_its_prediction():
    def scored(scores, predictions):
        return Scored(np.array(scores), np.array(predictions), {})

    task = Smoothed(radii=(20,), attack="quick")
    before, after = scored([5.0, 1.0], [0, 0]), scored([4.0, 2.0], [1, 1])
    left = replace(after, digests=np.zeros((2, 32), np.uint8))
    (found,) = attack_at_radii(task, "ood", before, lambda radius: (left, after)).values()
    assert found.scores.tolist() == [5, 2]
    assert found.predictions.tolist() == [0, 1]
    assert not found.digests.size  # nobody was scored on these images as a whole


def test_what_may_not_move_counts_by_its_smoothed_score():
    task = Smoothed(sigma=0.1, draws=120, radii=(2, 5), confidence=0.9, side="in")
    scored = scores_of(fitted(), pictures(4), task)
    of_ood = {part.name: part.scored.scores for part in parts("s", task, "ood", scored, {})}
    of_id = {part.name: part.scored.scores for part in parts("s", task, "id", scored, {})}
    assert [*of_ood] == [*of_id] == ["s", "s-eps2", "s-eps5"]
    assert all((scores == scored.scores).all() for scores in of_ood.values())
    assert (of_id["s-eps5"] == scored.extras["low-5"]).all()


def test_every_detector_that_shares_a_plain_network_goes_the_same_way():
    network, images = SmallCNN(4).eval(), pictures(3)
    images = ImageSet("toys", np.tile(images.images, (1, 4, 4, 1)), images.labels, "drawn")
    names = ("msp", "energy", "maxlogit", "gen", "median", "gradnorm")
    detectors = [discover()[name]() for name in names]
    fit(detectors, network, 4)
    task = Smoothed(sigma=0.1, draws=8, radii=(1,), confidence=0.1)
    for detector, scored in zip(
        detectors, score_smoothed(detectors, images, task, Purpose(1, "toys"), CPU, 1), strict=True
    ):
        assert np.isfinite(scored.scores).all(), detector.name
        assert (scored.extras["low-1"] < scored.extras["high-1"]).all(), detector.name


def test_evaluate_guarantees_for_anybodys_score():
    ids, others = pictures(30), pictures(20, 3)
    ids.images[:, :, :4] += 8  # about as much as they differ from each other
    task = Smoothed(sigma=0.1, draws=200, radii=(2, 300), confidence=0.9, side="both")
    frame = oodbench.evaluate(lambda images: images[:, :, :, :4].mean((1, 2, 3)), ids, {"o": others}, attack=task)
    aurocs = frame[frame.metric == "auroc"]
    assert list(aurocs.task) == ["clean", "smoothed", "smoothed-guaranteed", "smoothed-guaranteed"]
    assert list(aurocs.epsilon) == [0, 0, 2, 300]
    clean, itself, near, far = aurocs["value"]
    assert clean >= itself > near > far == 0.0
    # Attacked ID images are held against the threshold of the smoothed ones, and the smoothed ones not against others.
    assert set(frame[frame.metric == "fnr_clean"].epsilon) == {2, 300}
    few = Smoothed(sigma=0.1, draws=3, radii=(2,))
    with pytest.raises(OodbenchError, match="3 draws guarantee nothing of 20 images"):
        oodbench.evaluate(lambda images: images.mean((1, 2, 3)), ids, {"o": others}, attack=few)
