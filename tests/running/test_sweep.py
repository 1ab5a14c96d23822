"""Several seeds in one run, in turn in this process; and what is said to those who ask for Ray and cannot have it."""

import re
import sys
from dataclasses import replace

import pytest

from oodbench.basics.errors import OodbenchError
from oodbench.registry import discover
from oodbench.results.store import cells
from oodbench.running import jobs, ray_cluster, sweep
from oodbench.running.imagesets import Sample
from oodbench.running.plan import RunPlan
from oodbench.running.planning import plan_seeds
from oodbench.running.ray_cluster import Cluster
from oodbench.running.request import Demands, Machinery, Request, choose_device, parse_seeds
from oodbench.suitefiles.settings import Setting
from oodbench.suitefiles.suitefile import load

QUICK = ("run", "--suite", "digits", "--limit", "20", "--set", "epochs=1")


@pytest.mark.parametrize(
    ("text", "seeds"),
    [
        ("3", (3,)),
        ("0-4", (0, 1, 2, 3, 4)),
        ("0,2,5", (0, 2, 5)),
        ("0-2,7", (0, 1, 2, 7)),
        ("5, 1-2, 2-3", (5, 1, 2, 3)),
    ],
)
def test_seeds_are_numbers_and_ranges_each_once(text, seeds):
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["", "4-0", "a", "-1", "1-", "0..4", "1,,2", "1-2-3", "1.5"])
def test_other_seeds_are_refused(text):
    with pytest.raises(OodbenchError, match="neither a number nor a range upwards"):
        parse_seeds(text)


@pytest.mark.parametrize("text", ["0-99999999999", f"0-{2**63 - 1}", "0-5000,6000-11000"])
def test_seeds_that_would_fill_the_memory_are_refused(text):
    with pytest.raises(OodbenchError, match="more than 10,000 seeds"):
        parse_seeds(text)


def test_seeds_that_no_generator_holds_are_refused():
    assert parse_seeds(str(2**63 - 1)) == (2**63 - 1,)
    with pytest.raises(OodbenchError, match="seeds go from 0 to 9223372036854775807"):
        parse_seeds(str(2**63))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--seed", "1", "--seeds", "2"], "--seed and --seeds exclude each other"),
        (["--seed", str(2**63)], "is not in the range"),
        (["--device", "cuda:²"], "is not a device"),
        (["--seeds", "4-0"], "'4-0' is neither a number nor a range"),
        (["--address", "auto"], "for --engine ray"),
        (["--cpus", "2"], "for --engine ray"),
    ],
)
def test_mistakes(oodbench, tmp_path, arguments, told):
    code, out, err = oodbench(*QUICK, "--detector", "msp", *arguments)
    assert code == 2
    assert told in err
    assert out == ""
    assert not (tmp_path / "results").exists()


