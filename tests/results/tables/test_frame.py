"""The tidy frame: what people compute on in notebooks."""

import json
import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

import oodbench
from oodbench.basics.errors import OodbenchError
from oodbench.metrics import METRICS
from oodbench.results.tables.frame import COLUMNS
from oodbench.statistics import honesty
from oodbench.statistics.intervals import share_interval


def test_values_and_provenance_of_a_row(tmp_path, stored):
    stored(tmp_path)
    frame = oodbench.load_results(tmp_path)
    assert tuple(frame.columns) == COLUMNS
    assert list(frame.metric) == ["accuracy", *METRICS]
    accuracy, fpr, _, auroc = (frame.iloc[row] for row in range(4))
    assert accuracy.value == 7 / 8
    assert (accuracy.task, accuracy.ood, accuracy.n_ood, accuracy.source) == ("id", "", 0, "scanned by hand")
    assert fpr.value == 2 / 4  # all eight must be kept to keep 95 %: 2.5 and 9 lie above the lowest ID score
    assert auroc.value == 1 - (1 + 7.5) / 32  # 2.5 beats one ID image; 9 beats seven and ties with one
    assert (auroc.epsilon, auroc.task, auroc.ood, auroc.distance) == (32, "linf", "letters", "near")
    assert (auroc.n_id, auroc.n_ood, auroc.id_set, auroc.source) == (8, 4, "digits-test", "drawn")
    assert auroc.network_digest == "d" * 64
    assert auroc.cell == "msp/seed1-abababababab"
    assert np.isnan(auroc.low)


def test_intervals_hold_the_value_and_are_for_subsets_unless_asked(tmp_path, stored):
    stored(tmp_path, images=4, ood=[("letters", np.linspace(0, 4, 30))])
    subset = oodbench.load_results(tmp_path)
    stored(tmp_path, ood=[("letters", np.linspace(0, 4, 30))])
    assert oodbench.load_results(tmp_path).low.isna().all()
    asked = oodbench.load_results(tmp_path, intervals=True)
    pd.testing.assert_frame_equal(asked[["low", "high"]], subset[["low", "high"]])
    auroc = asked[asked.metric == "auroc"].iloc[0]
    assert auroc.low < auroc.value < auroc.high


def test_the_docstring_names_every_column():
    said = oodbench.load_results.__doc__
    assert [name for name in COLUMNS if name not in honesty.FLAGS and name not in said] == []


def test_what_is_no_results_folder_is_said(tmp_path, stored):
    with pytest.raises(OodbenchError, match="there are no results in"):
        oodbench.load_results(tmp_path)
    cell = stored(tmp_path)
    (tmp_path / "cut.h5").write_bytes(cell.path.read_bytes()[:3000])
    with pytest.warns(UserWarning, match=r"left out: cannot read .*cut\.h5"):
        assert len(oodbench.load_results(tmp_path)) == 1 + len(METRICS)
    cell.path.unlink()
    with pytest.raises(OodbenchError, match=r"cannot read .*cut\.h5"):
        oodbench.load_results(tmp_path)


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (lambda file: file.attrs.pop("suite"), "it does not say its suite"),
        (lambda file: file.attrs.pop("suite_fingerprint"), "it does not say its suite_fingerprint"),
        (lambda file: file.pop("id"), "it has no scores of ID images"),
    ],
)
def test_a_file_of_our_format_that_no_run_wrote_is_named(oodbench, tmp_path, stored, harm, told):
    path = stored(tmp_path / "results").path
    with h5py.File(path, "a") as file:
        harm(file)
    for arguments in (["table"], ["check", "--reference", "measured"], ["report"]):
        code, out, err = oodbench(*arguments)
        assert (code, out) == (2, "")
        assert f"{path.relative_to(tmp_path)} is no result of `oodbench run` (" in err
        assert told in err


def test_cells_of_one_name_in_two_folders_are_told_apart(tmp_path, stored):
    stored(tmp_path / "mine")
    stored(tmp_path / "theirs", ood=[("letters", [0.0])])
    frame = oodbench.load_results(tmp_path)
    assert set(frame["cell"]) == {f"{folder}/digits/msp/seed1-abababababab" for folder in ("mine", "theirs")}


def test_a_detector_that_failed_has_a_row_without_a_value(tmp_path, stored):
    cell = stored(tmp_path, code="c" * 64)
    cell.note({"failed": "it ran out of luck", "failed_at": "linf/noise"}, {})
    frame = oodbench.load_results(tmp_path)
    assert list(frame.metric) == ["failed", "accuracy", *METRICS]
    assert set(frame["failed"]) == {"it ran out of luck"}
    assert set(frame["code"]) == {"c" * 64}
    assert np.isnan(frame["value"].iloc[0])
    assert (frame["task"].iloc[0], frame["current"].iloc[0]) == ("", "no")


@pytest.mark.parametrize(
    "other",
    [
        {"suite_version": 3, "suite_fingerprint": "e" * 64},
        {"pretrained": "digits/plain"},
        {"checkpoint": "a.safetensors"},
    ],
)
def test_a_failure_is_made_good_by_the_same_suite_and_kind_of_network_alone(tmp_path, stored, other):
    failed = {"failed": "it ran out of luck", "failed_at": "", "failed_on": "2025-12-31T00:00:00+00:00"}
    stored(tmp_path / "results", ood=[], code="a").note(failed, {})
    stored(tmp_path / "results", key="cd", code="b", **other)
    frame = oodbench.load_results(tmp_path / "results")
    assert list(frame.loc[frame["metric"] == "failed", "suite_version"]) == [2]
    stored(tmp_path / "results", key="ef", code="c")
    frame = oodbench.load_results(tmp_path / "results")
    assert "failed" not in set(frame["metric"])


def test_importing_oodbench_imports_nothing_heavy():
    script = "import sys, oodbench; assert 'load_results' in dir(oodbench); print('torch' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "False"
    with pytest.raises(AttributeError, match="no attribute 'load_result'"):
        _ = oodbench.load_result


def test_a_fixed_threshold_has_its_own_interval(tmp_path, stored):
    # As published, ROWL accepts what is not in its reject class. All four OOD images are accepted: all ID scores lie
    # above them, so an interval at 95 % of ID would be about zero.
    stored(tmp_path, detector="rowl", ood=[("letters", [0.5, 0.6, 0.7, 0.8])])
    frame = oodbench.load_results(tmp_path, convention="published", intervals=True).set_index("metric")
    fpr = frame.loc["fpr95"]
    assert fpr.value == 1
    assert (fpr.low, fpr.high) == pytest.approx(share_interval(4, 4))
    assert (frame.low <= frame.value).all()
    assert (frame.value <= frame.high).all()


def test_accuracy_has_an_interval_where_others_have_one(tmp_path, stored):
    stored(tmp_path)
    assert np.isnan(oodbench.load_results(tmp_path).set_index("metric").loc["accuracy", "low"])
    asked = oodbench.load_results(tmp_path, intervals=True).set_index("metric").loc["accuracy"]
    assert (asked.low, asked.high) == share_interval(7, 8)


def test_folders_whose_names_are_no_text_are_in_every_format(oodbench, tmp_path, stored):
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    stored(folder)
    for form in ("json", "csv", "plain"):
        code, out, err = oodbench("table", str(folder), "--format", form)
        assert code == 0, err
        if form == "json":
            assert {row["out"].rpartition("/")[2] for row in json.loads(out)} == {"caf\\udce9"}
