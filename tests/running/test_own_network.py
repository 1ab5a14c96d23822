"""Runs on a network of one's own: by its file, in a suite, or as a module in memory."""

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F

import oodbench
from oodbench import networks
from oodbench.basics.errors import OodbenchError
from oodbench.suitefiles import suitefile

OWN = """
from torch import nn
from torch.nn import functional as F


class Own(nn.Module):
    '''Two convolutions and a linear layer.'''

    def __init__(self, outputs):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8)
        self.conv2, self.drop = nn.Conv2d(8, 16, 3, 2, 1), nn.Dropout(0.2)
        self.fc = nn.Linear(16 * 4 * 4, outputs)

    def forward(self, images):
        maps = F.avg_pool2d(F.relu(self.conv2(F.relu(self.bn1(self.conv1(images))))), 2)
        return self.fc(self.drop(maps).view(len(images), -1))
"""

SUITE = """
extends = "digits-adv"
version = 1
[network]
name = "own.py:Own"
mean = "inside"
taps = ["bn1", "conv2"]
"""


class Own(nn.Module):
    """The same, for runs on a module."""

    def __init__(self, outputs=10):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(1)
            self.conv1, self.bn1 = nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8)
            self.conv2, self.drop = nn.Conv2d(8, 16, 3, 2, 1), nn.Dropout(0.2)
            self.fc = nn.Linear(16 * 4 * 4, outputs)
        self.sharpness = 1.0

    def forward(self, images):
        maps = F.avg_pool2d(F.relu(self.conv2(F.relu(self.bn1(self.conv1(images))))), 2)
        return self.sharpness * self.fc(self.drop(maps).view(len(images), -1))


@pytest.fixture
def suite(tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    (tmp_path / "mine.toml").write_text(SUITE)
    return tmp_path / "mine.toml"


@pytest.fixture
def run(tmp_path):
    """A short run; what it said is in `run.said`."""

    def run(suites, detectors, **how):
        run.said = []
        how = {"tasks": ["clean"], "limit": 60, **how}
        parameters = {"linf.steps": 2} if "linf" in how["tasks"] else {}
        parameters |= how.pop("parameters", {})
        return oodbench.run(
            suites, detectors, out=tmp_path / "results", say=run.said.append, parameters=parameters, **how
        )

    return run


def auroc(frame, detector="msp", task="clean"):
    chosen = frame[(frame.metric == "auroc") & (frame.detector == detector) & (frame.task == task)]
    return chosen.value.tolist()


def test_a_suite_trains_a_network_of_a_file_beside_it_mines_for_it_and_attacks_it(suite, run, tmp_path):
    frame = run(str(suite), ["msp", "atom"], tasks=["clean", "linf"], parameters={"epochs": 1})
    assert len(auroc(frame)) == len(auroc(frame, "atom", "linf")) == 4
    kept = sorted((tmp_path / "results" / "networks").glob("own.py-Own-*.safetensors"))
    assert len(kept) == 2
    assert sorted(len(load_file(file)["fc.bias"]) for file in kept) == [10, 11]  # ATOM's has a reject class
    again = run(str(suite), ["msp", "atom"], tasks=["clean", "linf"], parameters={"epochs": 1})
    assert not any("network kept" in said for said in run.said)
    assert auroc(again) == auroc(frame)


def test_the_same_network_is_trained_to_the_same_weights_though_it_drops_out(suite, run, tmp_path):
    run(str(suite), "msp", parameters={"epochs": 1})
    (file,) = (tmp_path / "results" / "networks").glob("*.safetensors")
    first = load_file(file)
    file.unlink()
    torch.rand(3)
    run(str(suite), "msp", parameters={"epochs": 1}, again=True)
    assert all(torch.equal(tensor, first[name]) for name, tensor in load_file(file).items())


def test_its_code_is_part_of_the_key_and_where_it_lies_is_not(suite, run, tmp_path):
    torch.save({"state_dict": Own().state_dict()}, tmp_path / "own.pt")
    first = run(str(suite), "msp", checkpoint=tmp_path / "own.pt")
    code = tmp_path / "own.py"
    fingerprint = suitefile.load(str(suite)).fingerprint
    code.write_text(OWN.replace("F.relu(self.conv2", "F.leaky_relu(self.conv2"))
    other = run(str(suite), "msp", checkpoint=tmp_path / "own.pt")
    assert auroc(other) != auroc(first)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    code.rename(elsewhere / "own.py")
    suite.rename(elsewhere / "mine.toml")
    assert suitefile.load(str(elsewhere / "mine.toml")).fingerprint == fingerprint
    run(str(elsewhere / "mine.toml"), "msp", checkpoint=tmp_path / "own.pt")
    assert run.said == []  # it was there


def test_a_module_in_memory_is_scored_as_it_stands_and_stays_so(run):
    module = Own().eval()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    frame = run("digits-adv", ["msp", "knn"], network=module, tasks=["clean", "linf"], mean=(0.5,) * 3, std=(0.5,) * 3)
    assert len(auroc(frame, "knn", "linf")) == 4
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())
    assert not module.conv1._forward_hooks
    wanted = ["network.name=memory:Own", "network.mean=[0.5, 0.5, 0.5]"]
    assert all(each in str(frame.settings.iloc[0]) for each in wanted)


