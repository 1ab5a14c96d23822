"""SCALE, fDBD, SHE and Residual against their formulas, by hand and by numpy; what negative features are told."""

import numpy as np
import pytest
import torch
from scipy.special import logsumexp

from oodbench.basics.errors import OodbenchError
from oodbench.detectors.ash import ASH
from oodbench.detectors.fdbd import FDBD
from oodbench.detectors.knn import KNN
from oodbench.detectors.mahalanobis_plus_plus import MahalanobisPlusPlus
from oodbench.detectors.nnguide import NNGuide
from oodbench.detectors.react import ReAct
from oodbench.detectors.residual import Residual
from oodbench.detectors.rmds import RMDSPlusPlus
from oodbench.detectors.scale import SCALE
from oodbench.detectors.she import SHE
from oodbench.detectors.vim import ViM
from oodbench.networks.network import Representation
from tests.detectors.test_posthoc import FeatureNetwork, learned, random_features


def head(weight, bias):
    layer = torch.nn.Linear(len(weight[0]), len(weight))
    layer.weight.data, layer.bias.data = torch.tensor(weight), torch.tensor(bias)
    return layer


def test_scale_by_hand():
    # 60 % of five are not among the largest: 4 and 3 are, and every feature is scaled by exp(10 / 7).
    features, layer = torch.tensor([[1.0, 4.0, 2.0, 0.0, 3.0]]), torch.nn.Linear(5, 3)
    detector, network = learned(SCALE(SCALE.Parameters(percentile=60)), features, head=layer)
    with torch.no_grad():
        expected = logsumexp(layer(features * np.exp(10 / 7)).double(), axis=1)
        np.testing.assert_allclose(
            detector.score_representation(network.seen(features)), expected, rtol=1e-6, atol=1e-5
        )


def test_scale_leaves_logits_without_a_bias_in_proportion():
    features, layer = random_features(20, 40), torch.nn.Linear(40, 3, bias=False)
    detector, network = learned(SCALE(), features, head=layer)
    seen = network.seen(features)
    with torch.no_grad():
        # 85 % of 40 is 34: six are the largest.
        scale = (features.double().sum(1) / features.double().topk(6).values.sum(1)).exp()
        expected = logsumexp((seen.logits.double() * scale[:, None]).numpy(), axis=1)
        np.testing.assert_allclose(detector.score_representation(seen), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("method", [SCALE, ASH, ReAct])
def test_features_on_both_sides_of_zero_are_refused_by_name(method):
    features = torch.randn(60, 40, generator=torch.Generator().manual_seed(0))
    with pytest.raises(OodbenchError, match=f"{method.name} takes features for activations.*leave {method.name} out"):
        detector, network = learned(method(), features)
        detector.score_representation(network.seen(features))


@pytest.mark.parametrize("method", [SCALE, ASH, ReAct])
def test_features_that_dip_below_zero_as_behind_silu_are_taken(method):
    features = torch.nn.functional.silu(2 * torch.randn(60, 40, generator=torch.Generator().manual_seed(0)))
    assert features.min() < 0
    detector, network = learned(method(), features)
    assert detector.score_representation(network.seen(features)).isfinite().all()


def test_fdbd_by_hand():
    # Weights (1, 0), (-2, 4), (1, 3): 5 and 3 apart from the first. The mean feature is (1, 1).
    layer = head([[1.0, 0.0], [-2.0, 4.0], [1.0, 3.0]], [0.0, 1.0, -1.0])
    detector, network = learned(FDBD(), torch.tensor([[0.0, 2.0], [2.0, 0.0], [1.0, 1.0]]), head=layer)
    query = network.seen(torch.tensor([[4.0, -3.0]]))
    # Logits 4, -19, -6: distances 23 / 5 and 10 / 3 to the boundaries, and sqrt(9 + 16) = 5 to the mean.
    assert detector.score_representation(query).item() == pytest.approx((23 / 5 + 10 / 3) / 5)
    by_norm, _ = learned(FDBD(FDBD.Parameters(normalizer="norm")), torch.ones(3, 2), head=layer)
    assert by_norm.score_representation(query).item() == pytest.approx((23 / 5 + 10 / 3) / 5)  # ||(4, -3)|| is 5, too
    query = network.seen(torch.tensor([[3.0, -4.0]]))  # Logits 3, -21, -10; 2 and 5 from the mean
    assert detector.score_representation(query).item() == pytest.approx((24 / 5 + 13 / 3) / np.sqrt(29))
    assert by_norm.score_representation(query).item() == pytest.approx((24 / 5 + 13 / 3) / 5)


def test_fdbd_is_the_distance_to_where_another_class_would_be_predicted():
    features, queries = random_features(60), random_features(8, seed=1)
    detector, network = learned(FDBD(), features, classes=2)
    weight, bias = (each.detach().double() for each in (network.fc.weight, network.fc.bias))
    normal, offset = weight[0] - weight[1], bias[0] - bias[1]
    # With two classes there is one boundary: a plane.
    foot = queries.double() - ((queries.double() @ normal + offset) / normal.square().sum())[:, None] * normal
    torch.testing.assert_close(foot @ weight[0] + bias[0], foot @ weight[1] + bias[1])
    far = (queries - features.mean(0)).double().norm(dim=1)
    expected = (queries.double() - foot).norm(dim=1) / far
    torch.testing.assert_close(detector.score_representation(network.seen(queries)), expected, rtol=1e-4, atol=1e-6)


def test_fdbd_leaves_reject_outputs_out():
    features, wide = random_features(60), torch.nn.Linear(5, 4)
    narrow = torch.nn.Linear(5, 3)
    narrow.weight.data, narrow.bias.data = wide.weight.data[:3], wide.bias.data[:3]
    scores = [
        detector.score_representation(network.seen(features))
        for detector, network in (learned(FDBD(), features, head=each) for each in (wide, narrow))
    ]
    torch.testing.assert_close(*scores, rtol=1e-5, atol=1e-5)


def test_fdbd_has_a_score_at_the_mean_and_refuses_classes_without_a_boundary():
    detector, network = learned(FDBD(), torch.ones(6, 2), head=head([[1.0, 0.0], [0.0, 1.0], [2.0, 2.0]], [0.0] * 3))
    assert detector.score_representation(network.seen(torch.ones(1, 2))).isfinite().all()
    with pytest.raises(OodbenchError, match="fdbd: classes 0 and 2 have the same weights"):
        learned(FDBD(), random_features(6, 2), head=head([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]], [0.0, 0.0, 1.0]))


