"""Reference files: the figures that ship, read against the papers by eye, and what is refused."""

import json
import math

import numpy as np
import pytest

from oodbench.basics.errors import OodbenchError
from oodbench.registry import discover
from oodbench.results import reference
from oodbench.results.reference import COLUMNS, parse, read, shipped_reference, write
from oodbench.suitefiles import suitefile

ROW = dict(
    suite="digits", detector="msp", task="linf", ood="letters", metric="auroc", convention="default", value="0.5"
)


def text_of(*rows, columns=COLUMNS):
    lines = [",".join(columns)]
    return "\n".join(lines + [",".join(str(row.get(column, "")) for column in columns) for row in rows])


@pytest.fixture(scope="module")
def published():
    return shipped_reference("published")


def paper(published):
    return published[published["reference"].str.contains("Table 2")]


def test_the_papers_table_is_whole(published):
    table = paper(published)
    assert len(table) == 240
    assert table.groupby("id_set").size().to_dict() == {"svhn-test": 80, "cifar10-test": 80, "cifar100-test": 80}
    assert set(table.groupby(["id_set", "task"]).size()) == {20}
    methods = {"msp", "odin", "mahalanobis", "sofl", "oe", "acet", "ccu-msp", "rowl", "ntom", "atom"}
    assert set(table["detector"]) == methods
    assert set(table["metric"]) == {"fpr95", "auroc"}
    assert set(table["convention"]) == {"published"}
    assert set(table.loc[table["epsilon"] == 8, "task"]) == {"linf", "compositional"}


@pytest.mark.parametrize(
    ("id_set", "detector", "task", "fpr95", "auroc"),
    [
        ("svhn-test", "msp", "clean", 38.84, 93.57),
        ("svhn-test", "rowl", "compositional", 99.79, 50.00),
        ("svhn-test", "acet", "linf", 29.33, 86.75),
        ("cifar10-test", "atom", "clean", 1.69, 99.20),
        ("cifar10-test", "atom", "corruption", 25.26, 95.29),
        ("cifar10-test", "atom", "linf", 20.55, 88.94),
        ("cifar10-test", "atom", "compositional", 38.89, 86.71),
        ("cifar10-test", "ccu-msp", "corruption", 56.76, 89.38),
        ("cifar100-test", "mahalanobis", "linf", 95.44, 15.87),
        ("cifar100-test", "atom", "compositional", 93.44, 69.15),
    ],
)
def test_cells_of_the_papers_table(published, id_set, detector, task, fpr95, auroc):
    table = paper(published)
    rows = table[(table["id_set"] == id_set) & (table["detector"] == detector) & (table["task"] == task)]
    found = dict(zip(rows["metric"], 100 * rows["value"], strict=True))
    assert found == pytest.approx({"fpr95": fpr95, "auroc": auroc})


def test_figures_of_openood_and_energy_keep_their_convention(published):
    openood = published[(published["convention"] == "openood") & (published["network"] == "resnet18-32x32")]
    (row,) = openood[
        (openood["id_set"] == "openood-cifar10-id")
        & (openood["detector"] == "msp")
        & (openood["ood"] == "mean:near")
        & (openood["metric"] == "fpr95_oodpos")
    ].itertuples()
    assert (row.value, row.sd, row.n_id) == pytest.approx((0.4817, 0.0392, 9000))
    assert not (openood["metric"] == "fpr95").any()
    energy = published[published["convention"] == "energy-ood"]
    rows = energy[(energy["id_set"] == "cifar100-test") & (energy["detector"] == "energy")]
    assert dict(zip(rows["metric"], rows["value"], strict=True)) == {
        "fpr95": 0.7360,
        "auroc": 0.7956,
        "aupr_in": 0.9487,
    }


def test_a_figure_can_stand_beside_what_its_suite_measures(published):
    """It is looked up by these names, so a name that the suite does not have would hide it without a word."""
    named = published[published["suite"] != ""]
    assert set(named["suite"]) == {
        *("svhn-adv", "cifar10-adv", "cifar100-adv", "cifar10-openood", "cifar100-openood", "imagenet-openood")
    }
    detectors = {*discover().names(), "mds", "mds-ensemble"}  # of OpenOOD, and not the `mahalanobis` here
    for row in named.itertuples():
        suite = suitefile.load(row.suite)
        assert (row.id_set, row.network) == (suite.id.test, suite.network.name)
        assert row.ood.removeprefix("mean:") in suite.means
        assert row.epsilon == getattr(suite.tasks[row.task], "epsilon", 0)
        assert row.detector in detectors


