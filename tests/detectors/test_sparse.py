"""DICE and VRA, which leave out weights or features, and the features that neither takes."""

import numpy as np
import pytest
import torch
from scipy.special import logsumexp

from oodbench import networks
from oodbench.basics.errors import OodbenchError
from oodbench.detectors.dice import DICE
from oodbench.detectors.negativity import MOST, Negativity
from oodbench.detectors.vra import VRA
from tests.detectors.features import learned, random_features


def head(weight, bias):
    layer = torch.nn.Linear(len(weight[0]), len(weight))
    layer.weight.data, layer.bias.data = torch.tensor(weight), torch.tensor(bias)
    return layer


def scores(detector, network, features):
    with torch.no_grad():
        return detector.score_representation(network.seen(features)).numpy()


def test_dice_by_hand():
    # Mean features (2, 4); contributions 2, 4, -2, 12. Their median is 3: the weights 1 of f_2 and 3 of f_2 stay.
    layer = head([[1.0, 1.0], [-1.0, 3.0]], [0.5, 0.0])
    features = torch.tensor([[1.0, 3.0], [3.0, 5.0]])
    detector, network = learned(DICE(DICE.Parameters(percentile=50)), features, classes=2, head=layer)
    found = scores(detector, network, torch.tensor([[7.0, 2.0], [0.0, 1.0]]))
    np.testing.assert_allclose(found, logsumexp([[2.5, 6.0], [1.5, 3.0]], axis=1), rtol=1e-12)


def test_dice_leaves_one_weight_in_ten():
    features, layer = random_features(200, 40), torch.nn.Linear(40, 10)
    detector, _ = learned(DICE(), features, classes=10, head=layer)
    assert int((detector._weight != 0).sum()) == 40
    contributions = features.mean(0) * layer.weight.detach()
    assert contributions[detector._weight != 0].min() > contributions[detector._weight == 0].max()


def test_dice_weighs_the_classes_alone_where_there_are_reject_outputs():
    features, layer = random_features(), torch.nn.Linear(5, 4)
    layer.weight.data[3] = 1000.0
    rejecting, network = learned(DICE(), features, classes=3, head=layer)
    plain_layer = torch.nn.Linear(5, 3)
    plain_layer.weight.data, plain_layer.bias.data = layer.weight.data[:3], layer.bias.data[:3]
    plain, plain_network = learned(DICE(), features, classes=3, head=plain_layer)
    np.testing.assert_allclose(scores(rejecting, network, features), scores(plain, plain_network, features), atol=1e-6)


def test_dice_is_pytorch_oods():
    pytorch_ood = pytest.importorskip("pytorch_ood.detector")
    features, layer = random_features(300, 24), torch.nn.Linear(24, 6)
    detector, network = learned(DICE(DICE.Parameters(percentile=70)), features, classes=6, head=layer)
    other = pytorch_ood.DICE(None, layer.weight, layer.bias, p=0.7)
    other.fit_features(features, torch.zeros(300))
    queries = random_features(30, 24, seed=1)
    np.testing.assert_allclose(
        scores(detector, network, queries), -other.predict_features(queries), rtol=1e-4, atol=1e-5
    )


def test_vra_by_hand():
    # Quartiles of 0, 1, 2, 3, 4: below 1 a feature is dropped, above 3 it is cut off. The second is ten times that.
    features = torch.arange(5.0)[:, None] * torch.tensor([1.0, 10.0])
    layer = head([[1.0, 0.0], [0.0, 1.0]], [0.0, 0.0])
    detector, network = learned(VRA(VRA.Parameters(low=25, high=75)), features, classes=2, head=layer)
    found = scores(detector, network, torch.tensor([[0.9, 9.9], [1.0, 10.0], [2.5, 25.0], [99.0, 99.0]]))
    np.testing.assert_allclose(
        found, logsumexp([[0.0, 0.0], [1.0, 10.0], [2.5, 25.0], [3.0, 30.0]], axis=1), rtol=1e-12
    )


def test_vra_that_cuts_nothing_is_the_energy():
    features, layer = random_features(), torch.nn.Linear(5, 3)
    detector, network = learned(VRA(VRA.Parameters(low=0, high=100)), features, head=layer)
    with torch.no_grad():
        expected = logsumexp(layer(features).double().numpy(), axis=1)
    np.testing.assert_allclose(scores(detector, network, features), expected, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("method", [DICE, VRA])
def test_features_behind_a_layer_norm_are_refused_by_name(method):
    normed = torch.nn.functional.layer_norm(random_features(), (5,))
    with pytest.raises(OodbenchError, match=f"{method.name} takes features for activations.*50%.*FeatureNetwork"):
        learned(method(), normed)


@pytest.mark.parametrize("method", [DICE, VRA])
def test_features_that_dip_below_zero_are_taken(method):
    silu = torch.nn.functional.silu(3 * torch.randn(60, 5, generator=torch.Generator().manual_seed(0)))
    assert silu.min() < -0.2
    detector, network = learned(method(), silu)
    assert np.isfinite(scores(detector, network, silu)).all()


def test_the_share_of_negative_features():
    seen = Negativity()
    assert seen.share == 0
    seen.add(torch.tensor([[1.0, -2.0]], dtype=torch.float16))
    seen.add(torch.tensor([[5.0, 0.0]], dtype=torch.float16))
    assert seen.share == 0.25 == MOST
    seen.require_activations("somebody", networks.build("small-cnn", 2))
    seen.add(torch.tensor([[-0.1, 0.0]]))
    with pytest.raises(OodbenchError, match="somebody takes features for activations.*of SmallCNN is negative"):
        seen.require_activations("somebody", networks.build("small-cnn", 2))


@pytest.mark.parametrize(
    ("parameters", "values"),
    [
        (DICE.Parameters, {"percentile": 100.0}),
        (DICE.Parameters, {"percentile": -1.0}),
        (VRA.Parameters, {"low": 90.0}),
        (VRA.Parameters, {"high": 101.0}),
        (VRA.Parameters, {"low": float("nan")}),
    ],
)
def test_impossible_parameters(parameters, values):
    with pytest.raises(ValueError, match="choose"):
        parameters(**values)
