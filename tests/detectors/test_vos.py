"""VOS and LogitNorm: moments, virtual outliers and losses, against direct computation."""

import numpy as np
import pytest
import torch
from scipy.stats import chi2, kstest
from torch.nn.functional import cross_entropy

from oodbench.detectors.logitnorm import LogitNorm, NormalisedLogits
from oodbench.detectors.vos import RIDGE, VOS, VirtualOutliers, VOSNetwork, outermost, triangle
from oodbench.networks.network import Network, Representation
from oodbench.objective import Batch
from tests.detectors.steps import Linear, batch


class TwoLayers(Network):
    """A layer below the last one, which a loss on energies must reach."""

    def __init__(self, classes=3):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(3)
            self.below, self.fc = torch.nn.Linear(12, 5), torch.nn.Linear(5, classes)

    def represent(self, images):
        features = self.below(images.flatten(1)).tanh()
        return Representation(self.fc(features), features, ())


def features_of(count, seed):
    return torch.randn(count, 5, generator=torch.Generator().manual_seed(seed)) * torch.tensor([1.0, 2, 3, 1, 1])


def test_moments_without_forgetting_are_those_of_all_images():
    network, features = VOSNetwork(TwoLayers()), features_of(60, 0)
    labels = torch.arange(60) % 3
    for part in range(4):
        network.follow(features[part::4], labels[part::4], memory=10**9)
    means, triangle = network.gaussians()
    for label in range(3):
        torch.testing.assert_close(means[label], features[labels == label].double().mean(0), rtol=1e-4, atol=1e-5)
    centred = np.concatenate([(f := features[labels == label].numpy()) - f.mean(0) for label in range(3)])
    expected = centred.T @ centred / 60 + RIDGE * np.eye(5)
    np.testing.assert_allclose((triangle @ triangle.T).numpy(), expected, rtol=1e-3, atol=1e-4)


def test_moments_forget_old_images():
    network, labels = VOSNetwork(TwoLayers()), torch.arange(30) % 3
    for _ in range(50):
        network.follow(features_of(30, 1) + 100, labels, memory=20)
    for _ in range(50):
        network.follow(features_of(30, 1), labels, memory=20)
    assert float(network.counts.sum()) == pytest.approx(60, rel=1e-3)  # 20 of each class
    torch.testing.assert_close(
        network.gaussians()[0],
        torch.stack([features_of(30, 1)[k::3].mean(0) for k in range(3)]).double(),
        atol=1e-2,
        rtol=0,
    )


def test_features_far_from_zero_have_a_covariance_all_the_same():
    network = VOSNetwork(TwoLayers())
    for part in range(20):  # in float32, sums of squares about 1e8 tell no variance of 1 from one below 0
        network.follow(features_of(30, part) + 1e4, torch.arange(30) % 3, memory=1000)
    assert network.gaussians()[1].isfinite().all()
    indefinite = torch.diag(torch.tensor([4.0, -0.01], dtype=torch.float64))
    torch.testing.assert_close(triangle(indefinite)[0, 0] ** 2, torch.tensor(4.1, dtype=torch.float64))


def test_moments_that_are_no_numbers_give_a_loss_that_is_none():
    assert triangle(torch.full((2, 2), torch.nan, dtype=torch.float64)).isnan().all()


def test_a_class_that_was_never_seen_has_no_outliers():
    network = VOSNetwork(TwoLayers())
    network.follow(features_of(20, 2), torch.arange(20) % 2, memory=1000)
    means, _ = network.gaussians()
    assert means.shape == (2, 5)


def test_virtual_outliers_are_distributed_as_the_least_likely_of_many_draws():
    means, triangle = torch.zeros(500, 4, dtype=torch.float64), torch.eye(4, dtype=torch.float64)
    drawn = outermost(means, triangle, 2, 50, torch.Generator().manual_seed(0)).view(500, 2, 4)
    squares = drawn.square().sum(2).numpy()
    assert (squares[:, 0] >= squares[:, 1]).all()
    assert kstest(squares[:, 0], lambda x: chi2(4).cdf(x) ** 50).pvalue > 0.01
    # The second largest of 50: at most one draw lies above it.
    second = lambda x: (p := chi2(4).cdf(x)) ** 50 + 50 * p**49 * (1 - p)  # noqa: E731
    assert kstest(squares[:, 1], second).pvalue > 0.01
    for axis in range(4):
        assert abs(float(drawn[:, 0, axis].sign().mean())) < 0.15


