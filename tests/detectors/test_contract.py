"""What every registered detector must keep to, each over a network trained briefly by its own objective."""

import json
import os
from dataclasses import fields, is_dataclass
from functools import cache
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch
from torch import nn

from oodbench.attacks.attack_goal import Goal
from oodbench.basics.draws import CommonDraws, DrawsPerImage
from oodbench.detector import Detector
from oodbench.images.resident import IDImages, OutlierPool
from oodbench.metrics import evaluate
from oodbench.networks.network import Network, Representation, as_input
from oodbench.networks.of_text import TextNetwork
from oodbench.objective import Objective
from oodbench.registry import discover
from oodbench.scoring.fitting import FittingImages, fit
from oodbench.suite import Recipe
from oodbench.tasks import Linf
from oodbench.training.loop import TrainingData, train
from tests.prose import one


def plugins(folder):
    """The guide's example, and plugin files of one's own from OODBENCH_PLUGINS, separated like a PATH."""
    example = Path(folder) / "entropy.py"
    example.write_text(one("python", "(Detector):"))
    return [example, *map(Path, filter(None, os.environ.get("OODBENCH_PLUGINS", "").split(os.pathsep)))]


with TemporaryDirectory() as folder:
    REGISTRY = discover(plugins(folder))
NAMES = REGISTRY.names()
CLASSES = 4
SHAPE = (3, 16, 16)
SMALL = {"components": 5, "k": 10, "dimensions": 20}
"""Parameters that depend on how much data there is, for the little there is here."""

SHORT = {"atd": {"epochs": 4, "steps": 3, "learning_rate": 0.002}}
"""Detectors whose own training would take long, and how it takes less."""

TEXTS = ("mcm", "gl-mcm", "neglabel")
"""Detectors that need a network whose last layer is a matrix of text embeddings."""

DROPOUT = {"dropout": 0.2}
"""Detectors that need a network which drops features, and what share of them."""


def pixels(count, seed, smooth=False):
    """Random images; smooth ones stand in for ID, four classes by their darkest corner."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (count, *SHAPE), generator=generator)
    if smooth:
        images = torch.nn.functional.avg_pool2d(images.float(), 5, stride=1, padding=2).long()
        for label in range(CLASSES):
            row, column = 8 * (label // 2), 8 * (label % 2)
            images[label::CLASSES, :, row : row + 8, column : column + 8] //= 3
    return images.to(torch.uint8)


def id_images(count, seed):
    return IDImages(pixels(count, seed, smooth=True), torch.arange(count) % CLASSES)


class TinyNetwork(Network):
    """Two convolutions and a linear layer over 32 pooled features."""

    def __init__(self, outputs, dropout=0.0):
        super().__init__((0.5,) * 3, (0.5,) * 3)
        self.conv1, self.bn1 = nn.Conv2d(3, 8, 3, stride=2, bias=False), nn.BatchNorm2d(8)
        self.conv2, self.bn2 = nn.Conv2d(8, 32, 3, stride=2, bias=False), nn.BatchNorm2d(32)
        self.fc, self.drop = nn.Linear(32, outputs), nn.Dropout(dropout)

    def represent(self, images):
        first = self.bn1(self.conv1(self.normalise(images))).relu()
        second = self.bn2(self.conv2(first)).relu()
        features = self.drop(second.mean((2, 3)))
        return Representation(self.fc(features), features, (first, second))


@cache
def trained(objective, dropout=0.0):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = objective.adapt(TinyNetwork(CLASSES + objective.reject_outputs, dropout), SHAPE)
    pool = OutlierPool(pixels(400, 3), 100, ())
    with TemporaryDirectory() as folder:
        data = TrainingData(id_images(320, 4), pool)
        # Whoever takes more images a step would take too few steps to learn anything.
        recipe = Recipe(epochs=4 if objective.id_batch <= 64 else 8, learning_rate=0.02)
        train(network, objective, recipe, data, 1, Path(folder) / "unfinished")
    return network


class TinyTower(nn.Module):
    """Embeddings and patch tokens of a trained tiny network."""

    def __init__(self):
        super().__init__()
        self.body = trained(Objective())

    def forward(self, images):
        found = self.body.represent(images)
        return found.features, found.taps[-1]


@cache
def like_clip():
    """Its texts are what the tiny network's features of each class are in the mean; four texts more are of no class."""
    tower, train = TinyTower().eval(), id_images(320, 4)
    with torch.no_grad():
        embeddings = tower(as_input(train.images))[0]
        others = tower(as_input(pixels(4, 11)))[0]
    texts = torch.stack([embeddings[train.labels == label].mean(0) for label in range(CLASSES)])
    return TextNetwork(tower, texts, negatives=others).eval()


def network_for(name, objective):
    return like_clip() if name in TEXTS else trained(objective, DROPOUT.get(name, 0.0))


@cache
def fitted(name):
    cls = REGISTRY[name]
    small = {field.name: SMALL[field.name] for field in fields(cls.Parameters) if field.name in SMALL}
    detector = cls(cls.Parameters(**small, **SHORT.get(name, {})))
    shown = FittingImages(id_images(320, 4), id_images(60, 5), id_images(60, 6), pixels(100, 3))
    (report,) = fit([detector], network_for(name, detector.objective()), CLASSES, shown)
    json.dumps(report.tuned)  # what was tuned is kept with the result, as JSON
    return detector