def predicted(labels, features, classes=2):
    """A representation whose predictions are given."""
    return Representation(torch.eye(classes)[labels], torch.tensor(features), ())


def patterns(metric="inner_product"):
    detector = SHE(SHE.Parameters(metric=metric))
    detector.attach(FeatureNetwork(torch.nn.Linear(2, 2)), 2)
    # The third image is of class 0 and is taken for 1: it belongs to no pattern.
    detector.observe(predicted([0, 0, 1], [[1.0, 3.0], [3.0, 5.0], [100.0, 100.0]]), torch.tensor([0, 0, 0]))
    detector.observe(predicted([1], [[0.0, 5.0]]), torch.tensor([1]))
    detector.settle()
    return detector


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("inner_product", [2 * 3 + 4, 5.0]),
        ("euclidean", [-3.0, -np.sqrt(3**2 + 4**2)]),
        ("cosine", [10 / (np.sqrt(20) * np.sqrt(10)), 1 / np.sqrt(10)]),
    ],
)
def test_she_by_hand(metric, expected):
    # Patterns (2, 4) and (0, 5); the features (3, 1) are taken for class 0, then for class 1.
    query = predicted([0, 1], [[3.0, 1.0], [3.0, 1.0]])
    if metric == "euclidean":
        query = query._replace(features=torch.tensor([[2.0, 1.0], [3.0, 1.0]]))
    found = patterns(metric).score_representation(query)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


class AsFeatures(FeatureNetwork):
    """Images are the features."""

    def represent(self, images):
        features = images.flatten(1)
        return Representation(self.fc(features), features, ())


@pytest.mark.parametrize(
    "detector",
    [FDBD(), FDBD(FDBD.Parameters(normalizer="norm"))]
    + [SHE(SHE.Parameters(metric=metric)) for metric in ("inner_product", "euclidean", "cosine")],
    ids=lambda detector: f"{detector.name}-{detector.parameters}",
)
def test_the_target_of_the_predicted_class_is_the_score(detector):
    features = torch.rand(60, 27, generator=torch.Generator().manual_seed(0))
    layer = torch.nn.Linear(27, 3)
    network = AsFeatures(layer)
    detector.attach(network, 3)
    seen = network.represent(features)
    # Whatever is predicted is right, and every class has its images.
    seen = seen._replace(logits=torch.eye(3).repeat(20, 1) + seen.logits * 0.1)
    detector.observe(seen, seen.logits.argmax(1))
    detector.settle()
    images = torch.rand(8, 3, 3, 3, generator=torch.Generator().manual_seed(1))
    targets, predicted = detector.targets(images), detector.predict(network.represent(images))
    assert targets.shape == (8, 3)
    torch.testing.assert_close(targets.gather(1, predicted[:, None])[:, 0], detector.score(images))


