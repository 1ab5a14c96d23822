"""GOOD: its loss by hand, its bound against whatever is tried, its schedule."""

from dataclasses import replace

import pytest
import torch
from torch.nn.functional import cross_entropy

from oodbench.basics.passes import Passes
from oodbench.detectors.good import GOOD, BoundedExposure, batch_statistics, largest_spread, ramp
from oodbench.networks.smallcnn import SmallCNN
from oodbench.objective import Batch
from oodbench.recipe import Recipe
from tests.detectors.steps import Linear, batch


def late(outliers=4):
    """A batch when all is done but the last step: weight and radius are what they are to be."""
    given = batch(outliers)
    return Batch(given.images, given.labels, given.outliers, done=0.99)


def exact_spread(network, images, radius):
    """Of one linear layer: the largest difference of two logits, each pixel where that is highest."""
    low, high = (images - radius).clamp(min=0).flatten(1), (images + radius).clamp(max=1).flatten(1)
    apart = network.fc.weight[:, None] - network.fc.weight[None]
    return (apart.clamp(min=0) @ high.T + apart.clamp(max=0) @ low.T).flatten(0, 1).amax(0)


def test_one_linear_layer_is_bounded_exactly():
    network, images = Linear(3), batch().outliers
    torch.testing.assert_close(largest_spread(network, images, 0.1, 3, {}), exact_spread(network, images, 0.1))


def test_loss_by_hand_bounds_the_share_with_the_lowest_bounds():
    network, given = Linear(3), late(5)
    objective = BoundedExposure(weight=0.7, epsilon=20, quantile=0.5)
    bounds, logits = exact_spread(network, given.outliers, 20 / 255), network(given.outliers)
    spread = logits.amax(1) - logits.amin(1)
    lowest = bounds.argsort()[:2]  # floor(0.5 * 5)
    apart = torch.stack([bounds[i] if i in lowest else spread[i] for i in range(5)])
    expected = cross_entropy(network(given.images), given.labels) + 0.7 * (1 + apart**2 / 2).log().mean()
    torch.testing.assert_close(objective.loss(network, given, torch.Generator()), expected)


def test_no_quantile_and_no_radius_leave_the_outliers_as_they_are():
    network, given = Linear(3), late()
    losses = [
        BoundedExposure(epsilon=epsilon, quantile=quantile).loss(network, given, torch.Generator())
        for epsilon, quantile in ((90, 0.0), (0, 1.0))
    ]
    torch.testing.assert_close(*losses)


def test_the_bound_holds_in_a_network_with_batch_norm_and_teaches_it():
    torch.manual_seed(0)
    network = SmallCNN(4)
    images = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    network.train()
    running = network.bn1.running_mean.clone()
    bound = largest_spread(network, images, 0.05, 4, {})
    assert network.training
    assert torch.equal(network.bn1.running_mean, running)  # boxes have no statistics
    bound.sum().backward()
    assert network.conv1.weight.grad.abs().sum() > 0
    network.eval()
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for _ in range(20):
            moved = (images + 0.05 * (2 * torch.rand(images.shape, generator=generator) - 1).sign()).clamp(0, 1)
            logits = network(moved)
            assert (logits.amax(1) - logits.amin(1) <= bound + 1e-5).all()


def trained_beside(images, outliers, radius, scale=1.0):
    """A network with batch norm, its logits of outliers in a training pass, and their bound by that pass's statistics.

    The weights of each convolution are scaled, which batch norm takes out again.
    """
    torch.manual_seed(0)
    network = SmallCNN(4).train()
    with torch.no_grad():
        for part in network.modules():
            if isinstance(part, torch.nn.Conv2d):
                part.weight.mul_(scale)
    with batch_statistics(network) as statistics:
        logits = network(torch.cat([images, outliers]))[len(images) :]
    return network, logits, largest_spread(network, outliers, radius, 4, statistics)


def two_batches():
    generator = torch.Generator().manual_seed(3)
    return 0.5 * torch.rand(6, 3, 32, 32, generator=generator), torch.rand(5, 3, 32, 32, generator=generator)


def test_boxes_without_width_have_the_spread_of_the_training_pass():
    images, outliers = two_batches()
    _, logits, bound = trained_beside(images, outliers, 0.0)
    torch.testing.assert_close(bound, logits.amax(1) - logits.amin(1))


def test_no_bound_is_gained_by_weights_that_batch_norm_scales_back():
    """Running statistics would let a network shrink its bound and keep its training pass as it is."""
    _, _, bound = trained_beside(*two_batches(), 0.02)
    network, _, scaled = trained_beside(*two_batches(), 0.02, scale=10.0)
    torch.testing.assert_close(scaled, bound, rtol=1e-2, atol=0)
    scaled.sum().backward()
    weight = network.conv1.weight
    along = (weight.grad * weight).sum() / (weight.grad.norm() * weight.norm())
    assert along.abs() < 0.01


def test_weight_and_radius_rise_at_the_authors_pace():
    assert ramp(0.0, 10 / 420, 120 / 420) == 0
    assert ramp(70 / 420, 10 / 420, 120 / 420) == pytest.approx(0.5)
    assert ramp(0.9, 10 / 420, 120 / 420) == 1
    early = BoundedExposure(weight=5.0).loss(Linear(3), batch(), torch.Generator())
    torch.testing.assert_close(early, cross_entropy(Linear(3)(batch().images), batch().labels))


def test_training_may_take_longer_than_the_suites():
    suite = Recipe(epochs=20, drops=(12, 17), learning_rate=0.05)
    assert BoundedExposure().recipe(suite) is suite
    longer = BoundedExposure(epochs=60).recipe(suite)
    assert (longer.epochs, longer.drops, longer.learning_rate) == (60, (36, 51), 0.05)
    assert BoundedExposure().epoch_passes(256) == Passes(512 + 512, 512 + 512)


@pytest.mark.parametrize("entries", [{"epsilon": 256}, {"quantile": 1.1}, {"weight": -1.0}, {"epochs": -1}])
def test_parameters_out_of_range_are_refused(entries):
    with pytest.raises(ValueError, match="choose epsilon from 0 to 255"):
        GOOD.Parameters(**entries)


def test_weight_and_radius_rise_at_different_paces():
    """After 70 of 420 epochs the radius has risen for 60 of 120 and the weight for 68 of 100."""
    network, given = Linear(3), replace(batch(5), done=70 / 420)
    spread = exact_spread(network, given.outliers, 0.5 * 20 / 255)
    expected = cross_entropy(network(given.images), given.labels) + 0.68 * 0.7 * (1 + spread**2 / 2).log().mean()
    objective = BoundedExposure(weight=0.7, epsilon=20, quantile=1.0)
    torch.testing.assert_close(objective.loss(network, given, torch.Generator()), expected)
