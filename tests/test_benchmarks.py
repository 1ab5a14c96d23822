"""The benchmarks in their quick form: what the table says and how, never how fast anything was."""

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from benchmarks import door, scoring
from benchmarks.__main__ import main
from benchmarks.compare import Ratio, Row, interleaved
from benchmarks.corruption import in_batches, one_at_a_time
from benchmarks.memory import peak
from benchmarks.pytorch_ood import _agreement
from benchmarks.setting import QUICK, Setting, images
from benchmarks.spent import Spent
from oodbench.registry import discover

ROOT = Path(__file__).parent.parent
CPU = torch.device("cpu")
FIXED = ("defocus-blur", "zoom-blur", "brightness", "contrast", "pixelate", "jpeg", "gaussian-blur", "saturate")
DRAWN = ("gaussian-noise", "shot-noise", "impulse-noise", "speckle-noise", "fog", "frost", "motion-blur", "elastic")
DRAWN += ("snow", "spatter")


def test_ratios_are_taken_repetition_by_repetition():
    # Medians of each side would give 4 / 2.
    assert Ratio.of([4.0, 9.0, 1.0], [1.0, 3.0, 2.0]) == Ratio(median=3.0, low=0.5, high=4.0, repetitions=3)


@pytest.mark.parametrize(
    ("kind", "target", "met"),
    [
        ("cost", 2.0, True),
        ("cost", 1.9, False),
        ("speed-up", 2.0, True),
        ("speed-up", 2.1, False),
        ("cost", None, None),
    ],
)
def test_a_cost_stays_below_its_target_and_a_speed_up_above(kind, target, met):
    assert Row("", "", "", kind, Ratio(2.0, 1.0, 9.0, 3), target).met is met


def test_repetitions_are_interleaved_behind_a_warm_start():
    done = []
    seconds = interleaved([lambda: done.append("a"), lambda: done.append("b")], 3, CPU)
    assert "".join(done) == "ab" + "ab" + "ba" + "ab"
    assert [len(each) for each in seconds] == [3, 3]


def test_the_quick_table():
    groups = ["metrics", "scoring", "attack", "training", "rate"]
    asked = [word for group in groups for word in ("--only", group)]
    result = CliRunner().invoke(main, ["--quick", "--format", "json", *asked], catch_exceptions=False)
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert {"hardware", "processor", "threads", "load", "torch"} <= found["machine"].keys()
    assert "no results" in found["machine"]["repetitions"]
    assert list(dict.fromkeys(row["group"] for row in found["rows"])) == groups
    assert {(row["group"], row["kind"], row["target"]) for row in found["rows"]} == {
        ("metrics", "speed-up", 2.0),
        ("metrics", "cost", 30.0),
        ("scoring", "cost", 1.10),
        ("scoring", "cost", 1.30),
        ("attack", "cost", 1.10),
        ("training", "cost", 1.15),
        ("rate", "share", None),
    }
    for row in found["rows"]:
        ratio = row["ratio"]
        assert 0 < ratio["low"] <= ratio["median"] <= ratio["high"] < math.inf
        assert ratio["repetitions"] == 1
    # 128 ID images: 8 candidates each, 3 images of a step each with their gradient, 7 and 5 passes of the attack.
    (epoch,) = (row for row in found["rows"] if row["group"] == "training")
    assert "2,304 forward and 1,024 backward passes" in epoch["note"]


def test_all_detectors_that_share_a_pass_are_those_that_need_no_other():
    found = {detector.name for detector in scoring.one_pass(discover())}
    assert {"msp", "vim", "gram", "openmax"} <= found
    assert not found & {"odin", "mahalanobis", "rankfeat", "ross", "dropout", "mcm", "atom", "ccu"}


def test_a_table_for_people():
    result = CliRunner().invoke(main, ["--quick", "--only", "metrics"], catch_exceptions=False)
    lines = result.stdout.splitlines()
    assert lines[0].startswith("oodbench: ")
    assert sum(line.startswith("| metrics") for line in lines) == len(QUICK.scores) + 1


def test_a_library_that_is_missing_is_named(monkeypatch):
    for name in ("benchmarks.corruption", "benchmarks.per_image"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "cv2", None)
    result = CliRunner().invoke(main, ["--quick", "--only", "corruption"])
    assert result.exit_code == 1
    assert "cv2" in result.stderr
    assert "pip install -e '.[bench]'" in result.stderr


def test_networks_with_random_weights_have_logits_that_differ(tmp_path):
    setting = Setting(QUICK, CPU, tmp_path)
    network = setting.network("densenet-bc-100-12")
    with torch.no_grad():
        logits = network(setting.tensors(images("x", 8, seed=1))[0])
    assert logits.isfinite().all()
    assert logits.std(0).min() > 0


@pytest.mark.parametrize("name", FIXED)
def test_both_sides_of_a_corruption_without_chance_are_one_corruption(name):
    pixels = images("x", 8, seed=1)
    ours = in_batches(name, pixels, CPU).permute(0, 1, 3, 4, 2).numpy().astype(int)
    theirs = one_at_a_time(name, pixels.pixels()).astype(int)
    assert ours.shape == theirs.shape == (5, 8, 32, 32, 3)
    assert np.abs(ours - theirs).mean() < 0.5


@pytest.mark.parametrize("name", DRAWN)
def test_both_sides_of_a_random_corruption_change_images_alike(name):
    pixels = images("x", 16, seed=1)
    before = pixels.pixels().astype(int)
    ours = np.abs(in_batches(name, pixels, CPU).permute(0, 1, 3, 4, 2).numpy().astype(int) - before)
    theirs = np.abs(one_at_a_time(name, pixels.pixels()).astype(int) - before)
    # Another draw of each image: the mean change of a severity is near, no more.
    assert ours.mean((1, 2, 3, 4)) == pytest.approx(theirs.mean((1, 2, 3, 4)), rel=0.25, abs=0.5)


def test_scores_of_another_method_are_refused():
    scores = np.arange(10.0)
    assert _agreement("energy", scores, -scores) == pytest.approx(1.0)
    with pytest.raises(RuntimeError, match="not the same score"):
        _agreement("energy", scores, -scores[[1, 0, 2, 3, 4, 5, 6, 7, 9, 8]])


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="peaks are read from /proc")
def test_a_process_does_not_inherit_the_peak_of_its_parent():
    ballast = np.ones(200 << 20, np.uint8)
    code = (
        "from benchmarks.memory import peak; import numpy as np; a = peak(); np.ones(80 << 20, 'u1'); print(a, peak())"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    small, large = map(int, done.stdout.split())
    assert large - small > 60 << 10
    assert small < peak() - (100 << 10)
    assert ballast.all()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processor time of a process is read from /proc")
def test_what_a_command_takes_is_its_own():
    work = "sum(i * i for i in range(10**6))"
    code = f"b = bytearray(100 << 20); print('first', flush=True); {work}; raise SystemExit(3)"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.spent", sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    spent = Spent(**json.loads(done.stdout))
    assert spent.code == 3
    assert 100 < spent.megabytes < 200
    assert 0 < spent.spoke < spent.cpu


def test_a_command_is_held_against_its_bounds(tmp_path, monkeypatch):
    bound = door.Bound(cpu=1e9, megabytes=1.0)
    monkeypatch.setattr(door, "_commands", lambda _: [("nothing", [sys.executable, "-c", "pass"], bound)])
    seconds, memory = door.measure(Setting(QUICK, CPU, tmp_path))
    assert (seconds.target, seconds.met) == (1.0, True)
    assert memory.met is False
    assert memory.ratio.median > 1  # no Python fits into a megabyte
