"""Measured figures of a reference beside a table: of the same run, numbers of images and images."""

import json

from tests.results.tables.test_layout import rows


def test_measured_figures_of_a_reference_are_not_called_published(oodbench, tmp_path, stored):
    stored(tmp_path / "results", ood=[("a", [0.0, 1.0, 9.5, 9.5])], checkpoint="plain.safetensors")
    assert oodbench("check", "--reference", "mine.csv", "--update")[0] == 0
    code, out, _ = oodbench("table", "--by", "ood", "--metric", "fpr95", "--compare", "mine.csv")
    assert code == 0
    heading, _, row = rows(out)
    assert (heading[-1], row[-1]) == ("FPR@95 reference", "50.00")
    assert "reference: measured by oodbench" in out
    assert "(seed 1, plain.safetensors), a machine, 2026-01-01." in out
    assert "published" not in out


def test_a_measured_figure_stands_beside_the_same_run_and_never_beside_other_numbers_of_images(
    oodbench, tmp_path, stored
):
    few, whole = [("a", [0.0] * 4)], [("a", [0.0, 1.0, 9.5, 9.5])]
    stored(tmp_path / "few", ood=few, limit=4)
    stored(tmp_path / "other", ood=few, seed=2)
    stored(tmp_path / "whole", ood=whole)
    for folder in ("few", "other", "whole"):
        assert oodbench("check", folder, "--reference", "mine.csv", "--update")[0] == 0
    table = ("--by", "ood", "--metric", "fpr95", "--compare", "mine.csv")
    assert rows(oodbench("table", "whole", *table)[1])[2][-2:] == ["50.00", "50.00"]
    assert rows(oodbench("table", "other", *table)[1])[2][-2:] == ["0.00", "0.00"]
    stored(tmp_path / "fewer", ood=whole, limit=2)
    code, out, _ = oodbench("table", "fewer", *table)
    assert code == 0
    assert rows(out)[2][-1] == ""
    assert "reference: no figure is known for what was measured here." in out


def test_a_mean_over_fewer_sets_stands_beside_no_figure_over_all(oodbench, tmp_path, stored):
    means, sets = json.dumps({"all": ["a", "b"]}), [("a", [0.0, 1.0, 9.5, 9.5]), ("b", [0.0] * 4)]
    stored(tmp_path / "results", ood=sets, means=means)
    assert oodbench("check", "--reference", "mine.csv", "--update")[0] == 0
    told = oodbench("table", "--metric", "fpr95", "--compare", "mine.csv")[1]
    assert rows(told)[2][2:] == ["25.00", "25.00"]
    stored(tmp_path / "some", ood=sets[:1], means=means)
    told = oodbench("table", "some", "--metric", "fpr95", "--compare", "mine.csv")[1]
    assert "50.00" in told
    assert "25.00" not in told
    assert "Left out of the suite's OOD sets: b." in told


def test_no_measured_figure_stands_beside_other_images_of_the_same_name(oodbench, tmp_path, stored):
    prints = {"digits-test": "1" * 64, "a": "a" * 64, "b": "b" * 64}
    sets = [("a", [0.0] * 4), ("b", [0.0] * 4)]
    stored(tmp_path / "ours", ood=sets, fingerprints=prints, checkpoint="plain.safetensors")
    stored(tmp_path / "theirs", ood=sets, fingerprints=prints | {"a": "c" * 64}, checkpoint="plain.safetensors")
    assert oodbench("check", "ours", "--reference", "mine.csv", "--update")[0] == 0
    table = ("--by", "ood", "--metric", "fpr95", "--compare", "mine.csv")
    assert [row[-1] for row in rows(oodbench("table", "ours", *table)[1])[2:]] == ["0.00", "0.00"]
    assert [row[-1] for row in rows(oodbench("table", "theirs", *table)[1])[2:]] == ["", "0.00"]
