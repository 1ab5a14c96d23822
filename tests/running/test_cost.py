"""What a run announces it will cost, counted by hand."""

from pathlib import Path

import torch

from oodbench.basics.passes import Passes
from oodbench.registry import discover
from oodbench.running.imagesets import Sample
from oodbench.running.plan_cost import passes
from oodbench.running.planning import plan
from oodbench.running.request import Machinery, Request
from oodbench.suitefiles import suitefile


def cost(tmp_path, *names):
    registry = discover()
    (planned,) = plan(
        Request(
            suites=(suitefile.load("digits"),),
            detectors=tuple(registry[name] for name in names),
            seed=1,
            sample=Sample(Path("data"), limit=100),
            machinery=Machinery(torch.device("cpu")),
            out=tmp_path,
        ),
        registry,
    )
    return passes(planned)


def test_training_and_one_shared_scoring_pass(tmp_path):
    # 20 epochs of 100 images forward and backward; five sets of 100 in one pass for both.
    assert cost(tmp_path, "msp", "energy") == Passes(20 * 100 + 500, 20 * 100)


def test_fitting_is_one_pass_for_all(tmp_path):
    assert cost(tmp_path, "knn", "vim") == Passes(20 * 100 + 500 + 100, 20 * 100)


def test_tuning_and_steps_count(tmp_path):
    # ODIN: 97 ID images and 1,000 outliers at 21 magnitudes behind one gradient; two passes, one of them shared,
    # and a gradient an image.
    tuning, scoring = Passes(22, 1) * 1097, Passes(1 + 1, 1) * 500
    assert cost(tmp_path, "odin") == Passes(20 * 100, 20 * 100) + tuning + scoring


def test_every_phase_of_a_training_counts(tmp_path):
    # SOFL: 20 epochs of 100 images, then 20 of 2 steps with 320 outliers each.
    training = Passes(1, 1) * (20 * 100 + 20 * (100 + 2 * 320))
    assert cost(tmp_path, "sofl") == training + Passes(forward=500)


def test_a_phase_counts_by_its_own_recipe(tmp_path):
    # Energy fine-tuning: 20 epochs of 100 images, then 20 of one step with 256 outliers.
    training = Passes(1, 1) * (20 * 100 + 20 * (100 + 256))
    assert cost(tmp_path, "energy-ft") == training + Passes(forward=500)
