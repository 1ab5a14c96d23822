"""Paired differences of a results folder: whose, on which images, and what is not compared."""

import json
from dataclasses import replace

import numpy as np
import pytest

from oodbench.basics.errors import OodbenchError
from oodbench.registry import code_of, discover
from oodbench.results.tables import View, flat_frame, paired_differences, render, tidy
from oodbench.statistics.differences import Detection, differences
from tests.results.tables.test_flags import flag

LETTERS, NOISE = [0.0, 1.0, 2.5, 9.0], [0.0, 0.0, 1.0, 2.0]


def test_each_detector_less_one_seed_by_seed(tmp_path, stored):
    cells = [
        stored(tmp_path, detector="msp", seed=1, ood=[("letters", LETTERS)]),
        stored(tmp_path, detector="msp", seed=2, ood=[("letters", NOISE)]),
        stored(tmp_path, detector="atom", seed=1, ood=[("letters", NOISE)]),
        stored(tmp_path, detector="atom", seed=2, ood=[("letters", NOISE)]),
    ]
    values = tidy(cells, {}).set_index(["detector", "seed", "metric"])["value"]
    paired = paired_differences(cells, {}, "msp")
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
    assert "FLAG value of msp (msp/seed1-abababababab), linf: 3.1% of all pairs" in out  # 9 is an ID score, too
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


PLAIN = {"objective": "Objective(id_batch=64)"}
"""What two detectors say that read any classifier."""


def test_detectors_that_read_a_classifier_are_compared_over_the_same_one(tmp_path, stored):
    cells = [
        stored(tmp_path, checkpoint="/nets/other.safetensors", network_digest="1" * 64, **PLAIN),
        stored(tmp_path, detector="energy", network_digest="2" * 64, network_file="own.safetensors", **PLAIN),
        stored(tmp_path, detector="knn", checkpoint="/nets/other.safetensors", network_digest="1" * 64, **PLAIN),
    ]
    paired = paired_differences(cells, {}, "msp")
    assert set(paired.frame["detector"]) == {"knn − msp"}
    assert paired.left_out == (
        "Not compared: energy (energy/seed1-abababababab): it is over network own.safetensors, weights 22222222, and "
        "msp over checkpoint other.safetensors, weights 11111111, so that a difference would be that of two networks.",
    )
    assert "Not one network" not in render(paired.frame)
    with pytest.raises(OodbenchError, match="nothing can be compared with msp: .* two networks"):
        paired_differences(cells[:2], {}, "msp")


def test_of_several_networks_the_same_one_is_taken_whatever_else_was_changed(tmp_path, stored):
    cells = [
        stored(tmp_path, network_digest="1" * 64, ood=[("letters", LETTERS)], settings="msp.a=1", **PLAIN),
        stored(tmp_path, key="cd", network_digest="2" * 64, ood=[("letters", NOISE)], **PLAIN),
        stored(tmp_path, detector="energy", network_digest="1" * 64, ood=[("letters", LETTERS)], **PLAIN),
    ]
    assert set(paired_differences(cells, {}, "msp").frame["value"]) == {0}


def test_results_of_before_their_training_was_stored_are_asked_of_the_method(tmp_path, stored):
    cells = [stored(tmp_path, network_digest="1" * 64)]
    cells += [stored(tmp_path, detector=name, network_digest="2" * 64) for name in ("energy", "atom")]
    registry = discover([])
    paired = paired_differences(cells, registry, "msp")
    assert set(paired.frame["detector"]) == {"atom − msp"}
    assert "two networks" in paired.left_out[0]
    assert "of which nobody knows how they were trained" in render(paired_differences(cells[:2], {}, "msp").frame)


def test_where_methods_train_networks_of_their_own_it_is_said_whose_is_which(tmp_path, stored):
    cells = []
    for seed in (1, 2):
        msp = {"network_file": "plain.safetensors", "network_digest": f"{seed}" * 64, **PLAIN}
        cells.append(stored(tmp_path, seed=seed, **msp))
        atom = {"network_file": "atom.safetensors", "network_digest": f"a{seed}" * 32, "objective": "Mining()"}
        cells.append(stored(tmp_path, detector="atom", seed=seed, **atom))
    paired = paired_differences(cells, {}, "msp")
    assert paired.left_out == ()
    text = render(paired.frame)
    assert (
        "Not one network: atom − msp (2 seeds): seed 1: atom over network atom.safetensors, weights a1a1a1a1, msp over "
        "network plain.safetensors, weights 11111111, which the methods have trained in different ways; seed 2: atom"
    ) in text
    assert "The difference is that of detector and network together." in text


def test_networks_of_one_seed_that_were_trained_alike_on_two_machines_are_compared(tmp_path, stored):
    about = {"network_file": "small-cnn-0123456789abcdef.safetensors", **PLAIN}
    cells = [
        stored(tmp_path, network_digest="1" * 64, **about),
        stored(tmp_path, detector="energy", network_digest="2" * 64, **about),
    ]
    paired = paired_differences(cells, {}, "msp")
    assert paired.left_out == ()
    assert "which were trained alike, and not to the same weights" in render(paired.frame)