def test_ten_leaderboard_figures_of_an_unstated_protocol(published):
    unstated = published[published["note"].str.startswith("protocol unstated")]
    assert set(unstated["convention"]) == {"unstated"}
    assert sorted(round(100 * value, 2) for value in unstated["value"]) == [
        *(1, 7.07, 37.84, 49.36, 55.87, 74.3, 96.69, 98.2, 98.3, 99.09)
    ]
    assert (unstated["detector"] == "").all()


def test_figures_under_attack_say_who_was_attacked_how_far_and_how_long(published):
    attacked = published[published["constants"] != ""]
    for row in attacked.itertuples():
        said = json.loads(row.constants)
        radius = said.get("epsilon", said.get("nominal_epsilon"))
        assert said["side"] in ("in", "out", "both")
        assert f"{radius}/255" in row.note
        assert said["kind"] != "pgd" or said["steps"] >= 40
        assert row.task == {"in": "linf-in", "out": "linf", "both": "linf-both"}[said["side"]]
        assert row.epsilon == said["epsilon"] if "epsilon" in said else np.isnan(row.epsilon)
    of_atd = attacked[attacked["reference"].str.contains("ATD")].set_index(["detector", "id_set", "task"])["value"]
    assert of_atd["atd", "cifar10-test", "linf-both"] == 0.693
    assert of_atd["hat+rmds", "cifar100-test", "linf-in"] == 0.443
    assert len(of_atd) == 27 * 2 * 3


def test_measured_figures_say_where_they_come_from():
    measured = shipped_reference("measured")
    for column in ("suite_fingerprint", "parameters", "seed", "oodbench", "torch", "hardware", "date", "n_id"):
        assert (measured[column] != "").all(), column
    assert set(measured["source"]) == {"measured"}
    assert (measured["tolerance"] > 0).all()
    given = measured[measured["checkpoint"] != ""]
    assert (given["network_digest"].str.len() == 64).all()
    assert (given.loc[given["metric"] == "auroc", "tolerance"] <= 2e-4).all()


def test_the_check_is_no_weaker_than_these_promises():
    """MSP falls to the attack, ATOM does not, and both read digits: also where the networks come out differently."""
    measured = shipped_reference("measured")
    whole = measured["suite"].eq("digits-adv") & (measured["images"] == 0)
    trained = measured[(measured["checkpoint"] == "") & whole].set_index(["detector", "task", "metric"])
    low, high = trained["value"] - trained["tolerance"], trained["value"] + trained["tolerance"]
    assert set(trained["sides"]) == {"both"}
    assert low["msp", "linf", "fpr95"] >= 0.95
    assert high["atom", "linf", "fpr95"] <= 0.10
    assert low["msp", "id", "accuracy"] >= 0.97
    assert low["atom", "id", "accuracy"] >= 0.97


def test_a_file_survives_reading_and_writing(tmp_path, published):
    write(published, tmp_path / "again.csv")
    again = read(tmp_path / "again.csv")
    assert again.equals(published[list(COLUMNS)])


def test_empty_numbers_are_not_known_but_for_what_counts_images():
    row = parse(text_of(ROW), "mine.csv").iloc[0]
    assert math.isnan(row["tolerance"])
    assert math.isnan(row["n_id"])
    assert (row["limit"], row["images"]) == (0, 0)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "mine.csv is not a CSV file"),
        ("<html>404</html>\n", "mine.csv lacks the columns suite, detector"),
        (text_of(ROW, columns=[name for name in COLUMNS if name != "value"]), "mine.csv lacks the columns value:"),
        (text_of(), "mine.csv has no rows"),
        (text_of(ROW, {**ROW, "ood": "b", "value": "high"}), "mine.csv, line 3: value is 'high', expected a number"),
        (text_of({**ROW, "value": "97.2"}), "expected a fraction"),
        (text_of({**ROW, "value": ""}), "expected a fraction"),
        (text_of({**ROW, "tolerance": "-0.1"}), "line 2: tolerance"),
        (text_of({**ROW, "low": "0.7", "high": "0.3"}), "line 2: low is '0.7'"),
        (text_of({**ROW, "sides": "left"}), "line 2: sides is 'left'"),
        (text_of(ROW, ROW), "line 3: this figure stands in an earlier line"),
        ('a,b\n1,2,3\n"', "is not a CSV file"),
    ],
)
def test_bad_files_are_told_what_is_wrong(text, told):
    with pytest.raises(OodbenchError) as caught:
        parse(text, "mine.csv")
    assert told in str(caught.value)


def test_what_is_not_there_is_told(tmp_path):
    with pytest.raises(OodbenchError, match="one of published, measured"):
        read(tmp_path / "none.csv")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(OodbenchError, match="breaks off"):
        read(tmp_path / "binary.csv")
    with pytest.raises(OodbenchError, match="did you mean 'published'"):
        reference.shipped_reference("publisched")
