"""What opens at once takes no torch: asked in a process of its own, where nothing has imported it."""

import io
import json
import os
import subprocess
import sys

import pandas as pd
import pytest

from oodbench.cli import commands
from oodbench.cli.data import KINDS
from oodbench.cli.table import CONVENTIONS, STYLES
from oodbench.cli.work import data_list
from oodbench.metrics import CONVENTIONS as KNOWN_CONVENTIONS
from oodbench.results.tables.layout import STYLES as KNOWN_STYLES

HEAVY = ("torch", "timm", "torchvision", "sklearn", "scipy.stats")

ASKING = """
import contextlib, io, json, sys
import click
from click.shell_completion import BashComplete
from oodbench.cli import commands

def call(words):
    out = io.StringIO()
    try:
        with contextlib.redirect_stdout(out):
            commands.main(words, prog_name="oodbench", standalone_mode=False)
    except click.UsageError as error:
        return error.format_message()
    return out.getvalue()

def complete(words):
    *before, typed = words
    completing = BashComplete(commands, {}, "oodbench", "_OODBENCH_COMPLETE")
    return " ".join(item.value for item in completing.get_completions(before, typed))

found = []
for kind, words in json.load(sys.stdin):
    said = complete(words) if kind == "complete" else call(words)
    found.append([words, said, [name for name in HEAVY if name in sys.modules]])
print(json.dumps(found))
"""


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """What some commands say one after the other in one fresh process, and which of `HEAVY` each leaves imported."""
    # Of this test alone: another state of the code keeps what it has found out in the same place.
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def asked(commands):
        done = subprocess.run(
            [sys.executable, "-c", f"HEAVY = {HEAVY!r}\n{ASKING}"],
            input=json.dumps(commands),
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={key: value for key, value in os.environ.items() if key != "OODBENCH_DATA"},
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return asked


def helped(group=commands, above=()):
    """The help of every verb that there is."""
    found = [("call", [*above, "--help"])]
    for name, verb in getattr(group, "commands", {}).items():
        found += helped(verb, (*above, name))
    return found


def test_help_and_mistakes_import_nothing_that_takes_long(asked):
    mistakes = [["run", "--sute", "digits"], ["runn"], ["run", "--suite", "digits"], ["list", "detector"]]
    mistakes += [["run", "--suite", "a", "--detector", "b", "--seed", "1", "--seeds", "0-4"]]
    assert ("call", ["data", "show", "--help"]) in helped()
    found = asked([("call", ["--version"]), *helped(), *(("call", words) for words in mistakes)])
    assert all(said for _, said, _ in found)
    assert [words for words, _, heavy in found if heavy] == []


def test_names_are_listed_and_completed_without_torch(asked, oodbench):
    _, detectors, _ = oodbench("list", "detectors")  # here, where torch is there: what only classes tell is kept
    oodbench("list", "corruptions")
    lists = [["list", kind] for kind in ("detectors", "suites", "tasks", "networks", "corruptions")]
    lists += [["list", "suites", "--format", "github"], ["data", "list"], ["data", "list", "--suite", "imagenet"]]
    lists += [["data", "show", "frost-photographs"], ["data", "verify"], ["list", "images"]]
    lines = ["run --detector ato", "run --suite digits-", "run --task linf-", "run --only lette"]
    lines += ["run --checkpoint res", "data show frost-", "table --against ms", "check --task comp"]
    found = asked([*(("call", words) for words in lists), *(("complete", line.split()) for line in lines)])
    said = [said for _, said, _ in found]
    assert said[0] == detectors
    assert said[len(lists) :][:4] == ["atom", "digits-adv", "linf-adaptive", "letters"]
    assert all(said for words, said, _ in found if words != ["data", "verify"])  # there is no pack here
    assert [words for words, _, heavy in found if heavy] == []


def test_stored_results_are_shown_and_checked_without_torch(asked, tmp_path, stored):
    stored(tmp_path / "results", detector="msp", code="0" * 64)
    stored(tmp_path / "results", detector="atom", code="0" * 64, checkpoint="plain.safetensors")
    tables = [
        ["table"],
        ["table", "--long", "--intervals"],
        ["table", "--against", "msp"],
        ["table", "--format", "csv"],
    ]
    found = asked([("call", words) for words in tables])
    assert [words for words, said, heavy in found if heavy or "atom" not in said] == []
    rows = pd.read_csv(io.StringIO(found[3][1]))
    assert set(rows["current"]) == {"no"}  # which was found out from the source
    stored(tmp_path / "mine", checkpoint="plain.safetensors")
    (_, made, heavy), (_, held, more) = asked(
        [("call", ["check", "mine", "--reference", "mine.csv", *update]) for update in (["--update"], [])]
    )
    assert "figures, " in made
    assert held.endswith(" pass\n")
    assert heavy == more == []


def test_choices_are_those_that_there_are():
    assert set(STYLES) == set(KNOWN_STYLES)
    assert set(CONVENTIONS) == set(KNOWN_CONVENTIONS)
    assert set(KINDS) == set(data_list.KINDS)
