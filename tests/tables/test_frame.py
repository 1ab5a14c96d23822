"""The tidy frame: what people compute on in notebooks."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

import oodbench
from oodbench import honesty
from oodbench.errors import OodbenchError
from oodbench.metrics import METRICS
from oodbench.tables.frame import COLUMNS


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
    with pytest.raises(OodbenchError, match=r"cannot read .*cut\.h5"):
        oodbench.load_results(tmp_path)


def test_one_cell_twice_would_count_twice(tmp_path, stored):
    stored(tmp_path / "mine")
    stored(tmp_path / "theirs")
    with pytest.raises(OodbenchError, match="results of the same run"):
        oodbench.load_results(tmp_path)
    assert len(oodbench.load_results(tmp_path / "mine")) == 1 + len(METRICS)


def test_importing_oodbench_imports_nothing_heavy():
    script = "import sys, oodbench; assert 'load_results' in dir(oodbench); print('torch' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "False"
    with pytest.raises(AttributeError, match="no attribute 'load_result'"):
        _ = oodbench.load_result
