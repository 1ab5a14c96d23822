"""Threads: how many suit a network, that a program's own number comes back, and how they wait."""

import os
import subprocess
import sys

import pytest
import torch

import oodbench
from oodbench import networks
from oodbench.basics import threads
from oodbench.networks.cost import operations
from oodbench.results.store import cells

CPU = torch.device("cpu")


@pytest.fixture
def two_threads(monkeypatch):
    """As a program that has two threads and did not say so in its environment."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(threads, "cores", lambda: 2)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("name", "number"), [("small-cnn", 1), ("densenet-bc-100-12", 2)])
def test_a_network_gets_threads_by_its_size(two_threads, name, number):
    assert threads.suitable_threads(operations(networks.build(name, 10).eval(), (3, 32, 32)), CPU) == number


def test_no_more_than_a_program_allows_torch(two_threads):
    torch.set_num_threads(1)
    assert threads.suitable_threads(10**9, CPU) == 1


def test_who_sets_a_number_has_it(two_threads, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert threads.suitable_threads(1, CPU) == 2


def test_a_programs_own_number_of_threads_comes_back(two_threads, tmp_path):
    quick = dict(limit=20, parameters={"epochs": 1}, out=tmp_path, say=lambda _: None)
    oodbench.run("digits", "msp", **quick)
    assert torch.get_num_threads() == 2
    (cell,) = cells(tmp_path)
    assert {group.attributes["hardware"].split(", ")[1].split(" on ")[0] for group in cell.read()} == {"1 thread"}


def test_it_comes_back_after_a_failure_too(two_threads):
    with pytest.raises(ZeroDivisionError), threads.on_threads(1):
        assert torch.get_num_threads() == 1
        raise ZeroDivisionError
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({}, "PASSIVE None None"),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE None None"),
        ({"GOMP_SPINCOUNT": "1000"}, "None 1000 None"),
        ({"KMP_BLOCKTIME": "200"}, "None None 200"),
    ],
)
def test_threads_wait_asleep_unless_told_otherwise(given, found):
    names = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
    script = f"import os, sys, oodbench; assert 'torch' not in sys.modules; print(*map(os.environ.get, {names}))"
    environment = {name: value for name, value in os.environ.items() if name not in names} | given
    shown = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == found