def test_virtual_outliers_lie_by_their_class_and_covariance():
    means = torch.tensor([[100.0, 0], [0, -100]], dtype=torch.float64)
    triangle = torch.tensor([[2.0, 0], [1, 0.5]], dtype=torch.float64)
    drawn = outermost(means, triangle, 3, 1000, torch.Generator().manual_seed(1))
    assert drawn.shape == (6, 2)
    whitened = torch.linalg.solve(triangle, (drawn - means.repeat_interleave(3, 0)).T).T
    # Three of a thousand: beyond 3 deviations, and hardly beyond 6.
    assert (whitened.norm(dim=1) > 2.5).all() and (whitened.norm(dim=1) < 7).all()


def step(done, objective=VirtualOutliers()):  # noqa: B008
    network = VOSNetwork(TwoLayers()).train()
    given = batch(0)
    loss = objective.loss(
        network, Batch(given.images, given.labels, given.outliers, done), torch.Generator().manual_seed(4)
    )
    loss.backward()
    return network, given, loss


def test_before_its_start_the_loss_is_plain_and_moments_are_gathered():
    network, given, loss = step(0.39)
    plain = cross_entropy(network(given.images), given.labels)
    torch.testing.assert_close(loss, plain)
    assert network.counts.tolist() == [1, 1, 1]
    assert all(each.grad is not None for each in network.parameters())  # several processes wait for each
    assert network.slope.grad == 0


def test_the_regression_tells_id_from_virtual_outliers_by_weighted_energy():
    network, given, loss = step(0.4, VirtualOutliers(weight=0.5))
    with torch.no_grad():
        logits = network(given.images)
        virtual = network.head(outermost(*network.gaussians(), 1, 10_000, torch.Generator().manual_seed(4)).float())
        energies = torch.cat([logits, virtual]).logsumexp(1).numpy()  # slope 1, offset 0, weights 1
    right = [np.log1p(np.exp(-e)) for e in energies[:3]] + [np.log1p(np.exp(e)) for e in energies[3:]]
    plain = float(cross_entropy(logits, given.labels))
    assert float(loss.detach()) == pytest.approx(plain + 0.5 * np.mean(right), rel=1e-5)


def test_the_energy_reaches_all_layers():
    network = VOSNetwork(TwoLayers())
    given, objective = batch(0), VirtualOutliers()
    representation = network.represent(given.images)
    network.follow(representation.features, given.labels, 1000)
    objective.uncertainty(network, representation.logits, torch.Generator().manual_seed(0)).backward()
    for parameter in (
        network.base_model.below.weight,
        network.base_model.fc.weight,
        network.slope,
        network.log_weights,
    ):
        assert parameter.grad.abs().sum() > 0


def test_logitnorm_trains_on_logits_of_one_length():
    network, given = Linear(3), batch(0)
    logits = network(given.images).detach().double().numpy()
    scaled = logits / np.linalg.norm(logits, axis=1, keepdims=True) / 0.04
    expected = np.mean([np.log(np.exp(z - z.max()).sum()) + z.max() - z[k] for k, z in enumerate(scaled)])
    loss = LogitNorm().objective().loss(network, given, torch.Generator())
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    with torch.no_grad():
        network.fc.weight *= 7  # the length of the logits counts for nothing
    assert NormalisedLogits().loss(network, given, torch.Generator()).item() == pytest.approx(expected, rel=1e-5)


def test_logits_of_no_length_have_a_loss():
    network, given = Linear(3), batch(0)
    with torch.no_grad():
        network.fc.weight.zero_()
    assert NormalisedLogits().loss(network, given, torch.Generator()).item() == pytest.approx(np.log(3))


@pytest.mark.parametrize(
    "wrong", [{"start": 1.0}, {"start": -0.1}, {"memory": 0}, {"select": 0}, {"select": 3, "candidates": 2}]
)
def test_what_cannot_be_is_refused(wrong):
    with pytest.raises(ValueError, match="it is a share|choose 1 or more"):
        VOS.Parameters(**wrong)


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_logitnorm_needs_a_temperature(temperature):
    with pytest.raises(ValueError, match="choose a number above 0"):
        LogitNorm.Parameters(temperature=temperature)
