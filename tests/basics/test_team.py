"""Several processes, one run: what each gets, what all agree on, and that together they find what one finds alone."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from oodbench.basics.team import ALONE, OF_TORCHRUN, Team
from oodbench.results.store import cells
from tests.team_worker import trained

TWO = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2")
ROOT = Path(__file__).parents[2]


def start(*command, folder, environment):
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def environment():
    """Of processes that calculate with one thread, as this one does meanwhile: another number rounds otherwise."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(ROOT)}
    torch.set_num_threads(threads)


@pytest.mark.parametrize("count", [0, 1, 5, 64, 100, 129, 1000])
@pytest.mark.parametrize("size", [1, 2, 3, 8])
@pytest.mark.parametrize("unit", [1, 16])
def test_shares_are_everything_once_in_order_and_alike(count, size, unit):
    shares = [Team(rank, size).share(count, unit) for rank in range(size)]
    assert [row for share in shares for row in range(share.start, share.stop)] == list(range(count))
    if count >= size * unit:
        assert all(share.start % unit == 0 and share.start < share.stop for share in shares)
        lengths = [share.stop - share.start for share in shares]
        assert max(lengths) - min(lengths) <= 2 * unit


def test_two_processes_agree_and_train_as_one(tmp_path, environment):
    code, _, err = start(*TWO, ROOT / "tests" / "team_worker.py", tmp_path, folder=tmp_path, environment=environment)
    assert code == 0, err
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    assert first["share"] + second["share"] == [0, 4, 4, 11]
    for found in (first, second):
        assert found["size"] == 2 and found["all"] == [0, 1] and found["first"] == 10
        assert found["mean"] == [0.5, 2.0]
        assert found["refused"] == ["process 0 refuses", "process 1 refuses"]
        assert found["refused first"] == "process 0 refuses"
    assert first["kept"]
    assert first["trained"] == second["trained"]
    assert len(first["methods"]) >= 8
    assert first["methods"] == second["methods"]  # gradients were averaged, whatever the method does in a step
    alone = tmp_path / "alone"
    alone.mkdir()
    np.testing.assert_allclose(first["trained"], trained(ALONE, alone), rtol=1e-5, atol=1e-6)


def test_scores_and_attacks_are_those_of_one_process(oodbench, tmp_path, environment):
    # Each process has whole batches of a single one's, so that even rounding is the same.
    arguments = ["run", "--suite", "digits-adv", "--detector", "msp", "--detector", "knn", "--limit", "128"]
    arguments += ["--checkpoint", str(ROOT / "results" / "reference" / "networks" / "digits" / "plain.safetensors")]
    arguments += ["--only", "letters", "--task", "clean", "--task", "linf", "--task", "compositional"]
    arguments += ["--set", "linf.steps=3", "--set", "compositional.steps=2", "--set", "compositional.severities=[1, 5]"]
    arguments += ["--keep-images", "--device", "cpu"]
    code, out, err = start(*TWO, "-m", "oodbench", *arguments, "--out", "two", folder=tmp_path, environment=environment)
    assert code == 0, err
    assert out.count("digits-adv, version") == 1  # the second process is not heard
    code, _, err = oodbench(*arguments, "--out", "one")
    assert code == 0, err
    for of_two, of_one in zip(cells(tmp_path / "two"), cells(tmp_path / "one"), strict=True):
        assert of_two.path.name == of_one.path.name
        for two, one in zip(of_two.read(), of_one.read(), strict=True):
            assert (two.task, two.image_set, two.indices.tolist()) == (one.task, one.image_set, one.indices.tolist())
            np.testing.assert_array_equal(two.scores, one.scores)
            assert two.extras.keys() == one.extras.keys()
            assert two.attributes["images_sha256"] == one.attributes["images_sha256"]
            assert two.attributes["looks"] == one.attributes["looks"]
            assert "2 processes" in str(two.attributes["hardware"])


def test_a_mistake_is_said_once_and_ends_all(tmp_path, environment):
    arguments = ["run", "--suite", "digits", "--detector", "nosuch"]
    code, _, err = start(*TWO, "-m", "oodbench", *arguments, folder=tmp_path, environment=environment)
    assert code != 0
    assert err.count("unknown detector 'nosuch'") == 1


@pytest.mark.parametrize(("rank", "waited"), [("0", []), ("1", [30.0])])
def test_the_first_process_has_the_word_and_the_others_have_it_if_they_live_on(oodbench, monkeypatch, rank, waited):
    # torchrun ends everyone when one has failed: a faster process would silence the first.
    for name in OF_TORCHRUN:
        monkeypatch.setenv(name, rank if name == "RANK" else "1")
    slept = []
    monkeypatch.setattr("oodbench.basics.team.time.sleep", slept.append)
    code, _, err = oodbench("run", "--suite", "digits")
    assert (code, slept) == (2, waited)
    assert "Missing option '--detector'" in err
