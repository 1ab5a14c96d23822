"""A detector that fails stays to be seen, until it has done what it failed at."""

import io
from pathlib import Path

import pandas as pd
import pytest
from plugintext import method

from oodbench.registry import discover
from oodbench.results.store import cells
from oodbench.running.imagesets import Sample
from oodbench.running.jobs import note, split_always, units
from oodbench.running.planning import plan_seeds
from oodbench.running.request import Demands, Machinery, NetworkSource, Request, choose_device
from oodbench.suitefiles.selection import vary
from oodbench.suitefiles.suitefile import load

NETWORK = Path(__file__).parents[2] / "results" / "reference" / "networks" / "digits" / "plain.safetensors"
RUN = ["run", "--suite", "digits", "--checkpoint", NETWORK, "--limit", "40", "--plugin", "plug.py"]

RAISES = "raise RuntimeError('out of | luck\\ntoday')"
WORKS = "return representation.logits.double().logsumexp(1)"


@pytest.fixture
def write(oodbench, tmp_path):
    """Write the plugin with a body of its score."""
    return lambda body: (tmp_path / "plug.py").write_text(method(body, "moody"))


def rows(text):
    return [[part.strip() for part in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]


def test_a_failure_has_a_row_until_the_detector_is_mended(oodbench, write, tmp_path):
    write(RAISES)
    code, out, err = oodbench(*RUN, "--detector", "moody", "--detector", "msp")
    assert code == 2
    assert "Traceback" not in err
    assert f"detector 'moody' failed in {tmp_path / 'plug.py'}, line 13: RuntimeError: out of | luck today" in err
    assert [line.split() for line in out.splitlines() if line.startswith("moody")] == [["moody", "failed", "–"]]
    assert "Failed: moody: detector 'moody' failed in " in " ".join(out.split())
    for text in (oodbench("table", "--long")[1],):
        called = {row[0].partition(" ")[0]: row[1] for row in rows(text)[2:]}
        assert called["msp"] == "clean"
        assert called["moody"].startswith("failed: detector 'moody' failed in ")
        assert "Failed: moody (seed 1, 40 images of each set" in text
        assert "Missing: moody" not in text
    tidy = pd.read_csv(io.StringIO(oodbench("table", "--format", "csv")[1]), keep_default_na=False)
    (failed,) = tidy[tidy["metric"] == "failed"].itertuples()
    assert (failed.detector, failed.value) == ("moody", "")
    assert "out of | luck today" in failed.failed
    averaged = pd.read_json(io.StringIO(oodbench("table", "--format", "json", "--by", "task")[1]))
    assert list(averaged[averaged["failed"] != ""]["detector"]) == ["moody"]

    write(WORKS)
    assert oodbench(*RUN, "--detector", "moody")[0] == 0
    code, out, err = oodbench("table", "--long")
    assert (code, err) == (0, "")
    assert "ailed" not in out
    assert [row[1] for row in rows(out)[2:]] == ["clean", "clean"]


def test_what_a_failure_says_may_hold_any_byte(oodbench, write):
    write("raise ValueError('bad' + chr(0) + ' or ' + chr(0xdcff) + ' or ' + chr(27) + '[31m')")
    code, out, err = oodbench(*RUN, "--detector", "moody", "--detector", "msp")
    assert code == 2
    assert "Traceback" not in err
    code, out, _ = oodbench("table", "--long")
    assert code == 0
    assert r"bad\x00 or \udcff or \x1b[31m" in " ".join(out.split())
    assert "msp" in out


def test_a_failure_is_kept_by_what_is_done_elsewhere_and_goes_with_what_failed(oodbench, write, monkeypatch):
    """It fails under attack, where it is asked for a gradient, and not before."""
    fails = "if os.environ.get('MOOD') and scores.requires_grad: raise ValueError('no')"
    lines = ["import os", "scores = representation.logits.double().logsumexp(1)", fails, "return scores"]
    write("\n        ".join(lines))
    asked = [*RUN, "--detector", "moody", "--only", "letters", "--task"]
    monkeypatch.setenv("MOOD", "bad")
    assert oodbench(*asked, "linf")[0] == 2
    assert oodbench(*asked, "clean")[0] == 0
    out = oodbench("table", "--long", "--sets", "letters")[1]
    assert [row[1].partition(":")[0] for row in rows(out)[2:]] == ["clean", "failed"]
    assert ": ValueError: no" in out
    monkeypatch.delenv("MOOD")
    assert oodbench(*asked, "linf")[0] == 0
    out = oodbench("table", "--long", "--sets", "letters")[1]
    assert [row[1] for row in rows(out)[2:]] == ["clean", "linf"]
    assert "ailed" not in out


def test_of_failures_of_edited_code_the_last_stands_alone(oodbench, write):
    for mood in ("bad", "worse"):
        write(f"raise RuntimeError({mood!r})")
        assert oodbench(*RUN, "--detector", "moody", "--detector", "msp")[0] == 2
    out = oodbench("table", "--long")[1]
    assert [row[0].partition(" ")[0] for row in rows(out)[2:]].count("moody") == 1
    assert "RuntimeError: worse" in out and "RuntimeError: bad" not in out
    # Another seed, or other settings, is another matter.
    assert oodbench(*RUN, "--detector", "moody", "--seed", "2")[0] == 2
    assert [row[0].partition(" ")[0] for row in rows(oodbench("table", "--long")[1])[2:]].count("moody") == 2


def test_a_flag_names_the_file_of_the_plugin_and_how_it_was_calculated(oodbench, write):
    write("return representation.logits.double()[:, 0]")
    options = ["--detector", "moody", "--task", "linf", "--set", "linf.steps=1", "--only", "letters"]
    code, out, err = oodbench(*RUN, *options)
    assert code == 0, err
    out = oodbench("table", "--long")[1]
    assert "1 step of " in out
    (line,) = [line for line in out.splitlines() if line.startswith("- FLAG")]
    assert "`oodbench run --suite digits --detector moody --plugin plug.py --checkpoint " in line


PREDICTS = """

    def predict(self, representation):
        return representation.logits.argmax(1)"""


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (".int()", ""),
        (".float()", "'moody' predicts float32 (40,) for 40 images"),
        ("[:3]", "'moody' predicts int64 (3,)"),
    ],
)
def test_classes_of_a_plugin_are_whole_numbers_one_an_image(oodbench, tmp_path, given, told):
    (tmp_path / "plug.py").write_text(method(WORKS, "moody").rstrip() + PREDICTS + given + "\n")
    code, out, err = oodbench(*RUN, "--detector", "moody", "--detector", "msp")
    assert code == (2 if told else 0), err
    assert told in err and "Traceback" not in err
    assert [line.split()[0] for line in out.splitlines() if line.startswith("msp")]  # the others are done