@pytest.fixture(scope="module", params=NAMES)
def detector(request):
    return fitted(request.param)


@pytest.fixture(scope="module")
def images():
    return as_input(torch.cat([pixels(6, 2), pixels(6, 7, smooth=True)]))


def test_declares_what_it_is(detector):
    assert detector.name == detector.name.lower()
    assert detector.paper
    assert is_dataclass(detector.Parameters)
    assert all(hasattr(detector.Parameters(), field.name) for field in fields(detector.Parameters))
    objective = detector.objective()
    assert isinstance(objective, Objective)
    assert hash(objective) == hash(type(detector)(detector.parameters).objective())


def test_scores_are_one_finite_float64_an_image(detector, images):
    scores = detector.score(images)
    assert scores.shape == (12,)
    assert scores.dtype == torch.float64
    assert torch.isfinite(scores).all()
    assert len(scores.unique()) > 1


def test_a_shared_pass_gives_the_score_that_a_pass_of_its_own_gives(detector, images):
    representation = detector.network.represent(images.requires_grad_(detector.needs_graph()))
    with torch.no_grad():
        assert torch.equal(detector.score_shared(images, representation), detector.score(images))


def test_a_score_comes_from_a_representation_or_that_is_refused(detector, images):
    representation = detector.network.represent(images)
    try:
        scores = detector.score_representation(representation)
    except TypeError as refusal:
        assert detector.name.removesuffix("-msp") in str(refusal)
        assert type(detector).score is not Detector.score or detector.draws()
    else:
        assert torch.equal(scores, detector.score(images))


def test_an_image_scores_alike_in_any_company(detector, images):
    together = detector.score(images)
    order = torch.tensor([7, 2, 11, 0])
    torch.testing.assert_close(detector.score(images[order]), together[order], rtol=1e-4, atol=1e-4)
    assert torch.equal(detector.score(images), together)


def test_higher_is_more_in_distribution(detector):
    test = as_input(id_images(100, 8).images)
    half_noise = (test + as_input(pixels(100, 9))) / 2
    with torch.no_grad():
        of_id, of_noise = (detector.score(each).numpy() for each in (test, half_noise))
    assert float(evaluate(of_id, of_noise)["auroc"]) > 0.6


@pytest.mark.parametrize("objective", ["published", "adaptive"])
def test_an_attack_has_a_gradient_and_never_loses(detector, images, objective):
    altered = Linf(epsilon=8, steps=5, step=2, objective=objective).alter(Goal.of(detector), images, np.arange(12), "x")
    # A published surrogate may be flat in places (Mahalanobis' is); the score itself may not, but at its very top.
    assert not altered.extras["stuck"].all()
    below = detector.score(images).detach().numpy() < detector.score(as_input(id_images(320, 4).images)).max().item()
    assert objective == "published" or not altered.extras["stuck"][below].any()
    assert (altered.extras["objective_after"] >= altered.extras["objective_before"]).all()
    assert altered.extras["objective_after"].mean() > altered.extras["objective_before"].mean()
    assert (altered.images - images).abs().max() <= 8 / 255 + 1e-6
    assert altered.images.min() >= 0
    assert altered.images.max() <= 1


def test_a_score_that_draws_says_so_and_takes_draws(detector, images):
    if not detector.draws():
        with pytest.raises(TypeError, match=detector.name.replace("+", r"\+")):
            detector.score_drawn(images, CommonDraws("x"))
        return
    with torch.no_grad():
        mine = detector.score_drawn(images, DrawsPerImage(range(12), "x"))
        assert torch.equal(detector.score_drawn(images, DrawsPerImage(range(12), "x")), mine)
        some = detector.score_drawn(images[[7, 2]], DrawsPerImage([7, 2], "x"))
        torch.testing.assert_close(some, mine[[7, 2]], rtol=1e-4, atol=1e-4)
        assert not torch.equal(detector.score_drawn(images, DrawsPerImage(range(12), "y")), mine)


def test_predictions_are_outputs(detector, images):
    representation = detector.network.represent(images)
    predictions = detector.predict(representation)
    assert predictions.shape == (12,)
    assert predictions.dtype == torch.int64
    assert int(predictions.min()) >= 0
    assert int(predictions.max()) < representation.logits.shape[1]


def test_published_scores_keep_the_order(detector, images):
    scores = detector.score(images).detach().numpy()
    published = detector.as_published(scores)
    assert published.dtype == np.float64
    assert (np.diff(published[np.argsort(scores)]) >= 0).all()
    assert (published.astype(np.float32) == published).all()


def test_refuses_to_score_before_it_is_fitted(detector, images):
    with pytest.raises(RuntimeError, match=detector.name):
        type(detector)().score(images)


def test_fitting_again_gives_the_same_scores(detector, images):
    first = detector.score(images)
    fitted.cache_clear()
    assert torch.equal(fitted(detector.name).score(images), first)


def test_no_two_detectors_give_the_same_scores(images):
    scores = {name: fitted(name).score(images).detach() for name in NAMES}
    same = [(one, other) for one, other in combinations(NAMES, 2) if torch.equal(scores[one], scores[other])]
    assert same == []
