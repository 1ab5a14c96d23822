"""Mahalanobis against the reference (golden/attacks.json), scikit-learn, and what it must refuse."""

import numpy as np
import pytest
import torch
from sklearn.covariance import EmpiricalCovariance

from oodbench.attacks.pgd import pgd
from oodbench.basics.errors import OodbenchError
from oodbench.detector import TuningImages
from oodbench.detectors.mahalanobis import Gaussians, Mahalanobis, _trial, squared_distances, whitening
from oodbench.images.resident import IDImages
from oodbench.networks.network import Network, Representation
from oodbench.scoring.fitting import FittingImages, fit

CPU = torch.device("cpu")


class TapsNetwork(Network):
    """Two 1x1 convolutions with a sine behind each, float64: the toy of golden/attacks.json, section mahalanobis."""

    def __init__(self, case, classes=3):
        super().__init__()
        self.register_buffer("w0", torch.tensor(case["W0"], dtype=torch.float64))
        self.register_buffer("w1", torch.tensor(case["W1"], dtype=torch.float64))
        self.classes = classes

    def represent(self, images):
        first = torch.sin(torch.einsum("oc,nchw->nohw", self.w0, images.double()))
        second = torch.sin(torch.einsum("oc,nchw->nohw", self.w1, first))
        features = second.mean((2, 3))
        return Representation(features[:, : self.classes], features, (first, second))


@pytest.fixture(scope="module")
def case(golden):
    return golden("attacks")["mahalanobis"]


@pytest.fixture(scope="module")
def fitted(case):
    """Fitted on the reference's training images, with its regression."""
    detector = Mahalanobis()
    images = torch.tensor(case["train_uint8"], dtype=torch.uint8).view(-1, 3, 4, 4)
    labels = torch.tensor(case["train_labels"])
    detector.attach(TapsNetwork(case), 3)
    # The reference's network saw exact float64 levels; uint8 / 255 in float32 is the same to 1e-7.
    for start in (0, 25):
        rows = slice(start, start + 25 if start == 0 else None)
        with torch.no_grad():
            detector.observe(detector.network.represent(images[rows].double() / 255), labels[rows])
    detector.settle()
    detector._weights, detector._bias = torch.tensor(case["coef"], dtype=torch.float64), case["intercept"]
    return detector


@pytest.mark.parametrize("layer", [0, 1])
def test_means_and_precision_are_the_references(case, fitted, layer):
    means, whitener = fitted._layers[layer]
    np.testing.assert_allclose(means.numpy(), case["means"][layer], rtol=1e-4)
    np.testing.assert_allclose((whitener @ whitener.T).numpy(), case["precision"][layer], rtol=1e-4)


@pytest.mark.parametrize("magnitude", ["0", "0.005"])
def test_layer_scores_are_the_references(case, fitted, toy_images, magnitude):
    scores = torch.stack(fitted._layer_scores(toy_images, float(magnitude)), 1)
    np.testing.assert_allclose(scores.detach().numpy(), case[f"layer_scores_m{magnitude}"], rtol=1e-4)


def test_the_published_attack_reaches_the_images_of_the_reference(case, fitted, toy_images):
    attack = case["attack"]
    np.testing.assert_allclose(fitted.published_objective(toy_images).numpy(), attack["loss_clean"], rtol=1e-4)
    found = pgd(fitted.published_objective, toy_images, epsilon=8, step=1, steps=40)
    np.testing.assert_allclose(found.after.numpy(), attack["loss_adv"], rtol=1e-4)
    deltas = ((found.images - toy_images) * 255).round().int()
    assert torch.equal(deltas, torch.tensor(attack["expected_delta"], dtype=torch.int32))


def random_case(count=200, dimensions=6, classes=3):
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(count) % classes
    vectors = torch.randn(count, dimensions, generator=generator, dtype=torch.float64) @ torch.randn(
        dimensions, dimensions, generator=generator, dtype=torch.float64
    )
    return vectors + labels[:, None], labels


