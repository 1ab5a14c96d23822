"""Scripts without a main guard, however the platform starts processes: macOS spawns them, Linux forks a server."""

import subprocess
import sys
from pathlib import Path

import pytest
from photographs import encoded

import oodbench
from oodbench.images.photographs import write_photographs

NETWORK = Path(__file__).parents[2] / "results/reference/networks/digits/plain.safetensors"

SUITE = """
version = 1
id = {test = "in", classes = 10}
ood = [{set = "out", distance = "far"}]
network = {name = "small-cnn", mean = [0.5, 0.5, 0.5], std = [0.5, 0.5, 0.5]}
[tasks.clean]
"""

SCRIPT = """
import multiprocessing
multiprocessing.set_start_method({method!r})
import oodbench
frame = oodbench.run(
    "mine.toml", ["msp", "energy"], seed=[1, 2], data=".", checkpoint={network!r}, out={method!r}, jobs={jobs},
    say=lambda _: None,
)
print(sorted(frame[frame.metric == "auroc"].value))
"""


@pytest.fixture
def folder(tmp_path):
    """Two packs of image files, of several batches each, and a suite of them."""
    for name, first in (("in", 0), ("out", 1000)):
        files = [(f"{number}.png", encoded(32, 32, first + number), number % 10) for number in range(130)]
        write_photographs(tmp_path / f"{name}.h5", files, "made up")
    (tmp_path / "mine.toml").write_text(SUITE)
    return tmp_path


@pytest.mark.parametrize(("method", "jobs", "piped"), [("spawn", 1, False), ("forkserver", 2, True)])
def test_a_script_without_a_main_guard_gives_the_numbers(folder, monkeypatch, method, jobs, piped):
    script = SCRIPT.format(method=method, network=str(NETWORK), jobs=jobs)
    (folder / "script.py").write_text(script)
    command = [sys.executable, "-" if piped else "script.py"]
    found = subprocess.run(command, input=script if piped else None, cwd=folder, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    # On a busy machine there may be progress to tell.
    assert [line for line in found.stderr.splitlines() if line and " passes done" not in line] == []
    monkeypatch.chdir(folder)
    frame = oodbench.run(
        "mine.toml", ["msp", "energy"], seed=[1, 2], data=".", checkpoint=NETWORK, out="here", say=lambda _: None
    )
    assert found.stdout.strip() == str(sorted(frame[frame.metric == "auroc"].value))
