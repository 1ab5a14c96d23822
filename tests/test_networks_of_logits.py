"""Networks of logits alone through every door: runs, benchmarks, detectors in files, packs, attacks and training."""

import runpy

import numpy as np
import pytest
import torch
from torch import nn

import oodbench
from oodbench import load_detector
from oodbench.basics.errors import OodbenchError, OodbenchWarning
from oodbench.images import builtin
from oodbench.metrics import evaluate as all_metrics
from oodbench.registry import discover
from oodbench.running.missing_parts import missing_parts
from oodbench.running.request import NetworkSource
from oodbench.scoring.exporting import export
from oodbench.suitefiles import suitefile

SOURCE = '''
from torch import nn


class Convolutional(nn.Module):
    """A head that is a 1x1 convolution, behind which maps are averaged."""

    def __init__(self, num_classes=10):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 5, 2), nn.ReLU(), nn.Conv2d(8, 16, 3, 2), nn.ReLU())
        self.last = nn.Conv2d(16, num_classes, 1)

    def forward(self, images):
        return self.last(self.body(images)).mean((2, 3))
'''

TEST, TRAIN, LETTERS = (builtin.make(name) for name in ("digits-test", "digits-train", "letters"))
TEST, TRAIN, LETTERS = TEST.first(60), TRAIN.part(slice(0, 1000)).spread(200), LETTERS.first(40)

REFUSED = "nobody knows which features the logits of Convolutional are made of"
NOTE = "logits alone: no linear layer gives the outputs of Convolutional"
QUICK = ("--limit", "30", "--jobs", "1", "--only", "letters", "--images", "10")


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "convolutional.py"
    path.write_text(SOURCE, encoding="utf-8")
    return path


@pytest.fixture
def module(file):
    return trained(runpy.run_path(str(file))["Convolutional"]())


def trained(module):
    """A few steps on digits, so that there is something to tell and to attack."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for layer in module.modules():
            if isinstance(layer, nn.Conv2d):
                layer.reset_parameters()
    optimizer = torch.optim.Adam(module.parameters(), 0.01)
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(module(tensor(TRAIN)), torch.from_numpy(TRAIN.labels)).backward()
        optimizer.step()
    return module.eval()


def tensor(images):
    return torch.from_numpy(np.array(images.images)).permute(0, 3, 1, 2) / 255


def by_hand(module, score):
    """ID and OOD scores (N,) from the module's own logits."""
    with torch.no_grad():
        return [score(module(tensor(images)).double()).numpy() for images in (TEST, LETTERS)]


def auroc(frame, detector, task):
    kept = frame[(frame.detector == detector) & (frame.task == task) & (frame.metric == "auroc")]
    return float(kept.value.iloc[0])


SCORES = {"energy": lambda z: z.logsumexp(1), "maxlogit": lambda z: z.amax(1), "msp": lambda z: z.softmax(1).amax(1)}


def test_a_benchmark_gives_the_figures_of_the_modules_logits_and_attacks_them(module):
    attack = oodbench.tasks.LinfAdaptive(epsilon=8, level="quick")
    found = oodbench.benchmark(module, TEST, LETTERS, detectors=[*SCORES], attack=attack)
    for detector, score in SCORES.items():
        assert auroc(found, detector, "clean") == pytest.approx(all_metrics(*by_hand(module, score))["auroc"])
        assert auroc(found, detector, "linf-adaptive") < auroc(found, detector, "clean")


@pytest.mark.parametrize("detector", ["vim", "react", "knn"])
def test_a_detector_of_features_is_refused_by_its_name(module, detector):
    with pytest.raises(OodbenchError, match=f"{detector} needs features.*{REFUSED}"):
        oodbench.benchmark(module, TEST, LETTERS, detectors=["msp", detector], train=TRAIN)
    with pytest.raises(OodbenchError, match=f"{detector} needs features.*{REFUSED}"):
        oodbench.fit(module, detector, train=TRAIN)


def test_all_of_a_benchmark_leaves_it_out_and_says_once_what_the_network_is(module):
    with pytest.warns(OodbenchWarning) as told:
        found = oodbench.benchmark(module, TEST, LETTERS, train=TRAIN)
    said = [str(one.message) for one in told]
    assert sum(NOTE in one for one in said) == 1
    assert any(one.startswith("vim is left out: vim needs features") and REFUSED in one for one in said)
    assert {"msp", "energy", "gen", "rankfeat"} <= {*found.detector} and "vim" not in {*found.detector}