def test_running_sums_are_scikit_learns_covariances():
    vectors, labels = random_case()
    gaussians = Gaussians(3, 6, CPU)
    for rows in torch.split(torch.arange(200), 33):
        gaussians.add(vectors[rows], labels[rows])
    residuals = vectors - gaussians.means[labels]
    np.testing.assert_allclose(gaussians.means[1], vectors[labels == 1].mean(0))
    np.testing.assert_allclose(gaussians.within(), EmpiricalCovariance().fit(residuals.numpy()).covariance_)
    np.testing.assert_allclose(gaussians.total(), EmpiricalCovariance().fit(vectors.numpy()).covariance_)
    np.testing.assert_allclose(gaussians.mean, vectors.mean(0, keepdim=True))


def test_distances_are_scikit_learns():
    vectors, _ = random_case()
    fitted = EmpiricalCovariance().fit(vectors.numpy())
    mean = torch.from_numpy(fitted.location_)[None]
    found = squared_distances(vectors, mean, whitening(torch.from_numpy(fitted.covariance_), 199, "x"))[:, 0]
    np.testing.assert_allclose(found, fitted.mahalanobis(vectors.numpy()), rtol=1e-9)


@pytest.mark.parametrize("case", ["dead", "copy"])
def test_directions_that_never_vary_count_for_nothing(case):
    vectors, _ = random_case()
    vectors[:, 2] = 3.0 if case == "dead" else 2 * vectors[:, 1]
    whitener = whitening(torch.cov(vectors.T, correction=0), 199, "x")
    found = squared_distances(vectors, vectors.mean(0, keepdim=True), whitener)[:, 0]
    kept = vectors[:, [0, 1, 3, 4, 5]].numpy()
    np.testing.assert_allclose(found, EmpiricalCovariance().fit(kept).mahalanobis(kept), rtol=1e-6)


def test_refuses_fewer_images_than_dimensions():
    vectors, _ = random_case(7)
    with pytest.raises(OodbenchError, match="tap 3: the covariance of 6 features is singular.*from 5 degrees"):
        whitening(torch.cov(vectors.T, correction=0), 5, "mahalanobis, tap 3")


def test_refuses_features_that_never_vary():
    with pytest.raises(OodbenchError, match="tap 3: no feature varies"):
        whitening(torch.zeros(4, 4, dtype=torch.float64), 50, "mahalanobis, tap 3")


def test_the_score_is_minus_the_log_odds_and_its_gradient_goes_through_the_step(fitted, toy_images):
    fitted._magnitude = 0.005
    images = toy_images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(fitted.score(images).sum(), images)
    # Away from the steps' sign changes the numeric derivative of the whole score is the analytic one.
    shift = torch.zeros_like(toy_images)
    shift[0, 1, 2, 3] = 1e-7
    with torch.no_grad():
        numeric = (fitted.score(toy_images + shift) - fitted.score(toy_images - shift))[0] / 2e-7
    assert gradient[0, 1, 2, 3].item() == pytest.approx(numeric.item(), rel=1e-4)
    with torch.no_grad():
        scores = fitted.score(toy_images)
    np.testing.assert_allclose(fitted.as_published(scores.numpy()), -1 / (1 + np.exp(scores.numpy())), rtol=1e-6)


@pytest.mark.parametrize("magnitude", [0.0, 0.005])
def test_directions_of_a_shared_pass_are_those_of_a_pass_of_its_own(fitted, toy_images, magnitude):
    fitted._magnitude = magnitude
    images = toy_images.clone().requires_grad_(fitted.needs_graph())
    with torch.set_grad_enabled(fitted.needs_graph()):
        representation = fitted.network.represent(images)
    with torch.no_grad():
        assert torch.equal(fitted.score_shared(images, representation), fitted.score(toy_images))