def test_without_ray_the_engine_says_what_to_install(oodbench, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    code, _, err = oodbench(*QUICK, "--detector", "msp", "--engine", "ray")
    assert code == 2
    assert "pip install 'oodbench[ray]'" in err


def test_seeds_in_one_run_are_the_runs_of_each(oodbench, tmp_path):
    code, out, err = oodbench(*QUICK, "--detector", "msp", "--detector", "energy", "--seeds", "1-2", "--out", "swept")
    assert code == 0, err
    assert "msp, energy: train 2 times for 1 epoch, score 20 image sets" in err
    assert "seeds 1, 2, device" in err
    assert re.search(r"^2 seeds, epochs=1, .*\n\n.*\n.*\n-+\n.*\nenergy  ", out, re.M), out
    for seed in (1, 2):
        assert oodbench(*QUICK, "--detector", "energy", "--seed", seed, "--out", "single")[0] == 0
    single = {cell.path.name: cell for cell in cells(tmp_path / "single")}
    swept = {cell.path.name: cell for cell in cells(tmp_path / "swept") if "energy" in cell.path.parts}
    assert single.keys() == swept.keys()
    for name, cell in swept.items():
        assert cell.attributes()["network_digest"] == single[name].attributes()["network_digest"]
        assert [group.scores.tolist() for group in cell.read()] == [
            group.scores.tolist() for group in single[name].read()
        ]
    code, _, err = oodbench(*QUICK, "--detector", "energy", "--seeds", "1-2", "--out", "swept")
    assert "everything is there already" in err


def planned(tmp_path, *detectors, seeds=(0, 1), **more):
    registry = discover()
    request = Request(
        (load("digits"),),
        tuple(registry[name] for name in detectors),
        seed=0,
        sample=Sample(tmp_path, limit=20),
        machinery=Machinery(choose_device("cpu")),
        out=tmp_path / "results",
        **more,
    )
    return plan_seeds(request, seeds, registry)


def test_all_seeds_look_at_the_same_images_in_memory(tmp_path):
    first, second = planned(tmp_path, "msp").seeds
    assert (first.request.seed, second.request.seed) == (0, 1)
    assert first.suites[0].image_sets is second.suites[0].image_sets
    assert first.suites[0].networks[0].file != second.suites[0].networks[0].file


def test_what_a_detector_learns_with_one_seed_goes_with_it(tmp_path):
    first, _ = planned(tmp_path, "knn", settings=(Setting("k", 5),)).seeds
    (cell,) = first.suites[0].cells
    before = dict(vars(cell.detector))
    assert sweep.in_turn(RunPlan((first,)), print) == []
    assert cell.cell.path.is_file()
    assert vars(cell.detector) == before


def test_tasks_of_a_cluster_share_trainings_and_no_other_pass(tmp_path):
    pytest.importorskip("ray", reason="a cluster needs the extra 'ray'")
    swept = planned(tmp_path, "msp", "energy", seeds=(0,))
    shared, apart = sweep.passes(swept, None), sweep.passes(swept, Cluster())
    assert apart.backward == shared.backward
    # One detector more looks at the ID images and at four OOD sets, 20 images each.
    assert apart.forward - shared.forward == 5 * 20
    thorough = planned(tmp_path, "msp", "energy", seeds=(0,), demands=Demands(thorough=True))
    assert sweep.passes(thorough, Cluster()) == shared


def units(tmp_path):
    return jobs.units(planned(tmp_path, "msp", seeds=(0,)), (), "cpu", jobs.split_always)


def job(tmp_path):
    return units(tmp_path)[0].job


def test_a_node_with_other_images_or_code_is_refused(tmp_path):
    pytest.importorskip("ray", reason="a cluster needs the extra 'ray'")
    told = job(tmp_path)
    with pytest.raises(OodbenchError, match="^on .*: results would be others than where the run was started"):
        jobs.train(replace(told, files=told.files | {tmp_path / "results" / "another.h5"}))
    assert not (tmp_path / "results").exists()


def test_a_task_that_ends_before_it_can_tell_leaves_a_failure(tmp_path, monkeypatch):
    ray = pytest.importorskip("ray", reason="a cluster needs the extra 'ray'")
    _, scoring = units(tmp_path)
    on_a_gpu = replace(scoring, job=replace(scoring.job, device="cuda"))  # which the machine that asks lacks
    refused = OodbenchError("on a-node: install the same oodbench on all machines")
    said = []
    for error, why in {
        ray.exceptions.WorkerCrashedError(): "digits: msp: WorkerCrashedError: ",
        ray.exceptions.RayTaskError("score", "where it happened", ZeroDivisionError("one")): "ZeroDivisionError: one",
        ray.exceptions.RayTaskError("score", "on the way", refused): f"digits: msp: {refused}",
    }.items():

        def get(_, error=error):
            raise error

        monkeypatch.setattr(ray, "get", get)
        (failure,) = ray_cluster._outcome(None, on_a_gpu, said.append)
        assert why in failure
        (cell,) = cells(tmp_path / "results")
        assert cell.attributes()["failed"] == failure
    assert len(said) == 1 and "where it happened" in said[0]


def test_a_task_does_what_is_missing_and_nothing_without_a_network(tmp_path):
    pytest.importorskip("ray", reason="a cluster needs the extra 'ray'")
    told = job(tmp_path)
    assert jobs.score(told, ["training failed"]) is None
    assert not (tmp_path / "results").exists()
    assert jobs.train(told) == []
    assert sorted(path.suffix for path in told.files if path.is_file()) == [".safetensors"]
    assert jobs.score(told, []) == []
    stamps = {path: path.stat().st_mtime_ns for path in told.files}
    assert (jobs.train(told), jobs.score(told, [])) == ([], [])
    assert {path: path.stat().st_mtime_ns for path in told.files} == stamps
