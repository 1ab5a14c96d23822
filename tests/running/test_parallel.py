"""A run in several processes: the bits of one thing after the other, whoever starts it and whatever dies in it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from contents import arrays

import oodbench as package
from oodbench.basics.errors import OodbenchError
from oodbench.basics.team import OF_TORCHRUN
from oodbench.registry import discover
from oodbench.results.store import cells
from oodbench.running import parallel
from oodbench.running.imagesets import Sample
from oodbench.running.jobs import split_where_free, units
from oodbench.running.planning import plan_seeds
from oodbench.running.request import Machinery, Request, choose_device
from oodbench.suitefiles.suitefile import load

QUICK = dict(limit=20, tasks=["clean", "linf"], parameters={"epochs": 1, "linf.steps": 2})

PLUGIN = """
import os
import time
from pathlib import Path

from oodbench.detector import Detector

HERE = Path(__file__).parent


class Plain(Detector):
    '''The largest logit.'''

    name = "plain"
    paper = "none"

    def score_representation(self, representation):
        return representation.logits.double().max(1).values


class Mistaken(Plain):
    '''A mistake of whoever wrote it.'''

    name = "mistaken"

    def score_representation(self, representation):
        raise ZeroDivisionError("one and\\nonly")


class Deadly(Plain):
    '''Ends its process, as a system does that runs out of memory.'''

    name = "deadly"

    def score_representation(self, representation):
        os.kill(os.getpid(), 9)


class Slow(Plain):
    '''Says which process it is in, and takes for ever.'''

    name = "slow"

    def score_representation(self, representation):
        (HERE / f"pid-{os.getpid()}").touch()
        time.sleep(600)
