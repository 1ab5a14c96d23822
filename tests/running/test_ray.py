"""Runs as the tasks of a real Ray cluster of two nodes in this machine, of which one dies."""

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from contents import arrays

import oodbench as package
from oodbench.basics.errors import OodbenchError
from oodbench.results.store import Cell, cells
from oodbench.running.ray_cluster import Cluster as Nodes
from oodbench.running.ray_cluster import _device, _require_room

ray = pytest.importorskip("ray", reason="a cluster needs the extra 'ray'")
from ray.cluster_utils import Cluster  # noqa: E402

SEEDS = range(2)
QUICK = dict(limit=20, tasks=["clean", "linf"], parameters={"epochs": 1, "linf.steps": 2})
AS_TYPED = ("--limit", "20", "--task", "clean", "--task", "linf", "--set", "epochs=1", "--set", "linf.steps=2")
PATIENCE = 120

PLUGIN = """
import time
from pathlib import Path

import ray
import torch
from oodbench.detector import Detector

HERE = Path(__file__).parent


class Watched(Detector):
    '''The largest logit; says where it is worked out, and stands still on the node that is to die.'''

    name = "watched"
    paper = "none"

    def score_representation(self, representation):
        if ray.is_initialized():
            context = ray.get_runtime_context()
            with (HERE / "log").open("a") as log:
                log.write(f"{context.get_task_id()} {context.get_node_id()}\\n")
            doomed = HERE / "doomed"
            if doomed.is_file() and doomed.read_text() == context.get_node_id() and list(HERE.glob("out/**/*.h5")):
                self.calls = getattr(self, "calls", 0) + 1
                while self.calls > 3:
                    time.sleep(0.1)
        return representation.logits.double().max(1).values


class Twin(Watched):
    '''The same by another name.'''

    name = "twin"


class Broken(Detector):
    '''Not a number.'''

    name = "broken"
    paper = "none"

    def score_representation(self, representation):
        return representation.logits.double().max(1).values * torch.nan


class Mistaken(Detector):
    '''A mistake of whoever wrote it.'''

    name = "mistaken"
    paper = "none"

    def score_representation(self, representation):
        raise ZeroDivisionError("one and\\nonly")
"""


@pytest.fixture(scope="module")
def cluster():
    """Two nodes with one CPU each; on the first lives the process that runs the tests."""
    # Other work on this machine may fill its memory, and Ray would end tasks for it.
    system = {"memory_monitor_refresh_ms": 0, "health_check_period_ms": 300, "health_check_failure_threshold": 5}
    node = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
    made = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False, "_system_config": system})
    made.add_node(**node)
    yield made
    made.shutdown()


@pytest.fixture
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def plugin(tmp_path):
    path = tmp_path / "plugin.py"
    path.write_text(PLUGIN)
    return path


def rows(text):
    """What a long table says of the detectors that both runs have, however wide its columns are."""
    lines = [line for line in text.splitlines() if line.startswith(("| ", "- ")) and "mistaken" not in line]
    return [" ".join(line.split()) for line in lines]


def test_a_cluster_makes_the_table_of_one_process(oodbench, tmp_path, cluster, plugin, one_thread):
    asked = ["run", "--suite", "digits-adv", "--seeds", "0-1", "--plugin", plugin.name, *AS_TYPED]
    for name in ("msp", "oe", "broken"):
        asked += ["--detector", name]
    code, here, err = oodbench(*asked, "--out", "here")
    assert code == 2, err
    told = [line.removeprefix("oodbench: ") for line in err.splitlines()[-2:]]
    assert [line.partition(": detector")[0] for line in told] == [f"seed {n}: digits-adv" for n in SEEDS]

    elsewhere = ("--out", "there", "--engine", "ray", "--address", cluster.address, "--detector", "mistaken")
    code, there, err = oodbench(*asked, *elsewhere)
    assert code == 2, err
    failed = [line.removeprefix("oodbench: ") for line in err.splitlines()[-4:]]
    mistaken = [line for line in failed if "ZeroDivisionError: one and only" in line]
    assert [line.partition(" failed in ")[0] for line in mistaken] == [
        f"seed {n}: digits-adv: detector 'mistaken'" for n in SEEDS
    ]
    assert set(failed) - set(mistaken) == set(told)
    # The commands that flags name are those of their own run, folder and all.
    here, there = (oodbench("table", name, "--long")[1] for name in ("here", "there"))
    assert rows(there.replace("--out there", "--out here")) == rows(here)
    assert arrays(tmp_path / "there") == arrays(tmp_path / "here")
    # Two networks a seed, and four cells of which one fails and one is mistaken.
    said = [line.partition("]")[0] for line in err.splitlines() if line.startswith("[")]
    assert said == [f"[{n}/12" for n in range(1, 13)]
    assert len(list((tmp_path / "there" / "networks").glob("*.safetensors"))) == 4
    assert not ray.is_initialized()


@dataclass
class Killer:
    """Kills a node as soon as a task stands still there; remembers what was finished then."""

    cluster: Cluster
    node: object
    out: Path
    log: Path
    seen: dict[Path, int] = field(default_factory=dict)
    groups: dict[tuple[Path, str, str], float] = field(default_factory=dict)

    def __call__(self):
        deadline = time.monotonic() + PATIENCE
        while not self.ready() and time.monotonic() < deadline:
            time.sleep(0.1)
        self.seen = {cell.path: cell.path.stat().st_mtime_ns for cell in cells(self.out)}
        self.groups = stamps(self.out)
        self.cluster.remove_node(self.node)

    def ready(self):
        """All cells but the one that stands still are done, and of that one some groups."""
        there = list(self.out.rglob("*.h5"))
        counts = sorted(len(Cell(path).read()) for path in there)
        return len(there) == 4 and counts[1:] == [9, 9, 9]


