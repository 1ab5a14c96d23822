"""RankFeat against NumPy's singular value decomposition, its gradient against differences, and what it refuses."""

import numpy as np
import pytest
import torch
from scipy.special import logsumexp

from oodbench import networks
from oodbench.basics.errors import OodbenchError
from oodbench.detectors.rankfeat import RankFeat, without_first
from oodbench.networks.network import Network, Representation
from oodbench.scoring.fitting import fit


def random_maps(shape=(4, 6, 3, 5), seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def by_numpy(feature_map):
    """(C, H, W) without the first of NumPy's singular triples."""
    matrix = feature_map.reshape(len(feature_map), -1)
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    values[0] = 0
    return ((left * values) @ right).reshape(feature_map.shape)


@pytest.mark.parametrize("shape", [(4, 6, 3, 5), (4, 40, 2, 3), (2, 5, 1, 1), (2, 1, 4, 4)])
def test_the_first_singular_triple_is_taken_away(shape):
    maps = random_maps(shape)
    expected = np.stack([by_numpy(one) for one in maps.numpy()])
    np.testing.assert_allclose(without_first(maps), expected, atol=1e-12)


@pytest.mark.parametrize("shape", [(2, 4, 2, 3), (2, 9, 2, 2)])
def test_the_gradient_is_that_of_difference_quotients(shape):
    maps = random_maps(shape).requires_grad_()
    assert torch.autograd.gradcheck(without_first, (maps,))


def test_alike_singular_values_have_a_finite_gradient():
    maps = torch.eye(4, dtype=torch.float64).reshape(1, 4, 2, 2).requires_grad_()
    (gradient,) = torch.autograd.grad(without_first(maps).square().sum(), maps)
    assert gradient.isfinite().all()
    blank = torch.zeros(1, 4, 2, 2, requires_grad=True)
    (gradient,) = torch.autograd.grad(without_first(blank).sum(), blank)
    assert gradient.isfinite().all()


def test_what_is_not_finite_stays_so():
    maps = random_maps()
    maps[1, 2, 0, 0], maps[2, 0, 0, 0] = torch.nan, torch.inf
    found = without_first(maps)
    assert found[[0, 3]].isfinite().all()
    assert found[1].isnan().any()
    assert found[2].isnan().any()


def test_half_precision_comes_back_in_half_precision():
    maps = random_maps(dtype=torch.float32)
    half = without_first(maps.half())
    assert half.dtype == torch.float16
    np.testing.assert_allclose(half, without_first(maps), atol=5e-3)


def by_parts(network, images, temperature):
    """The paper's score of a ResNet, its parts called one by one."""
    with torch.no_grad():
        *_, third, fourth = network.represent(images).taps
        third, fourth = (
            torch.from_numpy(np.stack([by_numpy(one) for one in tap.double().numpy()])).float()
            for tap in (third, fourth)
        )
        logits = [network.fc(tap.mean((2, 3))) for tap in (network.layer4(third), fourth)]
        mean = torch.stack(logits).double().mean(0).numpy()
    return temperature * logsumexp(mean / temperature, axis=1)


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_the_score_of_a_resnet_is_the_paper_s(temperature):
    network = networks.build("resnet18-32x32", 5, seed=0)
    detector = RankFeat(RankFeat.Parameters(temperature=temperature))
    fit([detector], network, 5)
    images = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        np.testing.assert_allclose(detector.score(images), by_parts(network, images, temperature), rtol=1e-4, atol=1e-5)


def test_the_score_has_the_gradient_of_difference_quotients():
    network = networks.build("small-cnn", 3, seed=0).double()
    detector = RankFeat()
    fit([detector], network, 3)
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()
    (gradient,) = torch.autograd.grad(detector.score(images).sum(), images)
    direction = random_maps(images.shape, seed=1)
    with torch.no_grad():
        ahead, behind = (detector.score(images + step * direction).sum() for step in (1e-7, -1e-7))
    assert float((gradient * direction).sum()) == pytest.approx(float(ahead - behind) / 2e-7, rel=1e-4)


def test_more_feature_maps_than_there_are():
    detector = RankFeat(RankFeat.Parameters(last=4))
    fit([detector], networks.build("small-cnn", 3), 3)
    with pytest.raises(OodbenchError, match=r"rankfeat wants the last 4 .*SmallCNN has 3.*rankfeat\.last"):
        detector.score(torch.rand(1, 3, 32, 32))


class Aside(Network):
    """Its one feature map is a copy."""

    def represent(self, images):
        features = images.mean((2, 3))
        return Representation(features, features, (images.clone(),))


def test_a_network_that_does_not_go_on_from_its_taps_is_refused_by_name():
    detector = RankFeat()
    fit([detector], Aside(), 3)
    with pytest.raises(OodbenchError, match="rankfeat changes feature maps.*Aside does not go on"):
        detector.score(torch.rand(1, 3, 8, 8))


def test_representations_are_not_enough():
    network = networks.build("small-cnn", 3)
    detector = RankFeat()
    fit([detector], network, 3)
    with pytest.raises(TypeError, match="rankfeat"):
        detector.score_representation(network.represent(torch.rand(1, 3, 32, 32)))


@pytest.mark.parametrize("values", [{"last": 0}, {"temperature": 0.0}])
def test_impossible_parameters(values):
    with pytest.raises(ValueError, match="choose"):
        RankFeat.Parameters(**values)