def shown(case, count=60, heldout=60):
    images = torch.tensor(case["train_uint8"], dtype=torch.uint8).view(-1, 3, 4, 4)
    train = IDImages(images[:count], torch.tensor(case["train_labels"])[:count])
    return FittingImages(train, train[:heldout], train, images.flip(0)[:30])


@pytest.mark.parametrize("negatives", ["perturbed", "outliers"])
def test_tuning_says_what_it_tried_and_takes_the_first_of_the_best(case, negatives):
    detector = Mahalanobis(Mahalanobis.Parameters(negatives=negatives))
    (fitted,) = fit([detector], TapsNetwork(case), 3, shown(case))
    tuned = fitted.tuned
    assert list(tuned["tried"]) == ["0.0", "0.01", "0.005", "0.002", "0.0014", "0.001", "0.0005"]
    best = min(tuned["tried"].values())
    assert tuned["fpr95"] == best
    assert tuned["magnitude"] == next(float(name) for name, value in tuned["tried"].items() if value == best)
    assert (tuned["source"], tuned["id_images"], tuned["outliers"]) == ("heldout", 60, 30 * (negatives == "outliers"))
    assert len(tuned["weights"]) == 2


def test_a_magnitude_is_judged_by_images_that_its_regression_was_not_fitted_to():
    """The first halves lie ten apart. The second ones are the same: above the second lowest ID image lie 18 of 20."""
    alike = np.linspace(0, 1, 20)[:, None]
    assert _trial(np.r_[alike, alike], np.r_[alike - 10, alike]).fpr95 == 0.9


def test_a_given_magnitude_is_kept_and_only_weights_are_fitted(case):
    detector = Mahalanobis(Mahalanobis.Parameters(magnitude=0.003))
    (fitted,) = fit([detector], TapsNetwork(case), 3, shown(case))
    tuned = fitted.tuned
    assert tuned["magnitude"] == 0.003
    assert list(tuned["tried"]) == ["0.003"]


def test_refuses_a_tap_that_the_network_lacks(case):
    detector = Mahalanobis(Mahalanobis.Parameters(taps=(0, 2)))
    with pytest.raises(OodbenchError, match=r"wants tap 2 and TapsNetwork has 2.*mahalanobis\.taps"):
        fit([detector], TapsNetwork(case), 3, shown(case))


def test_refuses_a_network_without_gradients(case):
    class Rounding(TapsNetwork):
        def represent(self, images):
            return super().represent(images.detach())

    with pytest.raises(OodbenchError, match="not differentiable"):
        fit([Mahalanobis()], Rounding(case), 3, shown(case))


def test_refuses_a_class_without_images(case):
    with pytest.raises(OodbenchError, match="no ID training image is of class 3, 4"):
        fit([Mahalanobis()], TapsNetwork(case), 5, shown(case))


def test_refuses_too_few_images_to_tune_on(case):
    with pytest.raises(OodbenchError, match="19 ID images to tune on; 20 are the least"):
        fit([Mahalanobis()], TapsNetwork(case), 3, shown(case, heldout=19))


@pytest.mark.parametrize("wrong", [dict(magnitude=-1.0), dict(tuning="test"), dict(negatives="noise")])
def test_impossible_parameters(wrong):
    with pytest.raises(ValueError, match="choose"):
        Mahalanobis.Parameters(**wrong)


def test_perturbed_negatives_climb_the_loss_of_their_label(fitted, toy_images):
    labels = torch.zeros(6, dtype=torch.long)
    perturbed = fitted._perturbed(toy_images, labels)
    before, after = (
        torch.nn.functional.cross_entropy(fitted.network(images), labels) for images in (toy_images, perturbed)
    )
    assert after > before
    assert (perturbed - toy_images).abs().max() <= 0.05 + 1e-9
    assert perturbed.min() >= 0
    assert perturbed.max() <= 1


def test_tuning_images_can_be_given_by_hand(fitted, case):
    images = shown(case)
    tuned = fitted.tune(TuningImages(images.heldout.images, images.heldout.labels, images.outliers))
    assert tuned["fpr95"] <= 1
