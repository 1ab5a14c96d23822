"""The command that a flag names: it attacks the same harder, and is one that can be run."""

import json
from pathlib import Path

import pandas as pd
import pytest

from oodbench.results.tables.next_command import next_command
from oodbench.running.imagesets import validation_suite
from oodbench.suitefiles import suitefile


def rows(**about):
    usual = {"suite": "digits-adv", "detector": "msp", "seed": 1, "checkpoint": "", "limit": 0, "images": 0}
    usual |= {"data": "data", "out": "results", "ood": ["letters", "noise"], "settings": "", "task": "linf"}
    usual |= {"means": json.dumps({"all": ["letters", "noise"], "near": ["letters"]})}
    usual |= {"constants": json.dumps({"kind": "linf", "epsilon": 8})}
    return pd.DataFrame({**usual, **about})


def of_task(task, **constants):
    return {"task": task, "constants": json.dumps({"epsilon": 8, **constants})}


@pytest.mark.parametrize(
    ("about", "ends"),
    [
        ({}, "--detector msp --task linf-adaptive"),
        (
            {"detector": "mine", "plugin": "/far/off/my plug.py", "options": "--precision bf16 --compile", "limit": 9},
            "--detector mine --plugin '/far/off/my plug.py' --limit 9 --precision bf16 --compile --task linf-adaptive",
        ),
        ({"plugin": str(Path.cwd() / "plug.py")}, "--detector msp --plugin plug.py --task linf-adaptive"),
        ({"options": "--tf32 --out /etc --checkpoint x"}, "--detector msp --tf32 --task linf-adaptive"),
        (of_task("linf-both", kind="linf", side="both"), "--task linf-adaptive --threat both"),
        ({"settings": "linf.epsilon=8 linf.steps=2"}, "--set linf-adaptive.epsilon=8 --task linf-adaptive"),
        (
            {**of_task("linf-both", kind="linf", side="both"), "settings": "linf-both.epsilon=8"},
            "--set linf-adaptive.epsilon=8 --task linf-adaptive --threat both",
        ),
        (
            {**of_task("linf-adaptive", kind="linf-adaptive"), "settings": "linf-adaptive.epsilon=8"},
            "msp --set linf-adaptive.epsilon=8 --task linf-adaptive --set linf-adaptive.level=plus",
        ),
        (of_task("linf-eps8", kind="linf"), "--task linf-adaptive --eps 8"),
        (of_task("linf-both-eps8", kind="linf", side="both"), "--task linf-adaptive --threat both --eps 8"),
        (
            {**of_task("linf-adaptive-in", kind="linf-adaptive", level="quick", side="in"), "settings": "epochs=1"},
            "--set epochs=1 --task linf-adaptive --set linf-adaptive.level=plus --threat in",
        ),
        (
            {"settings": "linf.steps=5 msp.x=1 epochs=2"},
            "--detector msp --set msp.x=1 --set epochs=2 --task linf-adaptive",
        ),
        (
            {**of_task("compositional", kind="compositional"), "settings": "msp.x=[1, 2] compositional.steps=5"},
            "--set 'msp.x=[1, 2]' --set compositional.steps=5 --task compositional "
            "--set compositional.objective=adaptive",
        ),
        (
            {**of_task("linf-adaptive", kind="linf-adaptive", level="quick"), "settings": "linf-adaptive.level=quick"},
            "--detector msp --task linf-adaptive --set linf-adaptive.level=plus",
        ),
        (of_task("linf-adaptive", kind="linf-adaptive", level="plus"), "--checks full"),
        ({"checkpoint": "my net.pt", "images": 24, "seed": 3}, "--seed 3 --checkpoint 'my net.pt' --images 24 "),
        ({"pretrained": "digits/plain", "checkpoint": "plain.safetensors"}, "msp --pretrained --task linf-adaptive"),
    ],
)
def test_the_next_command_attacks_the_same_harder(about, ends):
    assert ends in next_command(rows(**about))


@pytest.mark.parametrize(
    "about", [{"task": "clean", "constants": '{"kind": "clean"}'}, of_task("certified", kind="certified")]
)
def test_what_was_not_attacked_is_not_attacked_harder(about):
    assert next_command(rows(**about)) == ""


@pytest.mark.parametrize(
    ("about", "folders", "sets"),
    [
        ({}, "", ""),
        ({"ood": ["letters", "noise", "aside"]}, "", ""),
        ({"ood": ["letters"] * 2}, "", " --only letters"),
        ({"ood": ["noise", "aside"]}, "", " --only noise --only aside"),
        ({"data": "/my packs", "out": "elsewhere"}, " --data '/my packs' --out elsewhere", ""),
        ({"data": str(Path("data").absolute()), "out": str(Path("results").absolute())}, "", ""),
        ({"data": "", "out": ""}, "", ""),  # of a version that did not keep it, and a file that was put elsewhere
    ],
)
def test_the_next_command_keeps_to_the_sets_and_folders_of_the_run(about, folders, sets):
    usual = "oodbench run --suite digits-adv --detector msp"
    assert next_command(rows(**about)) == f"{usual}{folders} --task linf-adaptive{sets}"


def test_the_next_command_names_the_file_of_somebodys_own_suite():
    about = of_task("linf", kind="linf", epsilon=8)
    assert "--suite digits-adv --detector" in next_command(rows(**about))
    assert "--suite mine.toml --detector" in next_command(rows(**about, suite="mine"))


def test_no_command_is_named_for_results_of_tune_whose_suite_has_no_file():
    """`oodbench run --suite digits-adv-validation.toml` named a file that nobody has, and tune takes no --task."""
    suite = validation_suite(suitefile.load("digits-adv"))
    assert next_command(rows(suite=suite.name, id_set=suite.id.test)) == ""
    assert "--suite my-validation.toml" in next_command(rows(suite="my-validation", id_set="digits-test"))
