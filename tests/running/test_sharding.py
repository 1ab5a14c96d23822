"""A run in parts: every cell in exactly one, whoever carries them out, and together they are the run."""

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

import oodbench as package
from oodbench.basics.errors import OodbenchError
from oodbench.basics.team import is_launched
from oodbench.registry import discover
from oodbench.results.store import cells
from oodbench.running import sweep
from oodbench.running.imagesets import Sample
from oodbench.running.plan import RunPlan
from oodbench.running.planning import plan_seeds
from oodbench.running.request import Demands, Machinery, NetworkSource, Request, choose_device
from oodbench.running.sharding import Shard, parse_shard, part
from oodbench.suitefiles.selection import vary
from oodbench.suitefiles.settings import Setting
from oodbench.suitefiles.suitefile import load

ROOT = Path(__file__).parents[2]
PLAIN = ROOT / "results" / "reference" / "networks" / "digits" / "plain.safetensors"
QUICK = ("run", "--suite", "digits", "--limit", "20", "--set", "epochs=1", "--jobs", "1")


def planned(tmp_path, *detectors, suites=("digits",), seeds=(1,), tasks=(), **more):
    registry = discover()
    request = Request(
        tuple(vary(load(name), tasks, (), "out") for name in suites),
        tuple(registry[name] for name in detectors),
        seed=1,
        sample=Sample(tmp_path, limit=20),
        machinery=Machinery(choose_device("cpu")),
        out=tmp_path / "results",
        **more,
    )
    return plan_seeds(request, seeds, registry)


def shards(plan, count):
    """The cells of each shard, by seed and detector."""
    return [
        [
            (suite_plan.seed, suite_plan.suite.name, cell.detector.name)
            for suite_plan in part(plan, Shard(number, count)).suites
            for cell in suite_plan.cells
        ]
        for number in range(1, count + 1)
    ]


@pytest.mark.parametrize("given", [False, True], ids=["trained", "given"])
@pytest.mark.parametrize("thorough", [False, True], ids=["standard", "thorough"])
def test_every_cell_is_in_exactly_one_shard(tmp_path, given, thorough):
    source = NetworkSource(PLAIN if given else None)
    whole = planned(
        tmp_path, "msp", "energy", "odin", *([] if given else ["oe"]), suites=("digits", "digits-adv"), seeds=(1, 4),
        demands=Demands(thorough=thorough), source=source,
    )  # fmt: skip
    every = sorted(cell for shard in shards(whole, 1) for cell in shard)
    assert len(every) == len(whole.cells) == 2 * 2 * (3 if given else 4)
    for count in (2, 3, 5, 50):
        found = shards(whole, count)
        assert Counter(cell for shard in found for cell in shard) == Counter(every)
        empty = [not shard for shard in found]
        assert empty == sorted(empty)  # those with nothing to do are the last
        if thorough:  # each attack is judged by the run's other detectors
            of_shard = [{cell[:2] for cell in shard} for shard in found]
            assert sum(map(len, of_shard)) == 4
        elif not given:  # a network that two shards need would be trained twice
            for shard in found:
                of_network = [{(*where, name) in shard for name in ("msp", "energy", "odin")} for *where, _ in every]
                assert all(len(there) == 1 for there in of_network)


def test_detectors_over_a_network_that_is_there_spread_where_they_are_attacked(tmp_path):
    methods = ("msp", "energy", "maxlogit", "gen")
    attacked = planned(tmp_path, *methods, suites=("digits-adv",), tasks=("linf",), source=NetworkSource(PLAIN))
    assert [len(shard) for shard in shards(attacked, 4)] == [1, 1, 1, 1]
    clean = planned(tmp_path, *methods, source=NetworkSource(PLAIN))  # one pass serves all
    assert [len(shard) for shard in shards(clean, 4)] == [4, 0, 0, 0]
    two = planned(tmp_path, *methods, suites=("digits", "digits-adv"), tasks=("clean",), source=NetworkSource(PLAIN))
    assert [{suite for _, suite, _ in shard} for shard in shards(two, 2)] in (
        [{"digits"}, {"digits-adv"}],
        [{"digits-adv"}, {"digits"}],
    )


def test_shards_are_about_as_long_as_each_other(tmp_path):
    whole = planned(tmp_path, "msp", "odin", "oe", "knn", suites=("digits", "digits-adv"), seeds=range(6))
    costs = [sweep.passes(part(whole, Shard(number, 3)), None).both for number in (1, 2, 3)]
    assert max(costs) < 1.25 * min(costs)


def test_which_cells_a_shard_has_does_not_depend_on_what_is_done(oodbench, tmp_path):
    once = {"settings": (Setting("epochs", 1),), "seeds": (1, 2)}
    whole = planned(tmp_path, "msp", "energy", "oe", **once)
    cost, before = sweep.passes(whole, None).both, shards(whole, 3)
    assert oodbench(*QUICK, "--detector", "msp")[0] == 0
    whole = planned(tmp_path, "msp", "energy", "oe", **once)
    assert sweep.passes(whole, None).both < cost  # one of four networks is there
    assert shards(whole, 3) == before


