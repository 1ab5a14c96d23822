"""Commands in processes of their own, killed or side by side: what they leave is what one process leaves."""

import subprocess
import sys
import time

from contents import arrays
from quickrun import QUICK, run


def start(folder, *arguments):
    """The same run in a process of its own."""
    command = [sys.executable, "-m", "oodbench", "run", "--suite", "digits-adv", *arguments, *QUICK]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def test_killed_anywhere_a_run_goes_on_to_the_same_numbers(oodbench, tmp_path):
    run(oodbench, "--detector", "oe", "--out", "whole")
    cut = tmp_path / "cut"
    for trace in ("networks/*.unfinished", "digits-adv/oe/*.h5"):
        child = start(tmp_path, "--detector", "oe", "--out", "cut")
        deadline = time.monotonic() + 120
        while not list(cut.glob(trace)) and child.poll() is None and time.monotonic() < deadline:
            time.sleep(0.002)
        child.kill()
        child.communicate()
    run(oodbench, "--detector", "oe", "--out", "cut")
    assert arrays(cut) == arrays(tmp_path / "whole")
    assert [path for path in cut.rglob("*") if path.suffix in (".tmp", ".unfinished")] == []


def test_two_processes_on_one_cell(oodbench, tmp_path):
    run(oodbench, "--detector", "msp", "--out", "alone")
    for child in [start(tmp_path, "--detector", "msp", "--out", "both") for _ in range(2)]:
        _, err = child.communicate(timeout=300)
        assert child.returncode == 0, err
    assert arrays(tmp_path / "both") == arrays(tmp_path / "alone")