BLIND = [("letters", [0.0, 0.5, 1.0, 1.5])]
"""OOD images that no ID image is below: AUROC 100 and FPR@95 0."""


def test_a_difference_has_the_worse_sign_of_its_two_values_and_is_not_the_best(tmp_path, stored):
    passed = [("letters", [9.1, 9.2, 9.3, 9.4])]
    base = stored(tmp_path, ood=passed)
    blocked = flag(stored(tmp_path, detector="blocked", ood=BLIND), {"blind": [1] * 4})
    others = [
        stored(tmp_path, detector="atom", ood=[("letters", [0.0, 0.5, 1.0, 9.1])]),
        stored(tmp_path, detector="oe", ood=[("letters", [0.0, 0.5, 9.1, 9.2])]),
    ]
    text = render(paired_differences([base, blocked, *others], {}, "msp").frame, View(metrics=("auroc",), sort="auroc"))
    shown = [[part.strip() for part in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| ")]
    assert [row[:1] + row[2:3] for row in shown[1:]] == [
        ["atom − msp (seed 1)", "**75.00**"],
        ["oe − msp (seed 1)", "50.00"],
        ["blocked − msp (seed 1)", "100.00‡"],
    ]
    assert "FLAG value of blocked (blocked/seed1-abababababab), linf: no gradient comes back" in text
    assert "not to be believed" in text and "‡ flagged" in text
    # What is taken off spoils every difference, and is said once.
    text = render(paired_differences([base, blocked, *others], {}, "blocked").frame, View(metrics=("auroc",)))
    assert text.count("FLAG value of blocked") == 1
    assert text.count("‡ |") == 3 and "**" not in text


def test_scores_of_the_wrong_sign_are_said_of_differences_too(tmp_path, stored):
    turned = [("letters", np.linspace(9.1, 9.9, 60))]
    cells = [stored(tmp_path, task="clean", ood=turned), stored(tmp_path, detector="atom", task="clean", ood=turned)]
    said = paired_differences(cells, {}, "msp").left_out
    assert [line.split(":")[0] for line in said] == [
        "FLAG msp (msp/seed1-abababababab)",
        "FLAG atom (atom/seed1-abababababab)",
    ]


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
    assert len(paired_differences(cells, {}, "msp").frame)  # the one that was changed in the same way
    cells.append(stored(tmp_path, detector="oe"))
    assert "2 results of msp could be meant" in paired_differences(cells, {}, "msp").left_out[0]


def test_labels_that_nobody_knows_give_no_difference_of_accuracy(tmp_path, stored):
    cells = [stored(tmp_path, detector=name, ood=[("letters", LETTERS)]) for name in ("msp", "atom")]
    for cell in cells:
        for group in cell.read():
            if group.role == "id":
                group.labels[:] = -1
                cell.add(group, cell.attributes())
    paired = paired_differences(cells, {}, "msp")
    assert "no labels" in paired.left_out[0]
    assert paired.frame.set_index("metric").loc["accuracy", "value"] != 0
    assert "auroc" in set(flat_frame(paired.frame, View())["metric"])
    assert "nan" not in render(paired.frame, View(metrics=("auroc",)))


def test_predictions_of_no_class_are_wrong_in_a_difference_of_accuracy(tmp_path, stored):
    cells = [stored(tmp_path, detector=name, ood=[("letters", LETTERS)]) for name in ("msp", "atom")]
    for group in cells[1].read():
        if group.role == "id":
            group.predictions[::2] = -1
            cells[1].add(group, cells[1].attributes())
    values = tidy(cells, {}).set_index(["detector", "metric"])["value"].xs("accuracy", level="metric")
    difference = paired_differences(cells, {}, "msp").frame.set_index("metric").loc["accuracy", "value"]
    assert difference == pytest.approx(values["atom"] - values["msp"]) and difference < 0


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
    paired = paired_differences(cells, detectors, "msp", "published").frame.set_index("metric")
    assert values["energy", "auroc"] != values["msp", "auroc"]
    for metric in ("fpr95", "fpr95_oodpos", "auroc", "aupr_in", "aupr_out", "detection_error"):
        assert paired.loc[metric, "value"] == pytest.approx(values["energy", metric] - values["msp", metric]), metric


def test_where_id_images_are_attacked_the_shares_at_the_clean_threshold_are_compared_too(tmp_path, stored):
    cells = [stored(tmp_path, detector=name, ood=[("letters", LETTERS)]) for name in ("msp", "atom")]
    for cell, down in zip(cells, (1.0, 4.5), strict=True):
        (clean,) = (group for group in cell.read() if group.role == "id")
        cell.add(replace(clean, task="linf", scores=clean.scores - down), cell.attributes())
    values = tidy(cells, {}).set_index(["detector", "metric"])["value"]
    paired = paired_differences(cells, {}, "msp").frame.set_index("metric")
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
    paired = paired_differences(cells, detectors, "msp")
    assert paired.left_out == ()
    assert set(paired.frame["value"]) == {0}  # the same scores as today's has
    assert set(paired.frame["current"]) == {"yes"}
    assert set(paired_differences([cells[0], cells[2]], detectors, "msp").frame["current"]) == {"no"}
