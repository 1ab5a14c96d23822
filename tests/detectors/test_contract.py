"""What every registered detector must keep to."""

from dataclasses import fields, is_dataclass

import numpy as np
import pytest
import torch

from oodbench import networks
from oodbench.detector import IDImages
from oodbench.networks.network import Representation, as_input
from oodbench.objective import Objective
from oodbench.registry import discover
from oodbench.tasks import Linf

CLASSES = 4


@pytest.fixture(scope="module", params=discover().names())
def detector(request):
    """Each detector, fitted on random images over a network with random weights and lively batch norms."""
    detector = discover()[request.param]()
    network = networks.build("small-cnn", CLASSES + detector.objective().reject_outputs, seed=0)
    with torch.no_grad():
        network.train()
        network(as_input(pixels(64, 9)))
    detector.fit(network, CLASSES, IDImages(pixels(40, 1), torch.arange(40) % CLASSES))
    return detector


def pixels(count, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, 32, 32), generator=generator, dtype=torch.uint8)


@pytest.fixture(scope="module")
def images():
    return as_input(pixels(12, 2))


def test_declares_what_it_is(detector):
    assert detector.name == detector.name.lower()
    assert is_dataclass(detector.Parameters)
    assert all(hasattr(detector.Parameters(), field.name) for field in fields(detector.Parameters))
    objective = detector.objective()
    assert isinstance(objective, Objective)
    assert hash(objective) == hash(type(detector)().objective())


def test_scores_are_one_finite_float64_an_image(detector, images):
    scores = detector.score(images)
    assert scores.shape == (12,)
    assert scores.dtype == torch.float64
    assert torch.isfinite(scores).all()
    assert len(scores.unique()) > 1


def test_an_image_scores_alike_in_any_company(detector, images):
    together = detector.score(images)
    order = torch.tensor([7, 2, 11, 0])
    torch.testing.assert_close(detector.score(images[order]), together[order], rtol=1e-5, atol=1e-5)
    assert torch.equal(detector.score(images), together)


def test_higher_is_more_in_distribution(detector):
    outputs = detector.network(torch.zeros(1, 3, 32, 32)).shape[1]
    sure = torch.full((outputs,), -4.0).index_fill(0, torch.tensor([1]), 8.0)
    unsure = torch.zeros(outputs)
    unsure[CLASSES:] = 6.0
    scores = detector.score_representation(Representation(torch.stack([sure, unsure]), torch.zeros(2, 1), ()))
    assert scores[0] > scores[1]


def test_an_attack_has_a_gradient_and_never_loses(detector, images):
    for objective in ("published", "adaptive"):
        altered = Linf(epsilon=8, steps=5, step=2, objective=objective).alter(detector, images, np.arange(12), "x")
        assert not altered.extras["stuck"].any()
        assert (altered.extras["objective_after"] >= altered.extras["objective_before"]).all()
        assert altered.extras["objective_after"].mean() > altered.extras["objective_before"].mean()
        assert (altered.images - images).abs().max() <= 8 / 255 + 1e-6


def test_predictions_are_id_classes(detector, images):
    predictions = detector.predict(detector.network.represent(images))
    assert predictions.shape == (12,)
    assert predictions.dtype == torch.int64
    assert int(predictions.min()) >= 0
    assert int(predictions.max()) < CLASSES


def test_published_scores_keep_the_order(detector, images):
    scores = detector.score(images).detach().numpy()
    published = detector.as_published(scores)
    assert published.dtype == np.float64
    assert (np.diff(published[np.argsort(scores)]) >= 0).all()
    assert (published.astype(np.float32) == published).all()


def test_refuses_to_score_before_it_is_fitted(detector, images):
    with pytest.raises(RuntimeError, match=detector.name):
        type(detector)().score(images)
