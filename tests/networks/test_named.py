"""Where networks come from: entry points, files, packages and timm, none with a privilege."""

import sys
import textwrap

import pytest
import torch
from torch import nn

from oodbench import networks
from oodbench.basics.errors import OodbenchError
from oodbench.networks import named
from oodbench.networks.of_module import ModuleNetwork
from oodbench.networks.smallcnn import SmallCNN
from oodbench.networks.tapped import TappedNetwork

OWN = """
from torch import nn

from widths import WIDTH


class Own(nn.Module):
    '''A convolution and a linear layer.'''

    def __init__(self, num_classes=10, width=WIDTH):
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3, 2)
        self.fc = nn.Linear(width, num_classes)

    def forward(self, images):
        return self.fc(self.conv(images).relu().mean((2, 3)))


def build(outputs):
    return Own(outputs)


def fixed():
    return Own(10)


def needy(outputs, teacher):
    return Own(outputs)


def raising(outputs):
    return 1 / 0


def nothing(outputs):
    return None


def lazily(outputs):
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(outputs))


built = Own(10)
number = 3
"""


@pytest.fixture
def own(tmp_path):
    """A file with networks, and one beside it that it imports."""
    (tmp_path / "widths.py").write_text("WIDTH = 6\n")
    (tmp_path / "own.py").write_text(OWN)
    return tmp_path / "own.py"


@pytest.mark.parametrize("builder", ["Own", "build"])
def test_a_class_or_a_function_in_a_file_is_a_network(own, builder):
    network = networks.build(f"{own}:{builder}", 7, seed=0)
    assert isinstance(network, ModuleNetwork)
    assert network.training
    assert network.eval()(torch.rand(2, 3, 32, 32)).shape == (2, 7)
    assert list(network.state_dict()) == ["conv.weight", "conv.bias", "fc.weight", "fc.bias"]
    assert networks.called(f"{own}:{builder}") == f"own.py:{builder}"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("fixed", "gives 10 outputs, and 11 are needed.*let its builder take the number of logits"),
        ("needy", "is built from teacher as well, which nobody gives"),
        ("raising", "cannot be built: ZeroDivisionError"),
        ("nothing", "gives something of the type NoneType"),
        ("lazily", "lazy layers, such as that of '1.weight'"),
        ("built", "is a network that is built already.*def build"),
        ("number", "is of the type int"),
        ("buid", "did you mean 'build'"),
        ("", "unknown builder"),
    ],
)
def test_what_builds_no_network_is_refused_and_says_why(own, name, told):
    with pytest.raises(OodbenchError, match=told):
        networks.build(f"{own}:{name}", 11)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("nowhere.py:build", "there is no file nowhere.py"),
        ("no-package:build", "neither in a file nor in a package"),
        ("no_such_package:build", "does not load: ModuleNotFoundError"),
        ("os:system", "nothing in Python's own os builds one"),
        ("shutil:rmtree", "nothing in Python's own shutil"),
        ("memory:Own", "was a module in the memory of a program"),
        ("resnet18-32x23", "did you mean 'resnet18-32x32'"),
    ],
)
def test_a_name_that_is_none_says_what_would_be_one(name, told):
    with pytest.raises(OodbenchError, match=told):
        networks.build(name, 10)


def test_a_file_that_does_not_load_is_named(tmp_path):
    (tmp_path / "broken.py").write_text("import nonexistent_module\n")
    with pytest.raises(OodbenchError, match=r"broken\.py does not load: ModuleNotFoundError"):
        networks.build(f"{tmp_path / 'broken.py'}:build", 10)


def test_the_code_of_a_builder_counts_with_all_that_it_imports_and_not_where_it_lies(own, tmp_path):
    before = networks.code(f"{own}:build")
    assert before
    assert networks.code(f"{own}:Own") == before
    other = tmp_path / "elsewhere"
    other.mkdir()
    for file in ("own.py", "widths.py"):
        (other / file).write_text((tmp_path / file).read_text())
    assert networks.code(f"{other / 'own.py'}:build") == before
    (tmp_path / "widths.py").write_text("WIDTH = 7\n")
    assert networks.code(f"{own}:build") != before
    (tmp_path / "widths.py").write_text("# The same.\nWIDTH = 6\n")
    assert networks.code(f"{own}:build") == before


