"""Which conditions enter a key and which are shown: one list, and the guide agrees with it."""

from dataclasses import replace

import pytest
import torch

from oodbench.basics.team import Team
from oodbench.networks.precision import Compute
from oodbench.registry import discover
from oodbench.results import conditions
from oodbench.results.conditions import CONDITIONS, IN_SCORES, IN_WEIGHTS, SHOWN, Setup, condition_attributes, key_parts
from oodbench.running import planning
from oodbench.running.imagesets import Sample
from oodbench.running.request import Machinery, Request
from oodbench.suitefiles import suitefile
from tests.prose import GUIDES

CPU = torch.device("cpu")


def test_what_is_as_usual_is_in_no_key():
    assert key_parts(Setup(CPU), IN_WEIGHTS) == key_parts(Setup(CPU), IN_SCORES) == []
    assert set(condition_attributes(Setup(CPU))) == {"oodbench", "torch", "python", "device", "hardware"}


def test_all_that_is_out_of_the_ordinary_is_shown():
    about = condition_attributes(Setup(CPU, 3, Compute(bf16=True, tf32=True, compiled=True)))
    assert about["hardware"].endswith(", 3 processes, trained in bf16, scored in TF32, compiled")
    assert about["torch"] == torch.__version__


def keys(tmp_path, **changes):
    suite = suitefile.load("digits")
    sample, machinery = Sample(tmp_path, limit=5), Machinery(CPU, **changes)
    request = Request((suite,), (discover()["msp"],), 1, sample, machinery, tmp_path / "out")
    (network,) = planning.plan(request, discover())[0].networks
    return network.file.name, network.cells[0].key


def test_keys_move_with_what_the_list_says_and_with_nothing_else(tmp_path, monkeypatch):
    network, result = keys(tmp_path)
    assert keys(tmp_path, compute=Compute(compiled=True)) == (network, result)
    with monkeypatch.context() as patch:
        patch.setattr(torch, "__version__", "9.9")
        patch.setattr(torch, "get_num_threads", lambda: 77)
        assert keys(tmp_path) == (network, result)
    for changes, moved in (
        ({"compute": Compute(bf16=True)}, (True, False)),
        ({"compute": Compute(tf32=True)}, (False, True)),
        ({"team": replace(Team(), size=2)}, (True, False)),
    ):
        found = keys(tmp_path, **changes)
        assert (found[0] != network, found[1] != result) == moved


@pytest.mark.parametrize("condition", CONDITIONS, ids=lambda each: each.name)
def test_the_readme_says_of_each_what_it_is(condition):
    meant = "shown" if condition.becomes == SHOWN else f"{condition.becomes}, and shown"
    assert f"| {condition.name} | {meant} |" in GUIDES["reading-a-table"]


def test_a_place_is_written_alike_wherever_it_is_said():
    about = condition_attributes(Setup(CPU))
    assert conditions.place_text(about["hardware"], about["torch"]).endswith(f", torch {torch.__version__}")
