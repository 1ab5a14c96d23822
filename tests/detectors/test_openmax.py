"""OpenMax: Weibull tails against SciPy's, probabilities by the paper's algorithm written out, and what it refuses."""

import numpy as np
import pytest
import torch
from scipy.special import expit
from scipy.stats import weibull_min

from oodbench.basics.errors import OodbenchError
from oodbench.detectors.openmax import OpenMax, weibull
from tests.detectors.features import learned


def test_tails_are_scipys():
    for seed, (shape, scale) in enumerate([(0.7, 3.0), (2.0, 0.01), (12.0, 40.0)]):
        values = weibull_min.rvs(shape, scale=scale, size=40, random_state=seed)
        theirs = weibull_min.fit(values, floc=0)
        mine = weibull(values)
        np.testing.assert_allclose(mine, (theirs[0], theirs[2]), rtol=1e-3)
        likelihood = weibull_min.logpdf(values, mine[0], scale=mine[1]).sum()
        assert likelihood >= weibull_min.logpdf(values, *theirs).sum() - 1e-9


def test_a_tail_has_the_shape_that_it_was_drawn_from():
    values = weibull_min.rvs(3.0, scale=5.0, size=100_000, random_state=0)
    np.testing.assert_allclose(weibull(values), (3.0, 5.0), rtol=0.01)


def test_distances_in_another_unit_have_another_scale_and_the_same_shape():
    values = np.array([3.0, 4.0, 4.5, 7.0])
    (shape, scale), (scaled_shape, scaled) = weibull(values), weibull(values * 1e6)
    assert (scaled_shape, scaled) == (pytest.approx(shape), pytest.approx(scale * 1e6))


@pytest.mark.parametrize("values", [[2.0, 2.0, 2.0], [0.0, 1.0, 2.0], [5.0]])
def test_no_distribution_is_likeliest_for_values_that_are_all_alike(values):
    with pytest.raises(ValueError, match="equally far"):
        weibull(np.array(values))


def clouds(classes=3, count=30, spread=1.0, seed=0):
    """Logits of images around 8 at their class and 0 elsewhere, and labels."""
    labels = torch.arange(classes * count) % classes
    noise = torch.randn(len(labels), classes, generator=torch.Generator().manual_seed(seed))
    return 8.0 * torch.nn.functional.one_hot(labels, classes) + spread * noise, labels


def fitted(logits, labels, **parameters):
    """Over a network whose features are its logits."""
    classes = logits.shape[1]
    head = torch.nn.Linear(classes, classes, bias=False)
    head.weight.data = torch.eye(classes)
    return learned(OpenMax(OpenMax.Parameters(**parameters)), logits, labels, classes, head)


def by_the_paper(query, logits, labels, tail, alpha):
    """P of the unknown class: algorithms 1 and 2, image by image, with SciPy's Weibull distribution."""
    classes = logits.shape[1]
    models = []
    for label in range(classes):
        mine = logits[(labels == label) & (logits.argmax(1) == label)]
        mean = mine.mean(0)
        tails = np.sort(np.linalg.norm(mine - mean, axis=1))[-tail:]
        models.append((mean, *weibull(tails)))
    found = []
    for image in query:
        revised, unknown = image.copy(), 0.0
        for rank, label in enumerate(np.argsort(-image)[:alpha], start=1):
            mean, shape, scale = models[label]
            extreme = weibull_min.cdf(np.linalg.norm(image - mean), shape, scale=scale)
            revised[label] = image[label] * (1 - (alpha - rank + 1) / alpha * extreme)
            unknown += image[label] - revised[label]
        found.append(np.exp(unknown) / (np.exp(revised).sum() + np.exp(unknown)))
    return np.array(found)