def test_the_shards_of_a_run_are_the_run(oodbench, tmp_path):
    asked = (*QUICK, "--detector", "msp", "--detector", "energy", "--detector", "oe")
    code, _, err = oodbench(*asked, "--out", "whole")
    assert code == 0, err
    for number in (2, 1, 3):
        code, _, err = oodbench(*asked, "--out", f"parts/{number}", "--shard", f"{number}/3")
        assert code == 0, err
        assert ("nothing to do: the run has 3 cells" in err) == (number == 3)
    assert not (tmp_path / "parts" / "3").exists()
    shutil.copytree(tmp_path / "parts" / "1", tmp_path / "merged")
    shutil.copytree(tmp_path / "parts" / "2", tmp_path / "merged", dirs_exist_ok=True)
    tables = [oodbench("table", out, "--by", "ood") for out in ("whole", "merged", "parts")]
    assert [(code, err) for code, _, err in tables] == 3 * [(0, "")]
    whole, merged, parts = (out for _, out, _ in tables)
    assert whole == merged
    assert sorted(whole.splitlines()) == sorted(parts.splitlines())
    code, _, err = oodbench(*asked, "--out", "merged")  # whoever asks for all of it finds all of it
    assert code == 0 and err.count("everything is there already") == 2, err
    for one, other in zip(cells(tmp_path / "whole"), cells(tmp_path / "merged"), strict=True):
        assert one.path.name == other.path.name
        assert [group.scores.tolist() for group in one.read()] == [group.scores.tolist() for group in other.read()]


def test_a_dry_run_shows_the_shard_and_python_takes_it(oodbench, tmp_path):
    code, out, _ = oodbench(*QUICK, "--detector", "msp", "--detector", "oe", "--shard", "2/2", "--dry-run")
    assert code == 0
    assert out.startswith("shard 2/2: 1 of 2 cells\n")
    assert re.findall(r"^  (\w+): train", out, re.M) in (["msp"], ["oe"])
    code, out, _ = oodbench(*QUICK, "--detector", "msp", "--shard", "2/2", "--dry-run")
    assert (code, out) == (0, "shard 2/2 has nothing to do: the run has 1 cell, and shards before this one hold all\n")
    said = []
    empty = package.run("digits", "msp", limit=20, shard="3/3", out=tmp_path / "out", say=said.append)
    assert isinstance(empty, pd.DataFrame) and empty.empty
    assert "shard 3/3 has nothing to do" in said[0]


@pytest.mark.parametrize("text", ["0/3", "4/3", "1/0", "-1/3", "1", "1/", "/3", "1/3/5", "a/b", "1.0/2", "²/3"])
def test_other_shards_are_refused(oodbench, tmp_path, text):
    code, _, err = oodbench(*QUICK, "--detector", "msp", "--shard", text)
    assert code == 2
    assert "--shard" in err and "from 1/N to N/N" in err
    assert not (tmp_path / "results").exists()


def test_shards_are_numbered_from_one():
    assert parse_shard("1/1") == Shard(1, 1)
    assert parse_shard("08/10") == Shard(8, 10)  # as `printf %02d` writes it
    assert part(RunPlan(()), parse_shard("999999999/999999999")) == RunPlan(())
    with pytest.raises(OodbenchError, match="not a part"):
        parse_shard("9/8")


SRUN = {
    "WORLD_SIZE": "8", "RANK": "3", "LOCAL_RANK": "3", "LOCAL_WORLD_SIZE": "8", "MASTER_ADDR": "node-1",
    "MASTER_PORT": "29500", "SLURM_JOB_ID": "77", "SLURM_PROCID": "3", "SLURM_LOCALID": "3", "SLURM_NTASKS": "8",
    "SLURM_NNODES": "2", "SLURM_NODEID": "0", "SLURM_STEP_ID": "0", "PMI_RANK": "3", "OMPI_COMM_WORLD_RANK": "3",
    "OMPI_COMM_WORLD_SIZE": "8",
}  # fmt: skip
"""What shells of SLURM and MPI export, rank 3 of 8: nobody waits for seven others."""


def test_a_shell_of_slurm_is_no_torchrun(tmp_path):
    command = [sys.executable, "-m", "oodbench", *QUICK, "--detector", "msp", "--device", "cpu"]
    environment = {**os.environ, **SRUN, "PYTHONPATH": str(ROOT)}
    environment.pop("TORCHELASTIC_RUN_ID", None)
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "digits, version" in done.stdout  # rank 3 would be silent beside the first
    assert "processes" not in done.stderr
    (cell,) = cells(tmp_path / "results")
    assert "processes" not in str(cell.read()[0].attributes["hardware"])


@pytest.mark.parametrize("lacking", ["RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR"])
def test_a_shell_that_torchrun_did_not_start_is_alone(monkeypatch, lacking):
    for name, value in {**SRUN, "TORCHELASTIC_RUN_ID": "left over"}.items():
        monkeypatch.setenv(name, value)
    assert is_launched()
    monkeypatch.delenv(lacking)
    assert not is_launched()


def test_a_plan_of_no_cells_costs_nothing(tmp_path):
    whole = planned(tmp_path, "msp")
    none = part(whole, Shard(2, 2))
    assert sweep.passes(none, None).both == 0 and none.cells == () and sweep.not_pretrained(none) == []
    assert sweep.carry_out_here(none, 1, (), print) == []
