"""Paired differences of a results folder: whose, on which images, and what is not compared."""

import json
from dataclasses import replace

import numpy as np
import pytest

from oodbench.basics.errors import OodbenchError
from oodbench.registry import code_of, discover
from oodbench.results.tables import View, against, flat, render, tidy
from oodbench.statistics.differences import Detection, differences

LETTERS, NOISE = [0.0, 1.0, 2.5, 9.0], [0.0, 0.0, 1.0, 2.0]


def test_each_detector_less_one_seed_by_seed(tmp_path, stored):
    cells = [
        stored(tmp_path, detector="msp", seed=1, ood=[("letters", LETTERS)]),
        stored(tmp_path, detector="msp", seed=2, ood=[("letters", NOISE)]),
        stored(tmp_path, detector="atom", seed=1, ood=[("letters", NOISE)]),
        stored(tmp_path, detector="atom", seed=2, ood=[("letters", NOISE)]),
    ]
    values = tidy(cells, {}).set_index(["detector", "seed", "metric"])["value"]
    paired = against(cells, {}, "msp")
    assert paired.left_out == ()
    assert set(paired.frame["detector"]) == {"atom − msp"}
    for seed in (1, 2):
        found = paired.frame[paired.frame["seed"] == seed].set_index("metric")
        expected = differences(*(Detection(np.arange(2.0, 10.0), np.array(ood)) for ood in (NOISE, LETTERS)))
        for metric in ("fpr95", "auroc", "aupr_out", "detection_error"):
            gained = values["atom", seed, metric] - values["msp", seed, metric]
            assert found.loc[metric, "value"] == pytest.approx(gained)
            assert found.loc[metric, "low"] <= gained <= found.loc[metric, "high"]
            if seed == 1:
                assert found.loc[metric, "high"] == expected[metric].high
        # Both networks recognise the same images, and in seed 2 both detectors give the same scores.
        assert tuple(found.loc["accuracy", ["value", "low", "high"]]) == (0, 0, 0)
        assert (found["low"] == found["high"]).all() == (seed == 2)


def test_a_table_of_differences_says_what_it_is(tmp_path, stored, oodbench):
    stored(tmp_path / "results", detector="msp", ood=[("letters", LETTERS)])
    stored(tmp_path / "results", detector="atom", ood=[("letters", NOISE)])
    code, out, err = oodbench("table", "--against", "msp", "--metric", "auroc")
    assert (code, err) == (0, "")
    assert "| atom − msp (seed 1) |" in out
    assert "AUROC, 95 % interval" in out
    assert "less that of msp of the same seed, on the same images" in out
    assert "FLAG" not in out  # what is flagged of a value means nothing of a difference
    code, out, _ = oodbench("table", "--against", "msp", "--format", "json")
    rows = json.loads(out)
    assert {row["against"] for row in rows} == {"msp"}
    assert all(row["low"] <= row["value"] <= row["high"] for row in rows)
    for form in ("plain", "latex", "html", "csv"):
        assert oodbench("table", "--against", "msp", "--format", form)[0] == 0
    assert oodbench("table", "--against", "msp", "--by", "ood", "--format", "csv")[0] == 0


def test_other_images_or_tasks_are_not_compared_and_said(tmp_path, stored, oodbench):
    results = tmp_path / "results"
    stored(results, detector="msp", ood=[("letters", LETTERS), ("noise", NOISE), ("fog", NOISE)])
    stored(results, detector="atom", ood=[("letters", LETTERS[:3]), ("noise", NOISE)])
    stored(results, detector="oe", seed=2)
    stored(results, detector="energy", limit=4)
    code, out, err = oodbench("table", "--against", "msp", "--by", "ood")
    assert code == 0
    assert "Not compared: atom (atom/seed1-abababababab), linf, letters: the images of letters are not the same." in err
    assert "Not compared: oe" in err
    assert "no result of msp with the same suite, seed 2" in err
    assert "seed 1, 4 images of each set" in err
    assert "Not compared: oe" in out
    rows = [line for line in out.splitlines() if line.startswith("| atom")]
    assert [row.split("|")[3].strip() for row in rows if "incomplete" not in row] == ["noise"]