@pytest.mark.parametrize(("tail", "alpha"), [(20, 3), (10, 2), (5, 1), (20, 2)])
def test_probabilities_are_those_of_the_paper_s_algorithm(tail, alpha):
    logits, labels = clouds()
    detector, network = fitted(logits, labels, tail=tail, alpha=alpha)
    query = torch.cat([clouds(seed=1)[0][:20], 4 * torch.rand(20, 3, generator=torch.Generator().manual_seed(2))])
    scores = detector.score_representation(network.seen(query)).detach().numpy()
    as_arrays = (each.double().numpy() for each in (query, logits, labels))
    expected = by_the_paper(*as_arrays, tail, alpha)
    np.testing.assert_allclose(expit(-scores), expected, rtol=1e-6)
    np.testing.assert_allclose(detector.as_published(scores), -expected, rtol=1e-5)


def test_most_images_like_those_of_a_class_score_higher_than_any_between_the_classes():
    logits, labels = clouds()
    detector, network = fitted(logits, labels)
    alike = detector.score_representation(network.seen(clouds(seed=3)[0]))
    others = detector.score_representation(network.seen(3 + 0.1 * clouds(seed=4)[0]))
    assert (alike > others.max()).double().mean() > 0.6


def test_more_classes_than_there_are_means_all():
    logits, labels = clouds(classes=2)
    scores = [
        detector.score_representation(network.seen(logits))
        for detector, network in (fitted(logits, labels, alpha=alpha) for alpha in (2, 10))
    ]
    assert torch.equal(*scores)


def test_far_away_there_is_still_a_finite_gradient_and_no_tie():
    logits, labels = clouds()
    detector, _ = fitted(logits, labels)
    far = torch.tensor([[50.0, 0.0, -5.0], [500.0, 1.0, 0.0], [5e3, -1e4, 3.0]], requires_grad=True)
    scores = detector.score_representation(detector.network.seen(far)._replace(logits=far))
    (gradient,) = torch.autograd.grad(scores.sum(), far)
    assert gradient.isfinite().all()
    assert (gradient.abs().amax(1) > 0).all()
    assert len(scores.unique()) == 3


def test_images_that_are_not_recognised_have_no_say():
    logits, labels = clouds()
    detector, network = fitted(logits, labels)
    wrong, wrong_labels = torch.cat([logits, -logits]), torch.cat([labels, labels])
    other, _ = fitted(wrong, wrong_labels)
    query = network.seen(clouds(seed=1)[0])
    recognised = (wrong.argmax(1) == wrong_labels)[len(logits) :]
    assert not recognised.any()
    assert torch.equal(detector.score_representation(query), other.score_representation(query))


def test_classes_that_the_network_does_not_recognise_are_named():
    logits, labels = clouds(classes=4)
    logits[labels == 2] = logits[labels == 1]
    with pytest.raises(
        OodbenchError, match=r"openmax: 1 of 4 classes have fewer than 20 .*: class 2 \(0\).*openmax\.tail"
    ):
        fitted(logits, labels)


def test_too_few_images_are_refused():
    with pytest.raises(OodbenchError, match=r"openmax: 3 of 3 classes .* class 0 \(5\), 1 \(5\), 2 \(5\)"):
        fitted(*clouds(count=5))


def test_images_that_are_all_alike_are_refused():
    logits, labels = clouds(spread=0.0)
    with pytest.raises(OodbenchError, match="openmax: the 20 images of class 0 .*equally far"):
        fitted(logits, labels)


def test_a_last_layer_that_is_not_linear_does_not_matter():
    logits, labels = clouds()
    detector, network = learned(OpenMax(), logits, labels, 3, torch.nn.Sequential(torch.nn.Identity()))
    assert torch.isfinite(detector.score_representation(network.seen(logits))).all()


def test_a_thousand_classes():
    logits, labels = clouds(classes=1000, count=3)
    detector, network = fitted(logits, labels, tail=3)
    scores = detector.score_representation(network.seen(logits[:50]))
    assert torch.isfinite(scores).all()
    assert len(scores.unique()) == 50


@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_no_distribution_is_fitted_to_what_is_not_finite(value):
    with pytest.raises(ValueError, match="no finite distance"):
        weibull(np.array([1.0, value, 2.0]))


@pytest.mark.parametrize("values", [{"tail": 1}, {"alpha": 0}])
def test_impossible_parameters(values):
    with pytest.raises(ValueError, match="choose"):
        OpenMax.Parameters(**values)
