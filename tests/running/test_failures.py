"""A detector that fails stays to be seen, until it has done what it failed at."""

import io
from pathlib import Path

import pandas as pd
import pytest
from plugintext import method

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