"""


@pytest.fixture
def plugin(tmp_path):
    path = tmp_path / "plug.py"
    path.write_text(PLUGIN)
    return path


def test_two_processes_find_the_bits_of_one(tmp_path):
    said = []
    for jobs in (1, 2):
        package.run(
            "digits-adv", ["msp", "energy", "oe"], out=tmp_path / str(jobs), jobs=jobs, say=said.append, **QUICK
        )
    found, wanted = arrays(tmp_path / "2"), arrays(tmp_path / "1")
    assert len(wanted) > 100
    assert found == wanted
    assert said[-1].startswith("[4/4] digits-adv, seed 1, ")
    # What is there is not done again, by however many.
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "2").rglob("*.h5")}
    package.run("digits-adv", ["msp", "energy", "oe"], out=tmp_path / "2", jobs=2, say=said.append, **QUICK)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "2").rglob("*.h5")} == files


def test_what_fails_or_dies_leaves_the_others_alone(tmp_path, plugin):
    said = []
    with pytest.raises(OodbenchError) as caught:
        package.run(
            "digits-adv",
            ["plain", "mistaken", "deadly", "oe"],
            tasks=["linf"],
            parameters={"epochs": 1, "linf.steps": 10, "oe.weight": 1e38},
            limit=20,
            jobs=2,
            plugins=[plugin],
            out=tmp_path / "out",
            say=said.append,
        )
    failed = str(caught.value).splitlines()
    assert len(failed) == 3
    assert failed[0].startswith("digits-adv: detector 'mistaken' failed in ")
    assert failed[0].endswith("ZeroDivisionError: one and only")
    assert failed[1].startswith("digits-adv: deadly: its process was ended from outside, twice")
    assert "'oe' gave NaN" in failed[2]
    assert "going on with one at a time" in "".join(said)
    found = {cell.path.parent.name: cell for cell in cells(tmp_path / "out")}
    assert {group.task for group in found["plain"].read()} == {"id", "linf"}
    assert {name for name, cell in found.items() if cell.attributes().get("failed")} == {"mistaken", "deadly", "oe"}
    assert "ended from outside" in str(found["deadly"].attributes()["failed"])


def begun(folder, count):
    """The processes in which `Slow` has begun, once there are so many."""
    deadline = time.monotonic() + 120
    while len(found := list(folder.glob("pid-*"))) < count:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return [int(path.name.partition("-")[2]) for path in found]


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z" if Path("/proc").is_dir() else True


def hear_interrupts():
    # A shell lets what it puts into the background ignore them, and so does everything that this starts.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_no_process_outlives_the_one_that_started_it(tmp_path, plugin, sent, code):
    command = [sys.executable, "-m", "oodbench", "run", "--suite", "digits", "--detector", "slow", "--seeds", "1-2"]
    command += ["--plugin", str(plugin), "--limit", "20", "--set", "epochs=1", "--jobs", "2", "--out", "out"]
    started = subprocess.Popen(
        command,
        cwd=tmp_path,
        start_new_session=True,
        preexec_fn=hear_interrupts,
        stderr=subprocess.PIPE,
        text=True,
    )
    workers = begun(tmp_path, 2)
    if sent == signal.SIGINT:
        os.killpg(started.pid, sent)  # as a terminal does it: to all
    else:
        started.send_signal(sent)
    _, said = started.communicate(timeout=60)
    assert started.returncode == code
    assert "Traceback" not in said
    deadline = time.monotonic() + 20
    while any(map(alive, workers)):
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.parametrize("text", ["0", "-1", "two", "1.5", "", "²"])
def test_other_numbers_of_jobs_are_refused(text):
    with pytest.raises(OodbenchError, match="a number of processes from 1, or auto"):
        parallel.parse_jobs(text, alone=True)


@pytest.mark.parametrize("others", ["ray", "torchrun"])
def test_who_has_processes_already_takes_no_jobs(oodbench, monkeypatch, others):
    arguments = ["run", "--suite", "digits", "--detector", "msp", "--jobs", "2"]
    if others == "ray":
        pytest.importorskip("ray")
        arguments += ["--engine", "ray"]
    else:
        for name in OF_TORCHRUN:
            monkeypatch.setenv(name, "0")
    code, _, err = oodbench(*arguments)
    assert code == 2
    assert "--jobs 2 and --engine ray or torchrun exclude each other" in err


def asked(tmp_path, *detectors):
    registry = discover()
    chosen = tuple(registry[name] for name in detectors)
    sample, machinery = Sample(tmp_path, limit=20), Machinery(choose_device("cpu"), threads=1)
    request = Request((load("digits"),), chosen, 1, sample, machinery, tmp_path)
    return plan_seeds(request, (1,), registry)


@pytest.mark.parametrize(
    ("cores", "memory", "work", "count"),
    [(2, None, 0, 2), (8, None, 0, 3), (1, None, 0, 1), (8, 4 * 10**9, 0, 2), (8, 10**8, 0, 1), (8, None, 1e15, 1)],
)
def test_auto_goes_by_cores_memory_and_work(tmp_path, monkeypatch, cores, memory, work, count):
    monkeypatch.setattr(parallel, "cores", lambda: cores)
    monkeypatch.setattr(parallel, "available", lambda: memory)
    monkeypatch.setattr(parallel, "WORTHWHILE", work)
    run = asked(tmp_path, "msp", "oe", "sofl")
    assert parallel.processes(None, run) == count
    assert parallel.processes(2, run) == 2
    assert parallel.processes(9, run) == 3


def test_cells_that_share_passes_stay_together(tmp_path):
    found = units(asked(tmp_path, "msp", "energy", "knn", "oe"), (), "cpu", split_where_free)
    assert [(unit.job.chosen, unit.doing, unit.after) for unit in found] == [
        (("msp", "energy", "knn"), "scored", None),
        (("oe",), "scored", None),
    ]


def test_values_of_a_parameter_are_tried_side_by_side_to_the_same_figures(oodbench):
    arguments = ["tune", "--suite", "digits", "--detector", "oe", "--over", "weight=0.1,1", "--limit", "20"]
    arguments += ["--set", "epochs=1"]
    _, alone, _ = oodbench(*arguments, "--jobs", 1, "--out", "alone")
    code, beside, err = oodbench(*arguments, "--jobs", 2, "--out", "beside")
    assert code == 0, err
    assert beside == alone
    assert "digits, seed 1, oe, epochs=1, oe.weight=0.1: scored" in err
