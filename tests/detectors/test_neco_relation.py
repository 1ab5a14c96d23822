"""NECO against scikit-learn, Relation against sums written out."""

import numpy as np
import pytest
import torch
from scipy.special import softmax
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from oodbench.basics.errors import OodbenchError
from oodbench.detectors.neco import NECO
from oodbench.detectors.relation import Relation
from oodbench.networks.network import Representation
from tests.detectors.features import FeatureNetwork, learned, random_features


def mixed(count=120, dimensions=8, seed=0):
    """Features that go together, so that few directions hold most of the variance."""
    mixing = torch.randn(dimensions, dimensions, generator=torch.Generator().manual_seed(9)).cumsum(0)
    return random_features(count, dimensions, seed) @ mixing


def scores(detector, network, features):
    with torch.no_grad():
        return detector.score_representation(network.seen(features)).numpy()


def by_scikit_learn(train, queries, dimensions):
    scaler = StandardScaler().fit(train)
    pca = PCA(dimensions, svd_solver="full").fit(scaler.transform(train))
    scaled = scaler.transform(queries)
    return np.linalg.norm(pca.transform(scaled), axis=1) / np.linalg.norm(scaled, axis=1)


@pytest.mark.parametrize("parameters", [{}, {"dimensions": 3}, {"variance": 0.5}])
def test_neco_is_scikit_learns_share_times_the_largest_logit(parameters):
    train, queries = mixed(), mixed(20, seed=1)
    detector, network = learned(NECO(NECO.Parameters(**parameters)), train)
    # A share below 1 asks scikit-learn for as many dimensions as explain it.
    wanted = parameters.get("dimensions", parameters.get("variance", 0.9))
    share = by_scikit_learn(train.double().numpy(), queries.double().numpy(), wanted)
    largest = network.seen(queries).logits.amax(1).numpy()
    np.testing.assert_allclose(scores(detector, network, queries), share * largest, rtol=1e-5, atol=1e-5)
    bare, network = learned(NECO(NECO.Parameters(**parameters, weight="none")), train)
    np.testing.assert_allclose(scores(bare, network, queries), share, rtol=1e-5)


def test_neco_leaves_features_that_never_vary_unscaled_as_scikit_learn_does():
    train, queries = mixed(), mixed(20, seed=1)
    train[:, 2] = 7.1
    queries[:, 2] = 7.1
    queries[0, 2] = 9.0
    detector, network = learned(NECO(NECO.Parameters(weight="none")), train)
    expected = by_scikit_learn(train.double().numpy(), queries.double().numpy(), 0.9)
    np.testing.assert_allclose(scores(detector, network, queries), expected, rtol=1e-5)
    assert scores(detector, network, queries).max() < 1


def test_neco_refuses_a_principal_space_that_leaves_nothing():
    with pytest.raises(OodbenchError, match=r"8 dimensions and 8 features vary.*neco\.dimensions"):
        learned(NECO(NECO.Parameters(dimensions=8)), mixed())


def test_neco_refuses_features_that_do_not_vary():
    with pytest.raises(OodbenchError, match="neco: no feature varies over the 60 ID training images"):
        learned(NECO(), torch.full((60, 5), 0.3))


def test_neco_refuses_a_single_image():
    with pytest.raises(OodbenchError, match="neco: no feature varies over the 1 ID training images"):
        learned(NECO(), random_features(1))


def by_hand(queries, train, head, power=1.0, threshold=0.03):
    """Image by image, pair by pair."""
    with torch.no_grad():
        p, q = (softmax(head(features).double().numpy(), axis=1) for features in (queries, train))
    found = []
    for feature, prediction in zip(queries.double().numpy(), p, strict=True):
        total = 0.0
        for other, other_prediction in zip(train.double().numpy(), q, strict=True):
            cosine = feature @ other / np.linalg.norm(feature) / np.linalg.norm(other)
            relation = max(0.0, cosine) * (prediction @ other_prediction)
            total += relation**power if relation > threshold else 0.0
        found.append(total)
    return np.array(found)


@pytest.mark.parametrize("parameters", [{}, {"power": 4.0}, {"threshold": 0.3}, {"threshold": 0.0}])
def test_relation_by_hand(parameters):
    train, queries, head = mixed(40), mixed(7, seed=1), torch.nn.Linear(8, 3)
    detector, network = learned(Relation(Relation.Parameters(**parameters)), train, head=head)
    np.testing.assert_allclose(
        scores(detector, network, queries), by_hand(queries, train, head, **parameters), rtol=1e-4, atol=1e-6
    )