def test_where_nothing_can_be_compared_it_is_an_error(tmp_path, stored, oodbench):
    results = tmp_path / "results"
    stored(results, detector="msp")
    code, out, err = oodbench("table", "--against", "msp")
    assert (code, out) == (2, "")
    assert "nothing can be compared with msp: there are no results of another detector." in err
    stored(results, detector="atom", seed=3)
    assert "seed 3" in oodbench("table", "--against", "msp")[2]
    assert "did you mean 'msp'" in oodbench("table", "--against", "mps")[2]
    assert "leave out one" in oodbench("table", "--against", "msp", "--compare", "published")[2]


def test_two_that_could_be_meant_are_named(tmp_path, stored):
    cells = [stored(tmp_path, settings=text, key=key) for text, key in (("a=1", "aa"), ("a=2", "bb"))]
    cells.append(stored(tmp_path, detector="atom", settings="a=2"))
    assert len(against(cells, {}, "msp").frame)  # the one that was changed in the same way
    cells.append(stored(tmp_path, detector="oe"))
    assert "2 results of msp could be meant" in against(cells, {}, "msp").left_out[0]


def test_labels_that_nobody_knows_give_no_difference_of_accuracy(tmp_path, stored):
    cells = [stored(tmp_path, detector=name, ood=[("letters", LETTERS)]) for name in ("msp", "atom")]
    for cell in cells:
        for group in cell.read():
            if group.role == "id":
                group.labels[:] = -1
                cell.add(group, cell.attributes())
    paired = against(cells, {}, "msp")
    assert "no labels" in paired.left_out[0]
    assert paired.frame.set_index("metric").loc["accuracy", "value"] != 0
    assert "auroc" in set(flat(paired.frame, View())["metric"])
    assert "nan" not in render(paired.frame, View(metrics=("auroc",)))


def test_numbers_of_images_must_agree():
    with pytest.raises(OodbenchError, match="3 ID and 2 OOD images against 3 and 1"):
        differences(Detection(np.ones(3), np.ones(2)), Detection(np.ones(3), np.ones(1)))


def test_a_difference_is_of_the_values_that_the_table_shows(tmp_path, stored):
    cells = [stored(tmp_path, detector=name, ood=[("letters", LETTERS)]) for name in ("msp", "energy")]
    for group in cells[0].read():  # what the paper's code printed ties where the score does not
        cells[0].add(replace(group, extras={"published": np.minimum(group.scores, 4.0)}), cells[0].attributes())
    registry = discover([])
    detectors = {name: registry[name] for name in ("msp", "energy")}
    values = tidy(cells, detectors, "published").set_index(["detector", "metric"])["value"]
    paired = against(cells, detectors, "msp", "published").frame.set_index("metric")
    assert values["energy", "auroc"] != values["msp", "auroc"]
    for metric in ("fpr95", "fpr95_oodpos", "auroc", "aupr_in", "aupr_out", "detection_error"):
        assert paired.loc[metric, "value"] == pytest.approx(values["energy", metric] - values["msp", metric]), metric


def test_where_id_images_are_attacked_the_shares_at_the_clean_threshold_are_compared_too(tmp_path, stored):
    cells = [stored(tmp_path, detector=name, ood=[("letters", LETTERS)]) for name in ("msp", "atom")]
    for cell, down in zip(cells, (1.0, 4.5), strict=True):
        (clean,) = (group for group in cell.read() if group.role == "id")
        cell.add(replace(clean, task="linf", scores=clean.scores - down), cell.attributes())
    values = tidy(cells, {}).set_index(["detector", "metric"])["value"]
    paired = against(cells, {}, "msp").frame.set_index("metric")
    for metric in ("fpr95_clean", "fnr_clean", "auroc"):
        row = paired.loc[metric]
        assert row.value == pytest.approx(values["atom", metric] - values["msp", metric]), metric
        assert row.low <= row.value <= row.high
    assert paired.loc["fnr_clean", "value"] > 0


def test_of_two_states_of_code_todays_is_taken_off(tmp_path, stored):
    registry = discover([])
    detectors = {name: registry[name] for name in ("msp", "energy")}
    cells = [
        stored(tmp_path, key="aa", ood=[("letters", LETTERS)], code="0" * 64),
        stored(tmp_path, key="bb", ood=[("letters", NOISE)], code=code_of(registry, "msp")),
        stored(tmp_path, detector="energy", ood=[("letters", NOISE)], code=code_of(registry, "energy")),
    ]
    paired = against(cells, detectors, "msp")
    assert paired.left_out == ()
    assert set(paired.frame["value"]) == {0}  # the same scores as today's has
    assert set(paired.frame["current"]) == {"yes"}
    assert set(against([cells[0], cells[2]], detectors, "msp").frame["current"]) == {"no"}
