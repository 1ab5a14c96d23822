"""Operating points from stored scores: chosen on one half of the ID images, reported on the other."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest

from oodbench.basics.errors import OodbenchError
from oodbench.results.store import Cell, Scores
from oodbench.results.tables.operating import OTHER_SCORE, TUNED_ON_TEST, chooses_threshold, operating_points

N = 200


def cell_of(folder, detector="msp", attacked_id=0.0, count=N):
    """ID scores 1 to `count` in a mixed order; OOD scores of which a quarter lie above all of them."""
    cell = Cell(folder / "digits" / detector / "seed1-abababababab.h5")
    about = {"suite": "digits", "suite_version": 1, "suite_fingerprint": "f" * 64, "detector": detector, "seed": 1}
    about |= {"network": "n", "network_digest": "d" * 64, "limit": 0, "images": 0, "settings": "", "checkpoint": ""}
    scores = np.random.default_rng(5).permutation(count) + 1.0

    def add(task, name, role, values):
        zeros = np.zeros(len(values), np.int64)
        kind = json.dumps({"kind": task})
        group = Scores(task, name, role, values, zeros, zeros, np.arange(len(values)), attributes={"constants": kind})
        cell.add(group, about)

    add("id", "ids", "id", scores)
    if attacked_id:
        add("linf", "ids", "id", scores - attacked_id)
    add("clean", "cats", "ood", np.r_[np.full(3, -1.0), count + 1.0])
    add("linf", "cats", "ood", np.r_[np.full(1, -1.0), np.full(3, count + 1.0)])
    return cell, scores


def test_a_threshold_is_chosen_on_one_half_and_reported_on_the_other(tmp_path):
    cell, scores = cell_of(tmp_path)
    half = chooses_threshold(np.arange(N))
    assert half.sum() == N // 2
    frame = operating_points([cell], [0.9], prevalence=0.1)
    expected = np.sort(scores[half])[9]  # 0.1 * 101 = 10.1 of the chosen half
    assert set(frame["threshold"]) == {expected}
    rejected = (scores[~half] < expected).mean()
    clean, linf = (frame[frame["task"] == task].iloc[0] for task in ("clean", "linf"))
    assert (clean["id_rejected"], clean["n_id"], clean["n_chosen_on"]) == (rejected, 100, 100)
    assert (clean["ood_accepted"], linf["ood_accepted"]) == (0.25, 0.75)
    assert clean["false_alarms"] == pytest.approx(900 * rejected)
    assert clean["alarms"] == pytest.approx(900 * rejected + 75)
    assert linf["alarms"] == pytest.approx(900 * rejected + 25)


def test_halves_are_the_same_images_for_all_and_of_parts_too():
    places = np.random.default_rng(1).permutation(1000)[:300]
    half = chooses_threshold(places)
    order = np.random.default_rng(2).permutation(300)
    assert np.array_equal(chooses_threshold(places[order]), half[order])
    assert half.sum() == 150


def test_attacked_id_images_are_held_against_the_threshold_of_clean_ones(tmp_path):
    cell, scores = cell_of(tmp_path, attacked_id=50.0)
    frame = operating_points([cell], [0.9])
    half, linf = chooses_threshold(np.arange(N)), frame[frame["task"] == "linf"].iloc[0]
    assert linf["id_rejected"] == (scores[~half] - 50 < linf["threshold"]).mean()
    assert linf["id_rejected"] > 0.25
    assert len(set(frame["threshold"])) == 1


def test_what_too_few_images_cannot_promise_is_said(tmp_path):
    cell, _ = cell_of(tmp_path, count=30)
    with pytest.raises(OodbenchError, match="of its ID images one half chooses: 15 ID images are too few .* 19"):
        operating_points([cell], [0.95])
    with pytest.raises(OodbenchError, match="prevalence is 2"):
        operating_points([cell], [0.5], prevalence=2)


def test_the_command_promises_and_delivers(oodbench, tmp_path):
    cell_of(tmp_path / "results")
    cell_of(tmp_path / "results", detector="odin")
    code, out, err = oodbench("threshold", "results", "--keep", "0.9", "--keep", "0.95", "--detector", "odin")
    assert code == 0, err
    assert "digits, 90 % of ID images kept" in out and "digits, 95 % of ID images kept" in out
    assert "Promised: at least 95 % of ID images are kept in expectation over the 100 images chosen on." in out
    assert "msp" not in out
    code, out, _ = oodbench("threshold", "results", "--delta", "0.1", "--format", "csv")
    rows = list(csv.DictReader(out.splitlines()))
    assert {row["detector"] for row in rows} == {"msp", "odin"}
    assert {row["delta"] for row in rows} == {"0.1"}
    assert oodbench("threshold", "results", "--keep", "95")[0] == 2
    code, _, err = oodbench("threshold", "results", "--detector", "odinn")
    assert (code, "did you mean 'odin'" in err) == (2, True)


def test_the_command_keeps_to_suites_and_tasks_that_are_named(oodbench, tmp_path):
    cell, _ = cell_of(tmp_path / "results")
    letters = Cell(tmp_path / "results" / "letters" / "msp" / "seed1-cdcdcdcdcdcd.h5")
    for group in cell.read():
        letters.add(replace(group, scores=2 * group.scores), cell.attributes() | {"suite": "letters"})
    code, out, err = oodbench("threshold", "results", "--suite", "letters", "--task", "linf", "--format", "csv")
    assert code == 0, err
    rows = list(csv.DictReader(out.splitlines()))
    assert {(row["suite"], row["task"], row["ood_accepted"]) for row in rows} == {("letters", "linf", "0.75")}
    code, out, err = oodbench("threshold", "results", "--suite", "digits", "--task", "clean")
    assert code == 0, err
    assert "25.00" in out and "75.00" not in out and "letters" not in out
    for option, name, meant in (("--suite", "letter", "letters"), ("--task", "lin", "linf")):
        code, _, err = oodbench("threshold", "results", option, name)
        assert (code, f"did you mean {meant!r}" in err) == (2, True)


def test_the_command_knows_the_code_of_a_plugin(oodbench, tmp_path):
    cell, _ = cell_of(tmp_path / "results", detector="mine")
    for group in cell.read():
        cell.add(group, cell.attributes() | {"code": "another"})
    plugin = tmp_path / "mine.py"
    plugin.write_text("from oodbench.detectors.msp import MSP\n\n\nclass Mine(MSP):\n    name = 'mine'\n")
    stale = "Made by other code than the method has today"
    assert stale not in oodbench("threshold", "results", "--keep", "0.9")[1]  # nobody can know
    code, out, err = oodbench("threshold", "results", "--keep", "0.9", "--plugin", str(plugin))
    assert (code, stale in out) == (0, True), err


def test_alarms_at_several_prevalences_stand_side_by_side(oodbench, tmp_path):
    cell_of(tmp_path / "results")
    code, out, err = oodbench("threshold", "results", "--prevalence", "0.5", "--prevalence", "0.01")
    assert code == 0, err
    assert "alarms at 1 %    false at 1 %    alarms at 50 %    false at 50 %" in out
    assert "of 1,000 images of which 1 or 50 % are OOD" in out
    code, out, _ = oodbench("threshold", "results", "--prevalence", "0.5", "--prevalence", "0.01", "--format", "json")
    rows = json.loads(out)
    assert [row["prevalence"] for row in rows] == [0.01, 0.01, 0.5, 0.5]
    for row in rows:
        rejected, caught = row["id_rejected"], 1 - row["ood_accepted"]
        expected = 1000 * ((1 - row["prevalence"]) * rejected + row["prevalence"] * caught)
        assert row["alarms"] == pytest.approx(expected)


def test_suites_and_results_of_one_name_are_told_apart(oodbench, tmp_path):
    cell, _ = cell_of(tmp_path / "results")
    twin = Cell(cell.path.with_name("seed1-cdcdcdcdcdcd.h5"))
    other = Cell(cell.path.with_name("seed1-efefefefefef.h5"))
    for group in cell.read():
        twin.add(replace(group, scores=2 * group.scores), cell.attributes() | {"code": "another"})
        other.add(group, cell.attributes() | {"suite_version": 2, "suite_fingerprint": "e" * 64})
    code, out, err = oodbench("threshold", "results", "--keep", "0.9")
    assert code == 0, err
    assert "digits (version 1, fingerprint ffffffff), 90 % of ID images kept" in out
    assert "digits (version 2, fingerprint eeeeeeee), 90 % of ID images kept" in out
    assert {line.split("  ")[0] for line in out.splitlines() if line.startswith("msp")} == {
        "msp (seed 1) ababab",
        "msp (seed 1) cdcdcd",
        "msp (seed 1)",
    }


@pytest.mark.parametrize("scores", [lambda ranks: np.exp(ranks / 100 - 30), lambda ranks: -6.90675478 + 1e-9 * ranks])
def test_a_threshold_is_printed_so_that_it_can_be_read_back(oodbench, tmp_path, scores):
    """At a rounded one every image was accepted, or every one rejected."""
    cell, ranks = cell_of(tmp_path / "results")
    for group in cell.read():
        cell.add(replace(group, scores=scores(group.scores)), cell.attributes())
    half = chooses_threshold(np.arange(N))
    expected = np.sort(scores(ranks)[half])[9]
    texts = oodbench("threshold", "results", "--keep", "0.9")[1].splitlines()
    assert float(next(line for line in texts if line.startswith("msp")).split()[3]) == expected
    rows = json.loads(oodbench("threshold", "results", "--keep", "0.9", "--format", "json")[1])
    rows += list(csv.DictReader(oodbench("threshold", "results", "--keep", "0.9", "--format", "csv")[1].splitlines()))
    assert {float(row["threshold"]) for row in rows} == {expected}


def rows_of(text):
    return list(csv.DictReader(text.splitlines()))


def test_what_is_flagged_has_its_sign_and_what_that_means(oodbench, tmp_path):
    """Of two of four images an attack could not climb, which a threshold catches for no other reason."""
    cell, _ = cell_of(tmp_path / "results", attacked_id=5.0)
    group = cell.group("linf", "cats")
    cell.add(replace(group, extras={"stuck": np.array([1.0, 1.0, 0.0, 0.0])}), cell.attributes())
    code, out, err = oodbench("threshold", "results", "--keep", "0.9")
    assert code == 0, err
    clean, linf = (next(line.split() for line in out.splitlines() if f" {task} " in line) for task in ("clean", "linf"))
    assert [text[-1] == "‡" for text in clean[-4:]] == [False] * 4
    assert [text[-1] == "‡" for text in linf[-4:]] == [True] * 4  # ID images are attacked, too
    assert "\n‡ not to be believed, may be off by (points): msp (seed 1) linf " in out
    assert "`oodbench table --long` says what is behind each." in out
    of_csv = rows_of(oodbench("threshold", "results", "--keep", "0.9", "--format", "csv")[1])
    found = {row["task"]: (row["flag"], row["off_by"], row["id_attacked"]) for row in of_csv}
    assert found["clean"] == ("", "", "no")
    assert (found["linf"][0], found["linf"][2]) == ("‡", "yes")
    assert 0.05 < float(found["linf"][1]) <= 1
    of_json = json.loads(oodbench("threshold", "results", "--keep", "0.9", "--format", "json")[1])
    assert [(row["flag"], row["off_by"]) for row in of_json if row["task"] == "clean"] == [("", None)]


def test_one_cell_with_too_few_images_is_named_and_the_others_go_on(oodbench, tmp_path):
    cell_of(tmp_path / "results")
    cell_of(tmp_path / "results", detector="energy", count=20)
    why = "of its ID images one half chooses: 10 ID images are too few to promise that 95 % are kept: it takes 19"
    code, out, err = oodbench("threshold", "results")
    assert code == 0, err
    assert f"Left out: energy (seed 1): {why}; give more, or promise less." in out
    assert [line.split()[0] for line in out.splitlines() if " clean " in line] == ["msp"]
    code, out, err = oodbench("threshold", "results", "--format", "csv")
    assert code == 0
    assert f"WARNING: Left out: energy (seed 1): {why}" in err
    found = {row["detector"]: row for row in rows_of(out)}
    assert found["energy"]["left_out"].startswith(why)
    assert (found["energy"]["threshold"], found["energy"]["task"], found["msp"]["left_out"]) == ("", "", "")
    code, out, _ = oodbench("threshold", "results", "--keep", "0.9", "--keep", "0.999")
    assert code == 0
    assert "digits, 99.9 % of ID images kept\n\nLeft out: energy" in out
    code, out, err = oodbench("threshold", "results", "--keep", "0.999")
    assert (code, out) == (2, "")
    assert "energy (seed 1): of its" in err and "msp (seed 1): of its ID images one half chooses: 100 ID" in err


def test_a_detector_that_is_tuned_on_the_id_test_images_promises_nothing(oodbench, tmp_path):
    cell_of(tmp_path / "results")
    tuned, _ = cell_of(tmp_path / "results", detector="klm")
    tuned.note({"tuned": json.dumps({"source": "id-test", "id_images": N, "outliers": 0})}, tuned.attributes())
    code, out, err = oodbench("threshold", "results", "--format", "csv")
    assert code == 0, err
    rows = [(row["detector"], row["threshold"] != "", row["left_out"]) for row in rows_of(out)]
    assert rows == [("klm", False, TUNED_ON_TEST), ("msp", True, ""), ("msp", True, "")]
    assert f"Left out: klm (seed 1, tuned on ID test images): {TUNED_ON_TEST}." in oodbench("threshold", "results")[1]
    code, out, err = oodbench("threshold", "results", "--detector", "klm")
    assert (code, out) == (2, "") and TUNED_ON_TEST in err


def test_what_failed_is_missing_or_stale_is_named_as_below_a_table(oodbench, tmp_path):
    cell, _ = cell_of(tmp_path / "results")
    group = cell.group("clean", "cats")
    cell.add(replace(group, image_set="dogs"), cell.attributes())
    stale = {"network_digest": "e" * 64}
    clean = cell.group("id", "ids")
    cell.add(replace(clean, attributes={**clean.attributes, "network_digest": "d" * 64}), cell.attributes())
    linf = cell.group("linf", "cats")
    cell.add(replace(linf, attributes={**linf.attributes, **stale}), cell.attributes())
    cell_of(tmp_path / "results", detector="odin")
    failed = {"failed": "out of luck", "failed_at": "", "failed_on": "2026-01-01T00:00:00+00:00"}
    Cell(cell.path.parents[1] / "knn" / cell.path.name).note(failed, cell.attributes() | {"detector": "knn"})
    said = [
        "Failed: knn (seed 1): out of luck; the same run again tries it.",
        "Missing: odin (seed 1), clean: dogs; the same run again, without --only, goes on there.",
        "Stale and left out: msp (seed 1), linf: cats (the network is another one now); run it again.",
    ]
    code, out, err = oodbench("threshold", "results")
    assert code == 0, err
    assert [line for line in said if line not in out.splitlines()] == []
    code, out, err = oodbench("threshold", "results", "--format", "csv")
    assert code == 0
    assert [line for line in said if f"WARNING: {line}" not in err.splitlines()] == []
    found = {row["detector"]: row for row in rows_of(out)}
    assert (found["knn"]["failed"], found["knn"]["threshold"]) == ("out of luck", "")
    assert found["msp"]["stale"] == "linf: cats (the network is another one now)"
    assert found["odin"]["stale"] == found["odin"]["failed"] == ""
    code, _, err = oodbench("threshold", "results", "--detector", "knn")
    assert code == 2
    assert "no OOD image has a score yet in results" in err and said[0] in err


def test_a_task_of_another_score_is_named_and_stands_beside_no_threshold(oodbench, tmp_path):
    cell, _ = cell_of(tmp_path / "results")
    smoothed = cell.group("linf", "cats")
    about = {**smoothed.attributes, "id_task": "linf"}
    cell.add(replace(smoothed, attributes=about), cell.attributes())
    asked = ("threshold", "results", "--keep", "0.9", "--prevalence", "0.1", "--prevalence", "0.5")
    code, out, err = oodbench(*asked)
    assert code == 0, err
    assert out.count(f"Left out: msp (seed 1), linf: {OTHER_SCORE}.\n") == 1
    assert not [line for line in out.splitlines() if " linf " in line and "Left out" not in line]
    found = rows_of(oodbench(*asked, "--format", "csv")[1])
    assert [(row["task"], row["ood"], row["left_out"]) for row in found] == [
        ("clean", "cats", ""),
        ("linf", "", OTHER_SCORE),
    ] * 2