def stamps(folder):
    """Seconds that each group took when it was worked out, as stored with it."""
    return {
        (cell.path, group.task, group.image_set): group.attributes["seconds"]
        for cell in cells(folder)
        for group in cell.read()
    }


def test_a_node_that_dies_costs_its_running_cell_only(tmp_path, cluster, plugin, one_thread, monkeypatch):
    monkeypatch.chdir(tmp_path)
    asked = dict(detectors=["watched", "twin"], seed=SEEDS, plugins=["plugin.py"], **QUICK)
    here = package.run("digits-adv", out="here", say=lambda line: None, **asked)

    (node,) = cluster.worker_nodes
    (tmp_path / "doomed").write_text(node.node_id)
    killer = Killer(cluster, node, tmp_path / "out", tmp_path / "log")
    thread = threading.Thread(target=killer)
    thread.start()
    said = []
    there = package.run("digits-adv", out="out", engine="ray", address=cluster.address, say=said.append, **asked)
    thread.join()

    columns = ["detector", "seed", "task", "ood", "metric"]
    by_row = [frame.set_index(columns)["value"].sort_index() for frame in (here, there)]
    assert by_row[0].equals(by_row[1])
    assert arrays(tmp_path / "out") == arrays(tmp_path / "here")
    assert sum(line.startswith("[") for line in said) == 6  # two networks, four cells

    done = {path for path in killer.seen if len([key for key in killer.groups if key[0] == path]) == 9}
    (running,) = killer.seen.keys() - done
    assert {path: path.stat().st_mtime_ns for path in done} == {path: killer.seen[path] for path in done}
    after = stamps(tmp_path / "out")
    kept = {key for key in killer.groups if key[0] == running}
    assert 0 < len(kept) < 9
    assert {key: after[key] for key in killer.groups} == killer.groups
    # One task was worked on in both places, the others in one.
    places = {}
    for line in killer.log.read_text().splitlines():
        task, place = line.split()
        places.setdefault(task, []).append(place)
    moved = [dict.fromkeys(where) for where in places.values() if len(set(where)) > 1]
    assert len(moved) == 1
    assert next(iter(moved[0])) == node.node_id
    assert len(places) == 4


SHORT = """
import ray
from oodbench.attacks import thorough_checks
from oodbench.detectors.energy import Energy

if ray.is_initialized():  # in a task
    for name, fewer in {"LONG_CLIMB": 4, "SHORT_CLIMB": 2, "SQUARE_QUERIES": 5}.items():
        setattr(thorough_checks, name, fewer)


class Same(Energy):
    '''The energy by another name.'''

    name = "same"
"""


def test_attacks_judged_by_other_detectors_are_one_task(oodbench, tmp_path):
    (tmp_path / "short.py").write_text(SHORT)
    asked = ["run", "--suite", "digits-adv", "--detector", "msp", "--detector", "same", "--only", "letters"]
    asked += ["--plugin", "short.py"]
    asked += ["--limit", "4", "--task", "linf", "--set", "epochs=1", "--set", "linf.steps=2", "--checks", "full"]
    code, _, err = oodbench(*asked, "--engine", "ray")
    assert code == 0, err
    assert "[1/1] digits-adv, seed 1, msp, same: scored" in err
    assert len(cells(tmp_path / "results")) == 2
    for cell in cells(tmp_path / "results"):
        assert "check_transfer" in cell.group("linf", "letters").attributes


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"engine": "rays"}, "did you mean 'ray'"),
        ({"seed": []}, "there are no seeds"),
        ({"device": "cuda:0"}, "Ray says which GPU"),
        ({"address": "somewhere"}, "choose local, auto, or HOST:PORT"),
        ({"address": "127.0.0.1:1"}, "no Ray cluster at '127.0.0.1:1'"),
    ],
)
def test_what_a_cluster_cannot_do_is_told(tmp_path, options, told):
    asked = {"engine": "ray", "out": tmp_path / "results", "say": print, **QUICK, **options}
    with pytest.raises(OodbenchError) as caught:
        package.run("digits-adv", "msp", **asked)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("device", "machines", "told"),
    [
        ("cpu", [{"CPU": 3.0, "GPU": 8.0}, {"CPU": 2.0}], "has 4 CPUs for a task, the largest has 3"),
        ("cuda", [{"CPU": 64.0}, {"CPU": 3.0, "GPU": 8.0}], "has 4 CPUs and a GPU"),
        ("cpu", [{"CPU": 4.0}], None),
        ("cuda", [{"CPU": 4.0, "GPU": 1.0}], None),
    ],
)
def test_a_task_that_fits_nowhere_is_refused(device, machines, told):
    try:
        _require_room(Nodes(cpus=4), device, machines)
    except OodbenchError as error:
        assert told in str(error)
    else:
        assert told is None


def test_the_gpu_is_taken_where_there_is_one():
    found = {
        (asked, gpus): _device(Nodes(device=asked), {"GPU": gpus})
        for asked, gpus in [("auto", 2.0), ("auto", 0.0), ("cpu", 2.0), ("cuda", 1.0)]
    }
    assert list(found.values()) == ["cuda", "cpu", "cpu", "cuda"]
    with pytest.raises(OodbenchError, match="no node of the cluster has one"):
        _device(Nodes(device="cuda"), {"CPU": 4.0})