def test_fdbd_takes_a_thousand_classes():
    features = torch.rand(8, 512, generator=torch.Generator().manual_seed(0))
    detector, network = learned(FDBD(), features, classes=1000)
    scores = detector.score_representation(network.seen(features))
    logits, weight = network.seen(features).logits[0], network.fc.weight.detach()
    best = int(logits.argmax())
    gaps = (weight[best] - weight).norm(dim=1)
    distances = sum((logits[best] - logits[other]) / gaps[other] for other in range(1000) if other != best)
    assert scores[0].item() == pytest.approx(float(distances / (features[0] - features.mean(0)).norm()), rel=1e-4)


def test_she_names_the_classes_that_have_no_pattern():
    detector = SHE()
    detector.attach(FeatureNetwork(torch.nn.Linear(2, 3)), 3)
    detector.observe(predicted([0, 0, 2], [[1.0, 1.0]] * 3, 3), torch.tensor([0, 1, 1]))
    with pytest.raises(OodbenchError, match="she: no ID training image of class 1, 2 is classified correctly"):
        detector.settle()


def test_residual_is_vims_without_the_logits():
    features, queries = random_features(60), random_features(9, seed=1)
    layer = torch.nn.Linear(5, 3)
    detector, network = learned(Residual(Residual.Parameters(dimensions=2)), features, head=layer)
    vim, _ = learned(ViM(ViM.Parameters(dimensions=2)), features, head=layer)
    asked = network.seen(queries)
    with torch.no_grad():
        torch.testing.assert_close(detector.score_representation(asked), -vim._residual(asked.features))
    # By numpy: what a projection on the two directions that hold most of the training features leaves over.
    weight, bias = (each.detach().double().numpy() for each in (layer.weight, layer.bias))
    origin = -np.linalg.lstsq(weight, bias)[0]
    _, _, rows = np.linalg.svd(features.double().numpy() - origin, full_matrices=False)
    centred = queries.double().numpy() - origin
    left = centred - centred @ rows[:2].T @ rows[:2]
    np.testing.assert_allclose(
        detector.score_representation(asked), -np.linalg.norm(left, axis=1), rtol=1e-6, atol=1e-6
    )


def test_residual_says_where_nothing_is_left_over():
    with pytest.raises(OodbenchError, match=r"residual: the principal space has 5 dimensions.*residual\.dimensions"):
        learned(Residual(Residual.Parameters(dimensions=5)), random_features())
    with pytest.raises(OodbenchError, match="residual: .*no residual outside 2 dimensions: give more images"):
        learned(Residual(Residual.Parameters(dimensions=2)), random_features(dimensions=1).expand(60, 5))


@pytest.mark.parametrize("method", [Residual, FDBD])
def test_a_network_without_a_linear_head_is_named(method):
    with pytest.raises(OodbenchError, match="FeatureNetwork does not end in one linear layer"):
        learned(method(), random_features(), head=torch.nn.Sequential(torch.nn.Linear(5, 3)))


@pytest.mark.parametrize(
    "detector",
    [
        FDBD(),
        SHE(),
        Residual(),
        SCALE(),
        MahalanobisPlusPlus(),
        RMDSPlusPlus(),
        NNGuide(NNGuide.Parameters(k=5)),
        KNN(KNN.Parameters(k=5)),
    ],
    ids=lambda detector: detector.name,
)
def test_features_in_half_precision_score_nearly_alike(detector):
    features = random_features(60) + torch.eye(3).repeat(20, 2)[:, :5] * 4
    layer = head(torch.eye(3).repeat(1, 2)[:, :5].tolist(), [0.0] * 3)
    detector, network = learned(detector, features, head=layer)
    with torch.no_grad():
        whole = detector.score_representation(network.seen(features))
        half = network.seen(features)._replace(features=features.half())
        torch.testing.assert_close(detector.score_representation(half), whole, rtol=0.03, atol=0.03)


@pytest.mark.parametrize(
    ("parameters", "values"),
    [
        (FDBD.Parameters, {"normalizer": "x"}),
        (SHE.Parameters, {"metric": "x"}),
        (Residual.Parameters, {"dimensions": 0}),
        (SCALE.Parameters, {"percentile": 100.0}),
    ],
)
def test_impossible_parameters(parameters, values):
    with pytest.raises(ValueError, match="choose"):
        parameters(**values)
