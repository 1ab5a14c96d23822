"""All detectors are those that can do with the suite and the network at hand; who is left out is said, and why."""

import runpy
from pathlib import Path

import pytest
import torch

PLAIN = Path(__file__).parents[2] / "results" / "reference" / "networks" / "digits" / "plain.safetensors"

BARE = """
version = 1
id = {train = "digits-train", test = "digits-test", classes = 10}
ood = [{set = "letters", distance = "near"}]
network = {name = "small-cnn"}
training = {epochs = 1}
"""


@pytest.fixture
def bare(tmp_path):
    """A suite without outliers and without ID images held out of training."""
    (tmp_path / "bare.toml").write_text(BARE)
    return "bare.toml"


def left_out(said):
    """The lines that say who is left out, (names, why) each."""
    found = (line.removeprefix("left out: ").split(" (", 1) for line in said.splitlines() if "left out: " in line)
    return [(names.split(", "), why.rstrip(")")) for names, why in found]


def test_what_a_suite_lacks_leaves_out_who_needs_it(oodbench, bare):
    code, out, err = oodbench("run", "--suite", bare, "--detector", "all", "--dry-run")
    assert code == 0, err
    outliers, heldout = sorted(left_out(err), key=lambda one: "held out" in one[1])
    assert {"oe", "atom"} <= set(outliers[0])
    assert outliers[1] == "each trains with outliers and suite 'bare' has none: add [outliers] with a set"
    assert "gram" in heldout[0]
    assert heldout[1].endswith("suite 'bare' holds none out: add heldout = N under [id]")
    assert "msp" in out and "knn" in out
    assert "atom" not in out and "gram" not in out


def test_a_given_network_is_not_scored_as_one_that_was_trained_otherwise(oodbench):
    asked = ("run", "--suite", "digits", "--checkpoint", PLAIN, "--dry-run")
    code, out, err = oodbench(*asked, "--detector", "all")
    assert code == 0, err
    ((names, why),) = left_out(err)
    assert {"oe", "atom", "logitnorm"} <= set(names) and "msp" not in names
    assert why.endswith("how the given one was trained nobody says: name it to score it")
    code, out, err = oodbench(*asked, "--detector", "all", "--detector", "logitnorm")
    assert code == 0, err
    assert "logitnorm" in out and "logitnorm" not in left_out(err)[0][0]


def test_who_is_named_beside_all_is_not_left_out(oodbench, bare):
    code, _, err = oodbench("run", "--suite", bare, "--detector", "all", "--detector", "oe", "--dry-run")
    assert code == 2
    assert "detector 'oe' trains with outliers and suite 'bare' has none" in err


ONE_MAP = """
from torch import nn


def build(outputs):
    return nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, outputs))
"""


def test_who_turns_out_unable_to_score_is_left_out_and_who_was_named_fails(oodbench, tmp_path):
    """RankFeat wants two feature maps, and the network has one."""
    (tmp_path / "small.py").write_text(ONE_MAP)
    torch.manual_seed(0)
    torch.save(runpy.run_path("small.py")["build"](10).state_dict(), "small.pt")
    run = ("run", "--suite", "digits", "--network", "small.py:build", "--checkpoint", "small.pt", "--limit", "60")
    run += ("--task", "clean", "--only", "letters", "--detector")
    code, out, err = oodbench(*run, "all")
    assert code == 0, err
    assert "digits: rankfeat is left out: rankfeat wants the last 2 feature maps" in err
    assert "msp" in out and "rankfeat" not in out
    code, out, err = oodbench(*run, "msp", "--detector", "rankfeat")
    assert code == 2 and "rankfeat wants the last 2 feature maps" in err
    assert "left out" not in err and "msp" in out