def test_relation_keeps_a_share_of_the_images_that_does_not_rest_on_batches():
    train, head = random_features(1000), torch.nn.Linear(5, 3)
    detector, network = learned(Relation(Relation.Parameters(bank=0.2)), train, head=head)
    kept = detector._features
    assert len(kept) == 200
    again = Relation(Relation.Parameters(bank=0.2))
    again.attach(network, 3)
    again.observe(network.seen(train), torch.zeros(1000, dtype=torch.long))
    again.settle()
    torch.testing.assert_close(again._features, kept)
    # Not the first ones: of both halves about the same number.
    rows = [int((train / train.norm(dim=1, keepdim=True) - feature).abs().sum(1).argmin()) for feature in kept]
    assert 60 < sum(row < 500 for row in rows) < 140


def test_relation_refuses_a_share_that_keeps_nothing():
    with pytest.raises(OodbenchError, match=r"a share of 1e-09 keeps none.*relation\.bank"):
        learned(Relation(Relation.Parameters(bank=1e-9)), random_features())


def test_relation_has_a_surrogate_where_no_relation_is_above_the_threshold():
    train, head = random_features(40, 16), torch.nn.Linear(16, 100)
    head.weight.data *= 0.01  # predictions are nearly uniform, so relations are about 1 / 100
    detector, network = learned(Relation(), train, classes=100, head=head)
    query = random_features(3, 16, seed=1)
    assert scores(detector, network, query).tolist() == [0.0, 0.0, 0.0]
    network.represent = lambda features: network.seen(features)._replace(
        features=features, logits=torch.nn.functional.linear(features, head.weight.detach(), head.bias.detach())
    )
    climbed = query.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(detector.surrogates()["all relations"](climbed).sum(), climbed)
    assert (gradient.abs().amax(1) > 0).all()


def test_the_gradient_of_relation_tells_of_the_jumps_at_the_threshold():
    # Many of the relations to 40,000 images lie about the threshold, and each that crosses it adds 0.3.
    train, head = random_features(40_000, 16), torch.nn.Linear(16, 3)
    detector, network = Relation(Relation.Parameters(threshold=0.3)), FeatureNetwork(head)
    detector.attach(network, 3)
    detector.observe(network.seen(train), torch.zeros(len(train), dtype=torch.long))
    detector.settle()
    network.represent = lambda features: Representation(
        torch.nn.functional.linear(features, head.weight.detach(), head.bias.detach()), features, ()
    )
    queries = random_features(12, 16, seed=1)
    slope, rise = [], []
    for number in range(16):
        step = torch.zeros(16)
        step[number] = 0.01
        climbed = queries.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(detector.score(climbed).sum(), climbed)
        slope.append(gradient[:, number])
        with torch.no_grad():
            rise.append((detector.score(queries + step) - detector.score(queries - step)) / 0.02)
    slope, rise = torch.cat(slope).double(), torch.cat(rise)
    assert torch.corrcoef(torch.stack([slope, rise]))[0, 1] > 0.95
    assert float(slope.norm()) == pytest.approx(float(rise.norm()), rel=0.15)
    # What the relations above the threshold gain by themselves is a small part of it.
    kept = detector._relations(network.seen(queries)) > 0.3
    climbed = queries.clone().requires_grad_()
    alone = torch.where(kept, detector._relations(network.represent(climbed)), 0).sum()
    (gradient,) = torch.autograd.grad(alone, climbed)
    assert gradient.norm() < 0.7 * rise.norm()


@pytest.mark.parametrize("classes", [2, 3])
def test_features_in_half_precision(classes):
    features, head = random_features(60, 16), torch.nn.Linear(16, classes)
    for method in (NECO, Relation):
        found = {}
        for dtype in (torch.float32, torch.float16):
            detector, network = learned(method(), features.to(dtype), classes=classes, head=head.to(dtype))
            found[dtype] = scores(detector, network, features.to(dtype))
        np.testing.assert_allclose(found[torch.float16], found[torch.float32], rtol=0.03, atol=0.03)


@pytest.mark.parametrize(
    ("parameters", "values"),
    [
        (NECO.Parameters, {"dimensions": 0}),
        (NECO.Parameters, {"variance": 1.0}),
        (NECO.Parameters, {"weight": "energy"}),
        (Relation.Parameters, {"power": 0.5}),
        (Relation.Parameters, {"threshold": 1.0}),
        (Relation.Parameters, {"bank": 0.0}),
    ],
)
def test_impossible_parameters(parameters, values):
    with pytest.raises(ValueError, match="choose"):
        parameters(**values)
