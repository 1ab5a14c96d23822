"""Gaussians over features of unit length, and the ensemble over all taps."""

import numpy as np
import pytest
import torch
from sklearn.covariance import EmpiricalCovariance
from sklearn.metrics import roc_auc_score

from oodbench.basics.errors import OodbenchError
from oodbench.detector import Detector
from oodbench.detectors.mahalanobis import Mahalanobis
from oodbench.detectors.mahalanobis_plus_plus import MahalanobisPlusPlus
from oodbench.detectors.mds_ensemble import MDSEnsemble
from oodbench.detectors.rmds import RMDS, RMDSPlusPlus
from oodbench.networks.network import Representation
from oodbench.registry import discover
from tests.detectors.test_posthoc import FeatureNetwork, learned, random_features
from tests.realimages import SHARED

FEATURES = SHARED / "spec" / "golden" / "cifar100-resnet14" / "features.npz"


def distances(features, labels, queries):
    """By numpy: squared distances of `queries` to the nearest class and to all, over unit vectors."""
    unit, asked = (each.double().numpy() / np.linalg.norm(each, axis=1, keepdims=True) for each in (features, queries))
    means = np.stack([unit[labels == label].mean(0) for label in range(3)])
    within = np.linalg.inv(np.cov((unit - means[labels]).T, bias=True))
    total = np.linalg.inv(np.cov(unit.T, bias=True))

    def squared(mean, precision):
        return np.einsum("nd,de,ne->n", asked - mean, precision, asked - mean)

    return np.min([squared(mean, within) for mean in means], axis=0), squared(unit.mean(0), total)


def test_both_by_hand():
    features, labels, queries = random_features(90, 4), torch.arange(90) % 3, random_features(6, 4, seed=1)
    nearest, background = distances(features, labels, queries)
    plain, network = learned(MahalanobisPlusPlus(), features, labels)
    relative, _ = learned(RMDSPlusPlus(), features, labels)
    seen = network.seen(queries)
    np.testing.assert_allclose(plain.score_representation(seen), -nearest, rtol=1e-6)
    # Both the classes and what they are relative to are of unit vectors.
    np.testing.assert_allclose(relative.score_representation(seen), background - nearest, rtol=1e-6, atol=1e-6)


@pytest.mark.skipif(not FEATURES.is_file(), reason="needs real features beside the project: set OODBENCH_SHARED")
def test_on_the_features_of_a_real_network_it_is_scikit_learns_covariance():
    real = np.load(FEATURES)
    features, labels = real["id_features"], real["id_labels"].astype(int)
    train, test, ood = features[::2], features[1::2], real["ood_features"]
    detector, network = learned(
        MahalanobisPlusPlus(), torch.from_numpy(train).float(), torch.from_numpy(labels[::2]), classes=100
    )
    asked = np.concatenate([test, ood]).astype(np.float32)
    found = detector.score_representation(network.seen(torch.from_numpy(asked))).numpy()
    unit, asked_unit = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in (train, asked.astype(float)))
    means = np.stack([unit[labels[::2] == label].mean(0) for label in range(100)])
    precision = EmpiricalCovariance(assume_centered=True).fit(unit - means[labels[::2]]).precision_
    gaps = asked_unit[:, None] - means
    np.testing.assert_allclose(found, -np.einsum("ncd,de,nce->nc", gaps, precision, gaps).min(1), rtol=1e-3)
    # CIFAR-100 against textures: the softmax of this network reaches 0.62.
    assert roc_auc_score(np.repeat([1, 0], [len(test), len(ood)]), found) > 0.85


@pytest.mark.parametrize("method", [MahalanobisPlusPlus, RMDSPlusPlus])
def test_how_long_features_are_does_not_count(method):
    features, queries = random_features(90), random_features(6, seed=1)
    detector, network = learned(method(), features)
    stretched, _ = learned(method(), features * torch.rand(90, 1).add(0.1))
    scores = detector.score_representation(network.seen(queries))
    torch.testing.assert_close(detector.score_representation(network.seen(queries * 37)), scores, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(stretched.score_representation(network.seen(queries)), scores, rtol=1e-4, atol=1e-5)
    unnormalised, _ = learned(RMDS(), features)
    assert not torch.allclose(unnormalised.score_representation(network.seen(queries)), scores)


@pytest.mark.parametrize("method", [MahalanobisPlusPlus, RMDSPlusPlus])
def test_features_that_are_all_zero_have_a_score(method):
    detector, network = learned(method(), random_features(90))
    assert detector.score_representation(network.seen(torch.zeros(1, 5))).isfinite().all()


@pytest.mark.parametrize("name", ["mahalanobis++", "rmds++"])
def test_too_little_is_said_by_name(name):
    method = discover()[name]
    assert method.score is Detector.score
    with pytest.raises(OodbenchError, match=rf"{name.replace('+', '[+]')}: the covariance of 5 features is singular"):
        learned(method(), random_features(6))
    with pytest.raises(OodbenchError, match=rf"{name.replace('+', '[+]')}: no ID training image is of class 2"):
        learned(method(), random_features(90), torch.arange(90) % 2)


def test_the_ensemble_is_tuned_on_outliers_and_otherwise_what_mahalanobis_is():
    assert MDSEnsemble().tuning().outliers
    assert not Mahalanobis().tuning().outliers
    assert MDSEnsemble.Parameters(negatives="perturbed").negatives == "perturbed"
    with pytest.raises(ValueError, match="negatives is 'none'"):
        MDSEnsemble.Parameters(negatives="none")


def test_one_tap_is_no_ensemble():
    detector = MDSEnsemble()
    detector.attach(FeatureNetwork(torch.nn.Linear(4, 2)), 2)
    tap = torch.rand(20, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    detector.observe(Representation(torch.zeros(20, 2), torch.zeros(20, 4), (tap,)), torch.arange(20) % 2)
    with pytest.raises(OodbenchError, match=r"mds-ensemble weighs several taps and has 1.*no ensemble"):
        detector.settle()
