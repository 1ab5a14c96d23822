"""OpenOOD's leaderboard as a reference: what its figures become, and what is no such file."""

import re

import numpy as np
import pytest
from realimages import SHARED, needs_real_images

import oodbench as ood
from oodbench.basics.errors import OodbenchError
from oodbench.results import reference
from oodbench.results.leaderboard import Board, names, rows

HEAD = "Training,Postprocessor,Near-OOD_AUROC,Far-OOD_AUROC,ID_Accuracy,Outlier_Data,Arch,Additional_Description\n"
CIFAR = Board("cifar10", "1.5", "28d3a40")
IMAGENET = Board("imagenet1k_ood", "1.5", "28d3a40")


def found(line, board=CIFAR):
    frame = rows(HEAD + line, board, "board.csv").astype(object).fillna("")
    return [tuple(row) for row in frame[["detector", "ood", "metric", "value", "sd"]].itertuples(index=False)]


def test_a_line_becomes_a_row_for_each_figure():
    assert found("CrossEntropy,MSP,88.03 ± 0.25,90.73 ± 0.43,95.06 ± 0.30,No,ResNet18,100 epochs\n") == [
        ("msp", "mean:near", "auroc", 0.8803, 0.0025),
        ("msp", "mean:far", "auroc", 0.9073, 0.0043),
        ("msp", "", "accuracy", 0.9506, 0.003),
    ]


def test_rows_say_who_printed_them_and_what_they_are_of():
    frame = rows(HEAD + "CrossEntropy,EBO,1,2,3,No,ResNet18,100 epochs\n", CIFAR, "board.csv")
    row = frame.iloc[0]
    assert row[["suite", "detector", "id_set", "network", "n_id", "convention", "source"]].tolist() == [
        "cifar10-openood", "energy", "openood-cifar10-id", "resnet18-32x32", 9000, "openood", "published",
    ]  # fmt: skip
    assert row["reference"] == "OpenOOD v1.5 leaderboard, commit 28d3a40, cifar10.csv"
    assert frame["task"].tolist() == ["clean", "clean", "id"]


@pytest.mark.parametrize(
    ("line", "detector"),
    [
        ("CrossEntropy,fDBD,1,2,3", "fdbd"),
        ("CrossEntropy,MLS,1,2,3", "maxlogit"),
        ("CrossEntropy,WeiPer+KLD,1,2,3", "weiper+kld"),
        ("RotPred + PixMix,RotPred,1,2,3", "rotpred+pixmix+rotpred"),
        ("ARPL,ARPL,1,2,3", "arpl"),
        ("PixMix,KNN,1,2,3", "pixmix+knn"),
        ("OE,MSP,1,2,3", "oe"),
        ("VOS,EBO,1,2,3", "vos"),
    ],
)
def test_methods_are_called_as_here_and_with_their_training(line, detector):
    assert {name for name, *_ in found(f"{line},No,ResNet18,\n")} == {detector}


def test_a_figure_that_is_not_there_makes_no_row():
    assert found("CIDER,KNN,90.71,94.71,/,No,ResNet18,\n") == [
        ("cider+knn", "mean:near", "auroc", 0.9071, ""),
        ("cider+knn", "mean:far", "auroc", 0.9471, ""),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "board.csv lacks the columns Near-OOD_AUROC"),
        ("a,b\n1,2\n", "lacks the columns"),
        (HEAD, "board.csv has no figures"),
        (HEAD + "CrossEntropy,MSP,high,2,3,No,ResNet18,\n", "line 2: Near-OOD_AUROC is 'high', expected a percentage"),
        (HEAD + "CrossEntropy,MSP,1,2,101,No,ResNet18,\n", "line 2: ID_Accuracy is '101'"),
        (HEAD + "CrossEntropy,MSP,1,nan,3,No,ResNet18,\n", "line 2: Far-OOD_AUROC is 'nan'"),
        (HEAD + "CrossEntropy,MSP,1,2\n", "line 2: has another number of columns"),
        (HEAD + "CrossEntropy,MSP,1,2,3,No,ResNet18,,,\n", "line 2: has another number of columns"),
    ],
)
def test_what_is_no_leaderboard_is_said(text, said):
    with pytest.raises(OodbenchError, match=re.escape(said)):
        rows(text, CIFAR, "board.csv")


@pytest.mark.parametrize(
    ("board", "said"),
    [
        (("cifar", "1.5", "28d3a40"), "unknown board 'cifar'"),
        (("cifar10", "1.5", "main"), "commit 'main' is not valid"),
        (("cifar10", "new", "28d3a40"), "version 'new' is not valid"),
    ],
)
def test_a_board_is_named_by_version_and_commit(board, said):
    with pytest.raises(OodbenchError, match=re.escape(said)):
        Board(*board)


def test_figures_stand_beside_those_that_were_measured(oodbench, tmp_path, monkeypatch):
    (tmp_path / "cifar10.csv").write_text(HEAD + "CrossEntropy,MSP,88.03 ± 0.25,90.73,95.06,No,by-hand,100 epochs\n")
    code, out, err = oodbench("reference", "import", "openood", "cifar10.csv", "--commit", "28d3a40", "-o", "board.csv")
    assert code == 0, err
    assert "3 figures of 1 method," in out
    generator = np.random.default_rng(0)
    sets = {name: {"logits": generator.normal(size=(9, 10))} for name in ("near", "far")}
    known = {"logits": 3 * np.eye(10) + generator.normal(size=(10, 10)), "labels": range(10)}
    ood.write_features("pack", known, sets, near=["near"], suite="openood-cifar10-id", network="by-hand")
    code, _, err = oodbench("run", "--features", "pack", "--detector", "msp")
    assert code == 0, err
    board = reference.read(tmp_path / "board.csv")
    reference.write(board.assign(id_set="openood-cifar10-id-test"), tmp_path / "board.csv")
    compared = ("table", "results", "--compare", "board.csv", "--convention", "openood", "--by", "mean")
    code, out, err = oodbench(*compared, "--metric", "auroc")
    assert code == 0, err
    near = next(line for line in out.splitlines() if "near" in line and "msp" in line)
    assert "88.03" in near
    assert "OpenOOD v1.5 leaderboard, commit 28d3a40, cifar10.csv" in out


@needs_real_images
@pytest.mark.parametrize(
    ("name", "board", "methods", "figures"), [("cifar10", CIFAR, 61, 179), ("imagenet1k_ood", IMAGENET, 97, 289)]
)
def test_every_figure_of_a_real_board_is_read(name, board, methods, figures):
    folder = SHARED / "spec" / "golden" / "openood-board"
    frame = rows((folder / f"{name}.csv").read_text(), board, name)
    assert (len(frame.drop_duplicates(["detector", "network", "note"])), len(frame)) == (methods, figures)
    assert set(names()) == {file.stem for file in folder.glob("*.csv")}
    ours = {"knn", "vim", "gen", "maxlogit", "energy", "fdbd", "scale", "she", "dice", "gradnorm", "klm"}
    assert ours <= set(frame["detector"])