def test_a_detector_of_logits_goes_to_work_from_its_file_and_as_a_graph(module, tmp_path):
    made = oodbench.fit(module, "energy", train=TRAIN)
    scores = made(TEST)
    assert scores == pytest.approx(by_hand(module, SCORES["energy"])[0], rel=1e-6)
    made.save(tmp_path / "energy.detector")
    assert np.array_equal(oodbench.load_detector(tmp_path / "energy.detector", module)(TEST), scores)
    assert export(made, tmp_path / "energy.pt2").agreement.share <= 1


def test_a_detector_of_a_built_network_comes_from_the_command_line_with_its_weights(oodbench, file, module):
    torch.save(module.state_dict(), "own.pt")
    asked = ("--suite", "digits", "--network", f"{file}:Convolutional", "--checkpoint", "own.pt", "--limit", "60")
    code, _, err = oodbench("fit", *asked, "--detector", "msp", "-o", "msp.detector")
    assert code == 0 and err.count(NOTE) == 1, err
    scores = load_detector("msp.detector", f"{file}:Convolutional")(TEST)
    assert scores.argmax() == by_hand(module, SCORES["msp"])[0].argmax()
    code, _, err = oodbench("fit", *asked, "--detector", "vim", "-o", "vim.detector")
    assert code == 2 and "vim needs features" in err and REFUSED in err


def test_a_run_of_a_module_scores_and_attacks_it(module, tmp_path):
    said = []
    frame = oodbench.run(
        "digits", ["msp", "energy"], network=module, limit=30, tasks=["clean", "linf"], only=["letters"],
        parameters={"linf.steps": 3}, out=tmp_path, say=said.append,
    )  # fmt: skip
    assert {*frame.task} >= {"clean", "linf"} and frame[frame.metric == "auroc"].value.notna().all()
    assert sum(NOTE in line for line in said) == 1


def test_all_of_a_run_leaves_out_what_needs_features_with_the_reason(oodbench, file, module):
    torch.save(module.state_dict(), "own.pt")
    asked = ("run", "--suite", "digits", "--network", f"{file}:Convolutional", "--checkpoint", "own.pt", *QUICK)
    code, out, err = oodbench(*asked, "--task", "clean", "--detector", "all")
    (line,) = [line for line in err.splitlines() if line.startswith("left out: ") and REFUSED in line]
    assert {"knn", "vim", "react", "dice"} <= {*line.removeprefix("left out: ").partition(" (")[0].split(", ")}
    assert "msp" in out and "vim" not in out
    code, out, err = oodbench(*asked, "--task", "clean", "--detector", "msp", "--detector", "vim")
    assert code == 2 and "digits: vim needs features" in err and REFUSED in err and "Traceback" not in err
    assert "msp" in out and err.count(NOTE) == 1


def test_it_is_trained_from_scratch_by_the_suite_and_by_methods_that_need_logits_alone(oodbench, file):
    code, _, err = oodbench(
        "run", "--suite", "digits", "--network", f"{file}:Convolutional", *QUICK, "--set", "epochs=1",
        "--task", "clean", "--detector", "msp", "--detector", "oe", "--detector", "sofl",
    )  # fmt: skip
    assert code == 0, err
    assert err.count(NOTE) == 1  # whatever the number of outputs
    code, _, err = oodbench(
        "run", "--suite", "digits", "--network", f"{file}:Convolutional", *QUICK, "--detector", "vos", "--task", "clean"
    )
    assert code == 2 and "vos needs features" in err and REFUSED in err


def test_a_feature_pack_of_it_has_logits_alone(oodbench, file, module):
    torch.save(module.state_dict(), "own.pt")
    code, out, err = oodbench(
        "features", "--suite", "digits", "--set", f"network.name={file}:Convolutional", "--checkpoint", "own.pt",
        "--limit", "30", "-o", "own.features",
    )  # fmt: skip
    assert code == 0, err
    code, out, err = oodbench("run", "--features", "own.features", "--detector", "all")
    assert "left out: knn needs features, what the last layer sees, and the feature pack has logits alone" in err
    assert "msp" in out


def test_networks_that_lack_nothing_are_not_tried():
    registry, suite = discover([]), suitefile.load("digits")
    assert not missing_parts(NetworkSource(None, False), suite, [registry["vim"]()], (3, 32, 32))
