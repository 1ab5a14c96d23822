"""Planes above logits: exact where that is known, sound against whatever is tried, never wider than intervals."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from oodbench.networks.bounds import Bounder
from oodbench.networks.linear_bounds import LinearBounder
from oodbench.networks.network import Network, Representation
from oodbench.networks.smallcnn import SmallCNN


class Hat(Network):
    """One pixel x: z_0 = relu(x - 0.4) + relu(0.6 - x), z_1 = 0."""

    def __init__(self):
        super().__init__()
        self.hidden, self.fc = nn.Linear(1, 2), nn.Linear(2, 2)
        self.hidden.weight.data = torch.tensor([[1.0], [-1.0]])
        self.hidden.bias.data = torch.tensor([-0.4, 0.6])
        self.fc.weight.data = torch.tensor([[1.0, 1.0], [0.0, 0.0]])
        self.fc.bias.data.zero_()

    def represent(self, images):
        features = F.relu(self.hidden(images.flatten(1)))
        return Representation(self.fc(features), features, ())


class Branches(Network):
    """Batch norm, a sum with what went in, a concatenation and averages behind ReLUs."""

    def __init__(self, relu):
        super().__init__((0.5,) * 3, (0.25,) * 3)
        self.conv1, self.bn1 = nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.conv2, self.fc, self.relu = nn.Conv2d(6, 6, 3, padding=1), nn.Linear(12, 4), relu

    def represent(self, images):
        first = self.relu(self.bn1(self.conv1(self.normalise(images))))
        second = self.relu(first + self.conv2(first))
        joined = torch.cat((first, second), 1)
        features = torch.flatten(F.adaptive_avg_pool2d(joined, 1), 1)
        return Representation(self.fc(features), features, ())


def branches(relu=F.relu):
    torch.manual_seed(0)
    made = Branches(relu)
    nn.init.uniform_(made.bn1.running_var, 0.5, 2)
    nn.init.normal_(made.bn1.weight)
    return made.eval()


def images(count=4, side=8):
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(1))


def test_one_pixel_by_hand():
    # Over x in [0.3, 0.7] each ReLU sees [-0.1, 0.3] and lies below a line of slope 3/4 that is 0 where it sees -0.1.
    # Both lines together: 0.75 * (x - 0.3) + 0.75 * (0.7 - x) = 0.3, which z_0 reaches at either end. Intervals give
    # 0.3 + 0.3. Lower lines have slope 1, since 0.3 > 0.1: (x - 0.4) + (0.6 - x) = 0.2, so z_1 - z_0 is -0.2 at most.
    low, high = torch.full((1, 1, 1, 1), 0.3), torch.full((1, 1, 1, 1), 0.7)
    found, intervals = LinearBounder(Hat().eval()).bounds(low, high), Bounder(Hat().eval()).bounds(low, high)
    assert intervals.high[0, 0] == pytest.approx(0.6)
    assert found.high[0, 0] == pytest.approx(0.3)
    assert intervals.differences[0, 1, 0] == pytest.approx(0.0)
    assert found.differences[0, 1, 0] == pytest.approx(-0.2)
    assert found.high[0, 1] == pytest.approx(0.0)


@pytest.mark.parametrize("network", [branches(), SmallCNN(4).eval()], ids=["branches", "small-cnn"])
def test_nothing_that_is_tried_lies_above_and_intervals_lie_no_lower(network):
    given, radius = images(2, 32), 0.03
    low, high = (given - radius).clamp(0, 1), (given + radius).clamp(0, 1)
    found, intervals = LinearBounder(network).bounds(low, high), Bounder(network).bounds(low, high)
    assert (found.high <= intervals.high).all()
    assert (found.differences <= intervals.differences).all()
    assert found.differences.mean() < 0.8 * intervals.differences.mean()  # and mostly a good deal higher
    generator = torch.Generator().manual_seed(2)
    for _ in range(2):
        # Climb each logit from a random point: one signed step, then the corner that the gradient names.
        start = low + (high - low) * torch.rand(low.shape, generator=generator)
        for j in range(4):
            for k in (j, 0, 3):
                at = start.clone().requires_grad_()
                logits = network(at)
                (logits[:, j] - (logits[:, k] if j != k else 0)).sum().backward()
                with torch.no_grad():
                    reached = network(torch.where(at.grad > 0, high, low)).double()
                apart = reached[:, :, None] - reached[:, None]
                assert (reached <= found.high + 1e-4).all()
                assert (apart <= found.differences + 1e-4).all()


def test_without_a_radius_the_bound_is_the_logits():
    network, given = branches(), images()
    found = LinearBounder(network).bounds(given, given)
    with torch.no_grad():
        logits = network(given).double()
    torch.testing.assert_close(found.high, logits, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found.differences, logits[:, :, None] - logits[:, None], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "bent",
    [lambda x: F.relu(x, inplace=True), lambda x: F.leaky_relu(x), lambda x: F.max_pool2d(F.relu(x), 1), torch.relu],
    ids=["in place", "leaky", "max pool", "torch.relu"],
)
def test_where_planes_do_not_go_intervals_stand(bent):
    network, given = branches(bent), images()
    low, high = (given - 0.02).clamp(0, 1), (given + 0.02).clamp(0, 1)
    found, intervals = LinearBounder(network).bounds(low, high), Bounder(network).bounds(low, high)
    assert torch.equal(found.high, intervals.high)
    assert torch.equal(found.differences, intervals.differences)
