"""Interval bounds: exact where that is known, sound against whatever is tried, and refused where nothing is known."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from oodbench import networks
from oodbench.attacks.apgd import apgd
from oodbench.attacks.attack_goal import Goal
from oodbench.attacks.square import square
from oodbench.basics.errors import OodbenchError
from oodbench.detector import Detector
from oodbench.detectors.atom import ATOM
from oodbench.detectors.energy import Energy
from oodbench.detectors.maxlogit import MaxLogit
from oodbench.detectors.msp import MSP
from oodbench.detectors.odin import ODIN
from oodbench.detectors.rowl import ROWL
from oodbench.detectors.sofl import SOFL
from oodbench.networks.bounds import Bounder
from oodbench.networks.builtin import NETWORKS
from oodbench.networks.network import Network, Representation
from oodbench.networks.of_module import ModuleNetwork
from oodbench.scoring.fitting import fit
from oodbench.tasks import Linf
from oodbench.tasks.adaptive import LinfAdaptive
from tests.pixelnetwork import Pixels

K = 4


class Everything(Network):
    """Every operation that bounds are known through, on 3 x 8 x 8 images."""

    def __init__(self, outputs: int) -> None:
        super().__init__((0.5,) * 3, (0.25,) * 3)
        self.conv1, self.bn1 = nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.conv2, self.conv3 = nn.Conv2d(6, 6, 3, padding=1, groups=2), nn.Conv2d(12, 8, 1)
        self.hidden, self.fc = nn.Linear(8, 16), nn.Linear(16, outputs)

    def represent(self, images):
        first = F.relu(self.bn1(self.conv1(self.normalise(images))))
        second = first + self.conv2(first)
        joined = self.conv3(torch.cat((first, second), 1))
        pooled = F.avg_pool2d(F.max_pool2d(joined, 2), 2)
        features = F.relu(self.hidden(torch.flatten(F.adaptive_avg_pool2d(pooled, 1), 1)))
        return Representation(self.fc(features), features, (joined,))


@pytest.fixture
def network():
    torch.manual_seed(0)
    made = Everything(K + 1)
    nn.init.uniform_(made.bn1.running_var, 0.5, 2)
    nn.init.normal_(made.bn1.weight)
    return made.eval()


@pytest.fixture
def images():
    return torch.rand(5, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def ball(images, radius):
    return (images - radius).clamp(0, 1), (images + radius).clamp(0, 1)


def test_without_a_radius_the_bound_is_the_logits(network, images):
    found = Bounder(network).bounds(images, images)
    with torch.no_grad():
        logits = network(images).double()
    torch.testing.assert_close(found.high, logits, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found.differences, logits[:, :, None] - logits[:, None], atol=1e-5, rtol=1e-5)


def test_one_linear_layer_is_bounded_exactly():
    line = Pixels(3)
    with torch.no_grad():
        line.fc.weight.copy_(torch.tensor([[1.0, -2.0, 0.0], [1.0, 0.0, 3.0]]))
        line.fc.bias.copy_(torch.tensor([0.5, 0.0]))
    center = torch.tensor([[[[0.5]], [[0.5]], [[0.5]]]])
    found = Bounder(line).bounds(center - 0.1, center + 0.1)
    # z_0 = 0.5 - 1 + 0.5 = 0 +- 0.3, z_1 = 2 +- 0.4; z_0 - z_1 = -2 x_1 - 3 x_2 + 0.5 = -2 +- 0.5, not +- 0.7.
    torch.testing.assert_close(found.high, torch.tensor([[0.3, 2.4]]).double(), atol=1e-6, rtol=0)
    torch.testing.assert_close(found.differences[0, 0, 1], torch.tensor(-1.5).double(), atol=1e-6, rtol=0)
    torch.testing.assert_close(found.differences[0, 1, 0], torch.tensor(2.5).double(), atol=1e-6, rtol=0)


@pytest.mark.parametrize("radius", [0.5 / 255, 8 / 255, 1.0])
def test_no_point_of_the_ball_is_beyond_the_bounds(network, images, radius):
    low, high = ball(images, radius)
    found, generator = Bounder(network).bounds(low, high), torch.Generator().manual_seed(2)
    for attempt in range(40):
        share = torch.rand(images.shape, generator=generator)
        points = low + (high - low) * (share.round() if attempt % 2 else share)
        with torch.no_grad():
            logits = network(points).double()
        assert (logits <= found.high + 1e-4).all()
        assert (logits[:, :, None] - logits[:, None] <= found.differences + 1e-4).all()


DETECTORS = {
    "msp": (MSP(), K),
    "odin": (ODIN(ODIN.Parameters(magnitude=0.01, temperature=10.0)), K),
    "energy": (Energy(), K),
    "maxlogit": (MaxLogit(), K),
    "atom": (ATOM(), K + 1),
    "rowl": (ROWL(), K + 1),
    "sofl": (SOFL(SOFL.Parameters(reject=2)), K + 2),
}


@pytest.mark.parametrize("name", DETECTORS)
@pytest.mark.parametrize("radius", [0, 1, 8])
def test_no_attack_exceeds_a_detectors_bound(images, name, radius):
    """C16: the climb ends below the bound, and at radius 0 the bound is the score."""
    detector, outputs = DETECTORS[name]
    torch.manual_seed(3)
    fit([detector], Everything(outputs), K)
    low, high = ball(images, radius / 255)
    step = detector.widening()
    bound = detector.upper_bound(Bounder(detector.network).bounds(low - step, high + step))
    climbed = apgd(detector.score, images, epsilon=radius, iterations=30)
    assert (climbed.after <= bound + 1e-4).all()
    if radius == 0 and not step:
        torch.testing.assert_close(climbed.after, bound, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    "attack",
    [
        Linf(8),
        Linf(8, objective="adaptive"),
        LinfAdaptive(8, "standard"),
        square,
    ],
    ids=["linf", "linf on the score", "linf-adaptive", "square"],
)
@pytest.mark.parametrize("name", ["msp", "energy", "atom"])
def test_no_task_exceeds_a_detectors_bound(images, name, attack):
    """C16 for everything that attacks: K + 1 classes, softmax and energy."""
    detector, outputs = DETECTORS[name]
    torch.manual_seed(3)
    fit([detector], Everything(outputs), K)
    images = (images * 255).round() / 255
    bound = detector.upper_bound(Bounder(detector.network).bounds(*ball(images, 8 / 255)))
    if attack is square:
        generators = [np.random.default_rng(number) for number in range(len(images))]
        reached = square(detector.score, images, epsilon=8, queries=50, generators=generators).after
    else:
        altered = attack.alter(Goal.of(detector, lures=images[:2]), images, np.arange(len(images)), "x")
        with torch.no_grad():
            reached = detector.score(altered.images)
    with torch.no_grad():
        assert reached.mean() > detector.score(images).mean()
    assert (reached <= bound + 1e-4).all()


@pytest.mark.parametrize("name", NETWORKS)
def test_the_networks_of_the_house_are_bounded(name):
    network = networks.build(name, K, mean=(0.5,) * 3, std=(0.25,) * 3, seed=0).eval()
    images = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(4))
    found = Bounder(network).bounds(*ball(images, 1e-4))
    with torch.no_grad():
        assert (network(images).double() <= found.high + 1e-4).all()
    assert found.high.isfinite().all()


class Residual(nn.Module):
    """What people write: operations in place, view, padding, slices, dropout, a sum that is written into."""

    def __init__(self):
        super().__init__()
        self.conv, self.other = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.drop, self.fc = nn.Dropout(), nn.Linear(6 * 4 * 4, K)

    def forward(self, images):
        maps = F.relu6(self.conv(images), inplace=True)
        before = maps
        maps += 0.5 * self.other(maps)
        F.relu(maps, inplace=True)
        maps = F.pad((maps + before)[:, :, ::2, ::2], (0, 0, 0, 0, 1, 1))
        maps = F.leaky_relu(self.drop(maps) - 0.1)
        return self.fc(torch.tanh(maps).view(maps.size(0), -1))


def test_a_module_of_ones_own_is_bounded_also_where_it_works_in_place():
    torch.manual_seed(0)
    images = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(4))
    network = ModuleNetwork(Residual().eval(), images)
    found = Bounder(network).bounds(*ball(images, 4 / 255))
    draws = torch.rand((200, 4, 3, 8, 8), generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        exact = Bounder(network).bounds(images, images)
        torch.testing.assert_close(exact.high.float(), network(images), rtol=1e-5, atol=1e-5)
        for draw in draws:
            moved = (images + (draw.round() * 2 - 1) * 4 / 255).clamp(0, 1)
            assert (network(moved).double() <= found.high + 1e-6).all()


def test_what_a_box_lacks_is_named():
    class Permuting(Residual):
        def forward(self, images):
            return super().forward(images.permute(0, 1, 3, 2))

    network = ModuleNetwork(Permuting().eval(), torch.rand(2, 3, 8, 8))
    with pytest.raises(OodbenchError, match="no interval bounds are known through permute"):
        Bounder(network).bounds(torch.zeros(1, 3, 8, 8), torch.ones(1, 3, 8, 8))


def test_an_operation_without_a_rule_is_named():
    class Soft(Everything):
        def represent(self, images):
            return super().represent(F.gelu(images))

    with pytest.raises(OodbenchError, match="no interval bounds are known through gelu"):
        Bounder(Soft(K).eval()).bounds(torch.zeros(1, 3, 8, 8), torch.ones(1, 3, 8, 8))


def test_a_detector_that_knows_no_bound_claims_none(network, images):
    class Unbounded(MSP):
        upper_bound = Detector.upper_bound

    assert not Unbounded.has_bound()
    bounds = Bounder(network).bounds(images, images)
    assert (Unbounded().upper_bound(bounds) == torch.inf).all()


def applied(operation, outputs=3):
    """A network of 3 x 2 x 2 images: `operation`, and one linear layer."""

    class Applied(Network):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(12, outputs)

        def represent(self, images):
            features = operation(images).flatten(1)
            return Representation(self.fc(features), features, ())

    torch.manual_seed(0)
    return Applied().eval()


def written_into(maps, write):
    before = maps[:, :1]  # a view: it sees what is written
    maps = write(maps)
    return maps + before


def times_in_place(maps):
    maps *= -3
    return maps


def part_times_in_place(maps):
    maps = maps + 0
    times_in_place(maps[:, 1:])
    return maps


def less_in_place(maps):
    maps -= 0.5
    return maps


def divided_in_place(maps):
    maps /= -2
    return maps


SCALE = torch.tensor([0.5, -2.0, 3.0]).view(3, 1, 1)

AFFINE = {
    "-x": lambda x: -x,
    "+x": lambda x: +x,
    "1 - x": lambda x: 1 - x,
    "1 + x": lambda x: 1 + x,
    "2 * x": lambda x: 2 * x,
    "x / 2": lambda x: x / 2,
    "x / -2": lambda x: x / -2,
    "x / tensor": lambda x: x / SCALE,
    "tensor - x": lambda x: SCALE - x,
    "tensor + x": lambda x: SCALE + x,
    "tensor * x": lambda x: SCALE * x,
    "x - other x": lambda x: x - 0.5 * x[:, :1],
    "torch.sub": lambda x: torch.sub(x, x[:, :, :1]),
    "torch.mul": lambda x: torch.mul(x, SCALE),
    "torch.neg": torch.neg,
    "broadcast": lambda x: x[:, :, :1, :1] + torch.ones(1, 1, 2, 2),
    "mean of all": lambda x: x - x[:1].mean(),
    "len and size": lambda x: x.reshape(len(x), x.size()[1], 2, 2),
    "*=": lambda x: written_into(x, times_in_place),
    "-=": lambda x: written_into(x, less_in_place),
    "/=": lambda x: written_into(x, divided_in_place),
    "a part that is written into": part_times_in_place,
    "a sum that is written into": lambda x: (x, times_in_place(x + 1))[0],
}


@pytest.mark.parametrize("name", AFFINE)
def test_bounds_of_affine_operations_are_exact(name):
    network = applied(AFFINE[name])
    low = torch.rand(1, 3, 2, 2, generator=torch.Generator().manual_seed(1)).double()
    high, exact = low + 0.1, copy.deepcopy(network).double()
    at = low.clone().requires_grad_()
    slopes = torch.stack([torch.autograd.grad(exact(at * 1)[0, one], at)[0] for one in range(3)])
    with torch.no_grad():
        reached = torch.stack([exact(torch.where(slope > 0, high, low))[0, one] for one, slope in enumerate(slopes)])
    found = Bounder(network).bounds(low, high).high[0]
    assert (found >= reached - 1e-9).all()
    # Where a pixel comes in twice, intervals forget that it is the same; else they lose nothing.
    if name not in ("x - other x", "torch.sub", "mean of all", "broadcast", "*=", "-=", "/="):
        torch.testing.assert_close(found, reached, rtol=1e-9, atol=1e-9)


REFUSED = {
    "x ** 2": (lambda x: x**2, r"the operator \*\*"),
    "2 ** x": (lambda x: 2**x, r"the operator \*\*"),
    "1 / x": (lambda x: 1 / x, "a division by a feature map"),
    "x / x": (lambda x: x / x, "a division by a feature map"),
    "tensor / x": (lambda x: SCALE / x, "div"),
    "x * x": (lambda x: x * x, "a product of two feature maps"),
    "x @ x": (lambda x: x @ x, "the operator @"),
    "x // 2": (lambda x: x // 2, "the operator //"),
    "x % 2": (lambda x: x % 2, "the operator %"),
    "abs(x)": (lambda x: abs(x), "abs"),
    "x.abs()": (lambda x: x.abs(), "abs"),
    "x > 0": (lambda x: x * (x > 0), "a comparison of values"),
    "x == 0": (lambda x: x + (x == 0), "a comparison of values"),
    "x[x > 0]": (lambda x: x[x > 0], "a comparison of values"),
    "if": (lambda x: x if x[0, 0, 0, 0] else -x, "a decision by values"),
    "float": (lambda x: x * float(x[0, 0, 0, 0]), "values taken out of PyTorch"),
    "x[0] = 1": (lambda x: (x.__setitem__(0, 1), x)[1], "an assignment to a part"),
    "torch.add with alpha": (lambda x: torch.add(x, x, alpha=2), "add as it is called here"),
    "maximum": (lambda x: torch.maximum(x, 1 - x), "maximum"),
    "where": (lambda x: torch.where(SCALE > 0, x, 0.0), "where"),
    "torch.tensor": (lambda x: torch.tensor(x), "."),
    "mean of a type": (lambda x: x.mean(1, dtype=torch.float32), "a network that does not take boxes"),
    "statistics of a batch": (lambda x: F.batch_norm(x, None, None, training=True), "batch norm by the statistics"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_bounds_is_refused_by_name_and_not_as_an_error_of_type(name):
    operation, said = REFUSED[name]
    images = torch.rand(2, 3, 2, 2)
    with pytest.raises(OodbenchError, match=f"no interval bounds are known through {said}"):
        Bounder(applied(operation)).bounds(images, images)