def test_a_network_that_normalises_itself_keeps_its_mean(run):
    network = networks.build("small-cnn", 10, (0.5,) * 3, (0.25,) * 3, 0).eval()
    frame = run("digits-adv", "msp", network=network)
    assert "network.std=[0.25, 0.25, 0.25]" in str(frame.settings.iloc[0])
    other = run("digits-adv", "msp", network=network, mean="inside")
    assert auroc(other) != auroc(frame)


def test_a_module_is_known_by_its_weights_and_by_whatever_else_it_is_made_of(run):
    module = Own().eval()
    first = run("digits-adv", "msp", network=module, mean="inside")
    run("digits-adv", "msp", network=Own().eval(), mean="inside")
    assert run.said == []  # the same, and there already
    with torch.no_grad():
        module.fc.weight.mul_(-1)
    assert auroc(run("digits-adv", "msp", network=module, mean="inside")) != auroc(first)
    module = Own().eval()
    run("digits-adv", "msp", network=module, mean="inside", head="fc")
    module.sharpness = 2.0
    run("digits-adv", "msp", network=module, mean="inside", head="fc")
    assert run.said != []


class Detached(Own):
    """Has no gradient."""

    def forward(self, images):
        with torch.no_grad():
            return super().forward(images)


class Probabilities(Own):
    """Ends in a softmax."""

    def forward(self, images):
        return super().forward(images).softmax(1)


class Broken(Own):
    """Gives NaN."""

    def forward(self, images):
        return self.fc(self.drop(F.adaptive_avg_pool2d(images, 4).repeat(1, 6, 1, 1)[:, :16]).flatten(1) * torch.nan)


def test_without_a_gradient_scores_are_there_and_attacks_are_refused_by_name(run):
    module = Detached().eval()
    assert len(auroc(run("digits-adv", "msp", network=module))) == 4
    with pytest.raises(OodbenchError, match="Detached cannot be differentiated by its images, so linf has nothing"):
        run("digits-adv", "msp", network=module, tasks=["clean", "linf"])


@pytest.mark.parametrize(
    ("module", "how", "told"),
    [
        (Own(), {}, "stands in train mode"),
        (Own(9).eval(), {}, "'memory:Own' gives 9 outputs, and 10 are needed"),
        (Probabilities().eval(), {}, "returns probabilities"),
        (Broken().eval(), {}, "NaN or infinite"),
        (Own().eval(), {"head": "fcc"}, "did you mean 'fc'"),
        (Own().eval(), {"taps": ["fc"]}, "gives no feature map"),
        (Own().eval(), {"mean": (123.0, 116.0, 103.0), "std": (58.0, 57.0, 57.0)}, "divide each by 255"),
        (Own().eval(), {"jobs": 2}, "leave engine and jobs out"),
        (Own().eval(), {"pretrained": True}, "other weights"),
        (Own, {}, "network is the class Own: make one"),
        (torch.jit.trace(Own().eval(), torch.zeros(1, 3, 32, 32)), {}, "is TorchScript"),
        ("small-cmm", {}, "did you mean 'small-cnn'"),
    ],
)
def test_a_network_that_cannot_be_used_is_refused_before_anything_is_done(run, tmp_path, module, how, told):
    with pytest.raises(OodbenchError, match=told):
        run("digits-adv", "msp", network=module, **how)
    assert not (tmp_path / "results").exists()


def test_the_command_line_takes_one_and_says_what_of_it_is_used(oodbench, suite, tmp_path):
    torch.save(Own().state_dict(), tmp_path / "own.pt")
    code, out, err = oodbench(
        "run", "--suite", "digits", "--network", f"{suite.parent / 'own.py'}:Own", "--detector", "msp", "--limit", "60",
        "--checkpoint", str(tmp_path / "own.pt"), "--set", "network.taps=['bn1']", "--dry-run",
    )  # fmt: skip
    assert code == 0, err
    assert "network own.py:Own: head 'fc', 10 outputs of 256 features; taps bn1" in out


def test_inside_is_all_of_a_normalisation_whatever_the_suite_below_says(suite, tmp_path):
    assert suitefile.load("digits-adv").network.mean != (0.0,) * 3
    assert suitefile.load(str(suite)).network.mean == (0.0,) * 3
    suite.write_text(SUITE + "std = [0.5, 0.5, 0.5]\n")
    with pytest.raises(OodbenchError, match=r"mine\.toml, line 6: network\.mean: 'inside' is all of a normalisation"):
        suitefile.load(str(suite))
    suite.write_text(SUITE.replace('mean = "inside"\n', ""))
    assert suitefile.load(str(suite)).network.mean == ()  # that of digits-adv is of another network


def test_another_network_brings_nothing_of_the_suites_own_along(tmp_path):
    (tmp_path / "normalised.toml").write_text(
        'extends = "digits"\nversion = 1\n[network]\nmean = [0.5, 0.5, 0.5]\nstd = [0.2, 0.2, 0.2]\n'
    )
    from oodbench.suitefiles import settings

    suite = suitefile.load(str(tmp_path / "normalised.toml"))
    other, _ = settings.apply([settings.Setting("network.name", "resnet18-32x32")], suite, [])
    assert other.network.mean == (0.0,) * 3
    same, _ = settings.apply([settings.Setting("network.taps", ["bn1"])], suite, [])
    assert (same.network.mean, same.network.taps) == ((0.5,) * 3, ("bn1",))
    assert same.network.trained_as == suite.network.trained_as
