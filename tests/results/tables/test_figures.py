"""What is said of an OOD set under one task beside its metrics, from sides made by hand."""

from dataclasses import replace

import numpy as np
import pytest

from oodbench.results.tables.figures import Side, attack_columns, metric_rows


def test_an_early_end_may_hide_the_share_of_images_times_what_they_need_not_pass():
    id_side = Side(np.arange(5.0), {}, {}, attacked=False)
    ood_side = Side(np.arange(4.0), {"retired": np.array([1.0, 0, 0, 0])}, {"stops_at": 0.996, "looks": 40})
    columns = attack_columns(id_side, ood_side)
    assert (columns["retired"], columns["looks"]) == (0.25, 10)
    assert columns["hidden"] == pytest.approx(0.001)


def test_what_an_attack_left_about_id_images_counts_where_they_were_attacked():
    id_side = Side(np.arange(20.0) - 8, {"stuck": np.ones(20)}, {"check_square": 0.5})
    ood_side = Side(np.array([0.5, 1.0, 1.5, 30.0]), {"stuck": np.zeros(4)}, {"check_square": 0.1})
    columns = attack_columns(id_side, ood_side)
    assert (columns["stuck"], columns["square"]) == (1, 0.5)
    assert "stuck" in columns["effects"]
    assert "stuck" not in attack_columns(replace(id_side, attacked=False), ood_side)["effects"]


def test_attacked_id_images_meet_the_threshold_from_before_the_attack():
    id_side = Side(np.arange(20.0) - 8, {}, {})
    ood_side = Side(np.array([0.5, 1.0, 1.5, 30.0]), {}, {})
    rows = metric_rows(id_side, ood_side, np.arange(20.0), "default", operating_point=None, intervals=False)
    values = {row["metric"]: row["value"] for row in rows}
    # 19 of the 20 clean ID images lie at 1 or above, as three of the OOD images do, and 11 of the attacked.
    assert (values["fpr95_clean"], values["fnr_clean"]) == (0.75, pytest.approx(0.45))
