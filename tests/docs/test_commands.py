"""Commands of pages that say how to measure their figures again: no check asks for what the runs above it leave out."""

import re
import shlex
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
SHIPPED = ROOT / "results" / "reference" / "measured.csv"
PAGES = ("real-photographs.md", "imagenet-small.md", "larger-network/index.md", "robust-classifiers/index.md")


def blocks(page):
    """The commands of each code block."""
    for block in re.findall(r"```\w*\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL):
        yield [shlex.split(line, comments=True) for line in block.splitlines() if line.startswith("oodbench ")]


def values(command, option):
    return [value for name, value in pairwise(command) if name == option]


def made(runs):
    """Detectors and tasks that commands score; a radius of 8 is the suites' own."""
    for run in runs:
        for task in values(run, "--task"):
            radii = [radius for text in values(run, "--eps") for radius in text.split(",")] or ["8"]
            tasks = [task if radius == "8" else f"{task}-eps{radius}" for radius in radii]
            yield from ((detector, name) for detector in values(run, "--detector") for name in tasks)


def asked(page, check):
    """The rows of the reference that a check of a results folder holds it to."""
    (named,), (suite,) = values(check, "--reference"), values(check, "--suite")
    beside = (DOCS / page).parent / named
    file = SHIPPED if named == "measured" else beside if beside.is_file() else ROOT / named
    rows = pd.read_csv(file, keep_default_na=False)
    rows = rows[(rows["suite"] == suite.removesuffix(".toml")) & ~rows["task"].isin(["", "id"])]
    for column in ("detector", "task"):
        if wanted := values(check, f"--{column}"):
            rows = rows[rows[column].isin(wanted)]
    return {*zip(rows["detector"], rows["task"], strict=True)}


@pytest.mark.parametrize("page", PAGES)
def test_a_check_on_a_page_asks_for_what_the_runs_above_it_made(page):
    compared = 0
    for commands in blocks(page):
        scored = {*made(command for command in commands if command[1] == "run")}
        for check in (command for command in commands if command[1:3] == ["check", "results/"]):
            rows = asked(page, check)
            assert rows, check
            assert "--lenient" in check or rows <= scored, check
            compared += 1
    assert compared
