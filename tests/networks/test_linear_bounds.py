"""Planes above logits: exact where that is known, sound against whatever is tried, never wider than intervals."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from oodbench.basics.errors import OodbenchError
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


class Between(Network):
    """Two convolutions and a linear layer on 3 x 6 x 6 images, `operation` after each convolution."""

    def __init__(self, operation):
        super().__init__((0.5,) * 3, (0.25,) * 3)
        self.conv1, self.conv2 = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.constant, self.operation = nn.Parameter(torch.tensor([1.0, -0.5, 2.0, -3.0]).view(4, 1, 1)), operation
        self.fc = nn.Linear(4, 3)

    def represent(self, images):
        first = self.operate(self.conv1(self.normalise(images)))
        features = self.operate(self.conv2(first)).mean((2, 3))
        return Representation(self.fc(features), features, ())

    def operate(self, maps):
        takes_constant = getattr(self.operation, "__name__", "").startswith("constant_")
        return self.operation(maps, self.constant) if takes_constant else self.operation(maps)


class Steep(torch.autograd.Function):
    """A ReLU that says of its gradient that it is that of the identity."""

    @staticmethod
    def forward(_, maps):
        return F.relu(maps)

    @staticmethod
    def backward(_, share):
        return share


class Reversed(torch.autograd.Function):
    """The identity, with the gradient of another function."""

    @staticmethod
    def forward(_, maps):
        return maps

    @staticmethod
    def backward(_, share):
        return -share


def hooked():
    module = nn.ReLU()
    module.register_full_backward_hook(lambda _, shares, __: (0.1 * shares[0],))
    return module


def without_gradient(maps):
    with torch.no_grad():
        still = F.relu(maps)
    return still + F.relu(maps)


def written_into(maps):
    shown = F.relu(maps)
    maps += 1
    return shown - maps


def constant_bent(maps, constant):
    """What bends constants bends no planes."""
    return F.relu(maps * F.relu(constant).clamp(max=1.5)) - constant.abs() * maps


def by_channel(maps):
    return F.relu(maps.flatten(0, 1)).view(maps.shape)


PLANES = {
    "F.relu": F.relu,
    "nn.ReLU": nn.ReLU(),
    "-x": lambda x: -F.relu(-x),
    "1 - x": lambda x: 1 - F.relu(1 - x),
    "x / -2": lambda x: F.relu(x) / -2,
    "x - x": lambda x: F.relu(x) - x,
    "tensor - x": lambda x: torch.full((4, 1, 1), 0.5) - F.relu(x),
    "absolute by ReLUs": lambda x: torch.add(F.relu(x), F.relu(-x)),
    "a part": lambda x: torch.cat((F.relu(x[:, :2]), x[:, 2:]), 1),
    "pad and pool": lambda x: F.avg_pool2d(F.pad(F.relu(x), (1, 1, 1, 1), value=-1.0), 3, 1),
    "dropout": lambda x: F.dropout(F.relu(x), training=False),
    "written into": written_into,
    "constants": constant_bent,
}

INTERVALS = {
    "x.relu_": lambda x: x.relu_(),
    "x.relu": lambda x: x.relu(),
    "torch.relu": torch.relu,
    "F.relu in place": lambda x: F.relu(x, inplace=True),
    "nn.ReLU in place": nn.ReLU(inplace=True),
    "relu6": nn.ReLU6(),
    "hardtanh": nn.Hardtanh(),
    "leaky": nn.LeakyReLU(0.3),
    "leaky in place": nn.LeakyReLU(0.3, inplace=True),
    "max pool, function": lambda x: F.max_pool2d(x, 3, 1, 1),
    "max pool, module": nn.MaxPool2d(3, 1, 1),
    "sigmoid": torch.sigmoid,
    "tanh": nn.Tanh(),
    "an in-place ReLU beside another": lambda x: F.relu(x - 0.1) + x.relu_(),
    "a gradient of another function": Steep.apply,
    "the gradient of another function behind a ReLU": lambda x: Reversed.apply(F.relu(x)),
    "a hook on the way back": hooked(),
    "no gradient": without_gradient,
    "channels as images": by_channel,
}

TRUTHFUL = {
    "a gradient of another function": F.relu,
    "the gradient of another function behind a ReLU": F.relu,
    "a hook on the way back": F.relu,
    "no gradient": lambda x: 2 * F.relu(x),
}
"""What operations compute whose gradient is not their own, for the ascent."""

REFUSED = {
    "torch.relu_": torch.relu_,
    "clamp": lambda x: x.clamp(min=0),
    "clamp_": lambda x: x.clamp_(min=0),
    "clamp_min": lambda x: x.clamp_min(0),
    "torch.clamp": lambda x: torch.clamp(x, min=0),
    "torch.clip": lambda x: torch.clip(x, -1, 1),
    "max": lambda x: x.max(1, keepdim=True).values,
    "torch.max": lambda x: torch.max(x, -x),
    "torch.maximum": lambda x: torch.maximum(x, -x),
    "torch.minimum": lambda x: torch.minimum(x, -x),
    "abs": lambda x: x.abs(),
    "abs()": abs,
    "torch.abs": torch.abs,
    "leaky_relu_": lambda x: F.leaky_relu_(x, 0.3),
    "hardtanh_": F.hardtanh_,
    "threshold": nn.Threshold(0.1, 0),
    "threshold_": lambda x: torch.threshold_(x, 0.1, 0),
    "elu": F.elu,
    "gelu": F.gelu,
    "silu": nn.SiLU(),
    "softplus": F.softplus,
    "softmax": lambda x: F.softmax(x, 1),
    "where": lambda x: torch.where(x > 0, x, 0 * x),
    "a mask": lambda x: x * (x > 0),
    "values by a mask": lambda x: x[x > 0],
    "values into a mask": lambda x: x.masked_fill(x < 0, 0),
    "sign": lambda x: x.sign(),
    "x * x": lambda x: x * x,
    "x * half of x": lambda x: torch.mul(x, 0.5 * x),
    "x / x": lambda x: x / (1 + x),
    "x ** 2": lambda x: x**2,
    "exp": lambda x: x.exp(),
    "detach": lambda x: x.detach() + x,
    "a decision": lambda x: x if x[0, 0, 0, 0] > 0 else -x,
    "assignment": lambda x: (x.__setitem__(slice(0, 1), 0), x)[1],
}


def between(operation, shift=0):
    torch.manual_seed(0)
    made = Between(operation).eval()
    for layer in (made.conv1, made.conv2):
        nn.init.constant_(layer.bias, shift)
    return made


def reached(network, low, high):
    """The highest logits in the box that draws and an ascent find, (N, outputs)."""
    generator, best = torch.Generator().manual_seed(2), torch.full((len(low), 3), -torch.inf)
    at = low + (high - low) * torch.rand((3, *low.shape), generator=generator)  # an ascent for each logit
    for _ in range(40):
        draw = low + (high - low) * torch.rand(low.shape, generator=generator).round()
        at = at.detach().requires_grad_()
        logits = torch.stack([network(one) for one in at])
        best = torch.maximum(best, torch.maximum(network(draw), logits.amax(0)).detach())
        (slope,) = torch.autograd.grad(sum(logits[one, :, one].sum() for one in range(3)), at)
        at = torch.minimum(torch.maximum(at + 0.05 * slope.sign(), low), high)
    return best


@pytest.mark.filterwarnings("ignore:For backward hooks to be called")
@pytest.mark.parametrize("name", PLANES | INTERVALS)
@pytest.mark.parametrize(("radius", "shift"), [(0.05, 0), (0.25, 0), (0.05, 3)], ids=["near", "far", "all ReLUs pass"])
def test_bounds_hold_whatever_a_network_calls(name, radius, shift):
    operation, given = (PLANES | INTERVALS)[name], images(4, 6)
    network, low, high = between(operation, shift), (given - radius).clamp(0, 1), (given + radius).clamp(0, 1)
    found, intervals = LinearBounder(network).bounds(low, high), Bounder(network).bounds(low, high)
    assert (reached(between(TRUTHFUL.get(name, operation), shift), low, high) <= found.high + 1e-5).all()
    if name in INTERVALS:
        assert torch.equal(found.high, intervals.high)
        assert torch.equal(found.differences, intervals.differences)
    elif not shift:  # where all ReLUs pass, some of these networks are constant
        assert (found.high < intervals.high).any()


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_bounds_are_known_through_is_refused(name):
    with pytest.raises(OodbenchError, match="no interval bounds are known through"):
        LinearBounder(between(REFUSED[name])).bounds(images(2, 6), images(2, 6))


def test_an_image_that_is_written_into_is_bounded_too():
    def less(maps):
        maps -= 0.5
        return maps

    class Writing(Between):
        def normalise(self, images):
            return less(images)

    torch.manual_seed(0)
    network, given = Writing(F.relu).eval(), images(2, 6)
    found = LinearBounder(network).bounds(given - 0.1, given + 0.1)
    with torch.no_grad():
        assert (network(given.clone()) <= found.high).all()
    assert (found.high < Bounder(network).bounds(given - 0.1, given + 0.1).high).all()