@pytest.mark.parametrize("name", ["small-cnn", "resnet18"])
def test_the_code_of_oodbench_and_timm_is_in_no_key(name):
    assert networks.code(name) == ""


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Installs a package with networks and an entry point of some value."""

    def install(value, called="their-net"):
        about = tmp_path / "theirs-1.0.dist-info"
        about.mkdir()
        (about / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
        (about / "entry_points.txt").write_text(f"[{named.GROUP}]\n{called} = {value}\n")
        text = OWN.replace("from widths import WIDTH", "WIDTH = 6")
        offered = """
            from oodbench.networks.builder import Builder

            ready = Builder(Own, "theirs, with its own mean", (0.5,) * 3, (0.25,) * 3, taps=("conv",))
            NETWORKS = {"one-of-theirs": ready, "another": build}
        """
        (tmp_path / "theirs.py").write_text(text + textwrap.dedent(offered))
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "theirs", raising=False)

    return install


def test_an_installed_builder_is_called_as_its_entry_point(installed):
    installed("theirs:ready")
    assert "their-net" in networks.names()
    assert networks.describe("their-net") == "theirs, with its own mean"
    assert networks.normalisation("their-net") == ((0.5,) * 3, (0.25,) * 3)
    network = networks.build("their-net", 4, mean=(), std=()).eval()
    assert network.mean.flatten().tolist() == [0.5] * 3
    assert network.tap_names == ("conv",)
    assert networks.code("their-net")


def test_an_installed_module_offers_several(installed):
    installed("theirs")
    assert {"one-of-theirs", "another", "small-cnn"} <= set(networks.names())
    assert networks.build("another", 3).head.out_features == 3


def test_a_plugin_that_does_not_load_is_named_and_the_others_are_listed(installed):
    installed("theirs:gone")
    assert "their-net" in networks.names()
    assert "unknown builder in the installed network plugin their-net 'gone'" in networks.describe("their-net")
    assert networks.describe("small-cnn").startswith("three strided")


def test_a_plugin_of_a_taken_name_is_refused(installed):
    installed("theirs:build", called="small-cnn")
    with pytest.raises(OodbenchError, match="two networks are called 'small-cnn'"):
        networks.names()


class Normalising(SmallCNN):
    """A network of one's own that takes mean and deviation itself."""


def test_a_network_that_takes_mean_and_deviation_is_not_normalised_twice(monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "Normalising", Normalising)
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)
    network = networks.build(f"{__name__}:Normalising", 10, mean, std, 0).eval()
    assert isinstance(network, Normalising)
    house = networks.build("small-cnn", 10, mean, std, 0).eval()
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(network(images), house(images))


def test_taps_of_a_network_of_the_house_can_be_chosen():
    network = networks.build("small-cnn", 10, seed=0, taps=("bn2", "conv3")).eval()
    house = networks.build("small-cnn", 10, seed=0).eval()
    images = torch.rand(2, 3, 32, 32)
    found = network.represent(images)
    assert isinstance(network, TappedNetwork)
    assert [tuple(tap.shape[1:]) for tap in found.taps] == [(64, 8, 8), (64, 4, 4)]
    assert torch.equal(found.taps[0].relu(), house.represent(images).taps[1])
    assert torch.equal(found.logits, house(images))
    assert list(network.state_dict()) == list(house.state_dict())
    with pytest.raises(OodbenchError, match="did you mean 'conv3'"):
        networks.build("small-cnn", 10, taps=("conv33",))
    with pytest.raises(OodbenchError, match="'fc' of SmallCNN gives no feature map.*conv1, bn1"):
        networks.build("small-cnn", 10, taps=("fc",))
    with pytest.raises(OodbenchError, match="says itself what its last layer is"):
        networks.build("small-cnn", 10, head="fc")


def test_a_module_flattens_its_maps_with_view_whatever_order_images_have_in_memory(tmp_path):
    (tmp_path / "flat.py").write_text(
        "from torch import nn\n\n\n"
        "class Flat(nn.Module):\n"
        "    def __init__(self, outputs):\n"
        "        super().__init__()\n"
        "        self.conv, self.fc = nn.Conv2d(3, 4, 3, 2), nn.Linear(900, outputs)\n\n"
        "    def forward(self, images):\n"
        "        return self.fc(self.conv(images).view(len(images), -1))\n"
    )
    network = networks.build(f"{tmp_path / 'flat.py'}:Flat", 5, seed=0).eval()
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(network(images.to(memory_format=torch.channels_last)), network(images))


def test_a_module_with_its_normalisation_inside_takes_its_checkpoint_as_it_is(tmp_path):
    from oodbench.networks import checkpoints

    class Inside(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("mean", torch.full((1, 3, 1, 1), 0.5))
            self.register_buffer("std", torch.full((1, 3, 1, 1), 0.25))
            self.fc = nn.Linear(3, 2)

        def forward(self, images):
            return self.fc(((images - self.mean) / self.std).mean((2, 3)))

    module = Inside().eval()
    torch.save(module.state_dict(), tmp_path / "inside.pt")
    network = ModuleNetwork(Inside().eval(), torch.rand(2, 3, 8, 8))
    checkpoints.load(network, tmp_path / "inside.pt")
    images = torch.rand(2, 3, 8, 8)
    assert torch.equal(network(images), module(images))