def test_what_has_all_its_scores_has_not_failed_when_its_process_ends(oodbench, tmp_path):
    done = ("run", "--suite", "digits-adv", "--checkpoint", NETWORK, "--limit", "6", "--task", "clean", "--jobs", "1")
    assert oodbench(*done, "--detector", "msp")[0] == 0
    registry = discover()
    request = Request(
        suites=(vary(load("digits-adv"), ["clean"], (), "out"),),
        detectors=(registry["msp"], registry["energy"]),
        seed=1,
        sample=Sample(Path("data"), limit=6),
        machinery=Machinery(choose_device("cpu")),
        out=Path("results"),
        source=NetworkSource(NETWORK),
        demands=Demands(thorough=True),  # all cells are one job
    )
    (unit,) = units(plan_seeds(request, [1], registry), (), "cpu", split_always)
    assert unit.job.chosen == ("msp", "energy")
    note(unit.job, "it was ended from outside")
    found = {cell.path.parent.name: cell.attributes() for cell in cells(tmp_path / "results")}
    assert found["energy"]["failed"] == "it was ended from outside"
    assert "failed" not in found["msp"]


def test_a_smoothed_score_that_is_constant_is_given_up_alone(oodbench, tmp_path):
    (tmp_path / "plug.py").write_text(method("return representation.logits.sum(1).double() * 0", "moody"))
    smoothed = ("--task", "smoothed", "--set", "smoothed.draws=20", "--set", "smoothed.radii=[1]", "--only", "letters")
    command = ("run", "--suite", "digits-adv", *RUN[3:5], "--limit", "5", *smoothed, "--set", "smoothed.confidence=0.5")
    code, _, err = oodbench(*command, "--plugin", "plug.py", "--detector", "moody", "--detector", "msp")
    assert code == 2
    assert "moody" in err and "msp: detector" not in err
    by_name = {cell.path.parent.name: cell.attributes() for cell in cells(tmp_path / "results")}
    assert "same score" in by_name["moody"]["failed"]
    assert "failed" not in by_name["msp"]
