"""Scores by a detector that was tuned to other values, on another machine say, do not join those in its file."""

import json

import h5py
import pytest

COMMON = ("--suite", "digits-adv", "--detector", "odin", "--limit", "60", "--set", "epochs=1")


@pytest.fixture
def begun(oodbench, tmp_path):
    """The results folder of ODIN's clean scores, and its file."""
    code, _, err = oodbench("run", *COMMON, "--task", "clean", "--out", tmp_path)
    assert code == 0, err
    (file,) = (tmp_path / "digits-adv" / "odin").glob("*.h5")
    return tmp_path, file


def tune_elsewhere(file, factor, more=0.0):
    """As if the file had been begun where ODIN's magnitude came out as `factor` times what it is and `more`."""
    with h5py.File(file, "r+") as opened:
        tuned = json.loads(opened.attrs["tuned"])
        tuned["magnitude"] = tuned["magnitude"] * factor + more
        opened.attrs["tuned"] = json.dumps(tuned | {"tried": {}, "fpr95": 0.5})


def test_other_tuned_values_are_refused_and_nothing_is_lost(oodbench, begun):
    out, file = begun
    tune_elsewhere(file, 2.0, more=1.0)
    before = file.read_bytes()
    code, _, err = oodbench("run", *COMMON, "--task", "linf", "--out", out)
    assert code == 2
    assert f"odin was tuned here to another magnitude than where {file} was begun" in err
    assert file.read_bytes() == before


@pytest.mark.parametrize("arguments", [(), ("--rerun", "all")])
def test_rounding_is_no_other_value_and_who_starts_over_may_have_others(oodbench, begun, arguments):
    out, file = begun
    tune_elsewhere(file, 1.001, more=1.0 if arguments else 0.0)
    code, _, err = oodbench("run", *COMMON, "--task", "linf", "--out", out, *arguments)
    assert code == 0, err
    with h5py.File(file) as opened:
        assert "linf" in opened
