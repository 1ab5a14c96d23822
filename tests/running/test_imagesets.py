"""The images of a run, checked before anything is worked out: ID test images without labels, and half with some."""

from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from oodbench.images.catalogue import load
from oodbench.images.packs import write_pack
from oodbench.metrics import accuracy, in_distribution_report
from oodbench.results.report import boards, render
from oodbench.results.store import cells
from oodbench.results.tables import load_results

MSP = Path(__file__).parents[2] / "results" / "reference" / "networks" / "digits" / "plain.safetensors"

SUITE = """
extends = "digits"
version = 1
ood = [{set = "letters", distance = "near"}]
[id]
test = "bare"
"""


@pytest.fixture
def suite(tmp_path):
    """A suite whose ID test set is the pack `bare`, which each test writes."""
    (tmp_path / "bare.toml").write_text(SUITE)
    return tmp_path / "bare.toml"


def write_bare(data, labels=lambda known: np.full(len(known), -1), of="digits-test"):
    digits = load(of, data)
    write_pack(data / "bare.h5", replace(digits, name="bare", labels=labels(digits.labels).astype(np.int64)))


def test_accuracy_counts_images_with_a_label_and_is_not_a_number_without_any():
    assert accuracy(np.array([0, 1, 2]), np.array([0, 2, -1])) == 0.5
    assert np.isnan(accuracy(np.array([0, 1]), np.array([-1, -1])))
    report = in_distribution_report(np.arange(3.0), np.array([0, 1, 2]), np.array([-1, -1, -1]), 0.5)
    assert report.fnr == pytest.approx(1 / 3) and np.isnan([report.accuracy, report.end_to_end_accuracy]).all()


def test_an_id_test_set_without_labels_is_scored_and_its_accuracy_unknown(oodbench, tmp_path, suite):
    write_bare(tmp_path / "data")
    asked = ("run", "--suite", suite, "--detector", "msp", "--checkpoint", MSP, "--limit", "60")
    code, out, err = oodbench(*asked)
    assert code == 0, err
    for arguments in (["--long"], ["--metric", "accuracy"]):
        out = oodbench("table", *arguments)[1]
        (row,) = [line for line in out.splitlines() if line.startswith(("| msp", "msp"))]
        assert row.rstrip(" |").endswith("unknown")
        assert "unknown on bare, whose images carry no labels" in out

    code, out, err = oodbench("table", "--format", "csv")
    frame = pd.read_csv(StringIO(out))
    assert code == 0 and frame[frame.metric == "accuracy"].value.isna().all()
    assert frame[frame.metric == "auroc"].value.between(0.5, 1).all()

    code, _, err = oodbench("check", "--reference", "own.csv", "--update")
    assert code == 0, err
    known = pd.read_csv(tmp_path / "own.csv")
    assert "accuracy" not in set(known.metric) and known.value.notna().all()
    code, out, err = oodbench("check", "--reference", "own.csv")
    assert code == 0, err
    by_name = oodbench("check", "--reference", "own.csv", "--suite", suite.stem)  # its file need not be named again
    assert by_name == (0, out, err)
    code, _, err = oodbench("check", "--reference", "own.csv", "--suite", f"{suite.stem}s")
    assert code == 2 and f"did you mean {suite.stem!r}?" in err
    shape = {
        "metric": "accuracy",
        "task": "id",
        "ood": "",
        "n_ood": 0,
        "epsilon": 0,
        "constants": "",
        "images_digest": "",
    }
    stated = known.iloc[:1].assign(**shape, value=0.9, tolerance=0.1)
    pd.concat([known, stated]).to_csv(tmp_path / "own.csv", index=False)
    assert "carry no labels" in oodbench("check", "--reference", "own.csv")[1]

    (board,) = boards(cells(tmp_path / "results"), tmp_path / "data")
    assert np.isnan(board.rows[0].accuracy) and b'"accuracy":null' in render([board])


def test_the_same_scores_with_and_without_labels(oodbench, tmp_path, suite):
    scores = []
    for labels in (lambda known: known, lambda known: 0 * known - 1):
        write_bare(tmp_path / "data", labels)
        code, _, err = oodbench("run", "--suite", suite, "--detector", "energy", "--checkpoint", MSP, "--rerun", "all")
        assert code == 0, err
        (group,) = [group for group in cells(tmp_path / "results")[-1].read() if group.role == "id"]
        scores.append(group.scores)
    assert np.array_equal(*scores)


def test_what_learns_from_labels_refuses_images_without(oodbench, tmp_path, suite):
    write_bare(tmp_path / "data")
    asked = ("run", "--suite", suite, "--limit", "30")
    code, _, err = oodbench(
        *asked, *("--detector", "mahalanobis", "--checkpoint", MSP), *("--set", "mahalanobis.tuning=id-test")
    )
    assert code == 2 and "carry no labels" in err and "--set tuning=heldout" in err
    suite.write_text(SUITE.replace('test = "bare"', 'train = "bare"\nheldout = 10'))
    trained = oodbench(*asked, "--detector", "msp")
    fitted = oodbench(*asked, "--detector", "knn", "--detector", "rmds", "--checkpoint", MSP)
    tuned = oodbench(*asked, "--detector", "mahalanobis", "--checkpoint", MSP)
    named = ("the network that is to be trained", "rmds", "mahalanobis")
    for (code, _, err), name in zip((trained, fitted, tuned), named, strict=True):
        assert code == 2 and f"labelled images is asked for ({name}): label them" in err


def test_what_reads_no_labels_learns_the_same_with_and_without(oodbench, tmp_path, suite):
    suite.write_text(SUITE.replace('test = "bare"', 'test = "digits-test"\ntrain = "bare"\nheldout = 10'))
    blind = ["knn", "odin", "react", "vim"]
    asked = ["run", "--suite", suite, "--checkpoint", MSP, "--jobs", "1", "--set", "vim.dimensions=64"]
    asked += [word for name in blind for word in ("--detector", name)]
    found = []
    for out, labels in (("labelled", lambda known: known), ("bare", lambda known: 0 * known - 1)):
        write_bare(tmp_path / "data", labels, of="digits-train")
        code, _, err = oodbench(*asked, "--out", out)
        assert code == 0, err
        found.append([next(group.scores for group in cell.read() if group.role == "id") for cell in cells(Path(out))])
    assert len(found[0]) == len(blind)
    for with_labels, without in zip(*found, strict=True):
        assert np.array_equal(with_labels, without)


def test_half_a_set_of_labels_is_refused_with_the_count(oodbench, tmp_path, suite):
    write_bare(tmp_path / "data", lambda known: np.where(np.arange(len(known)) < 7, -1, known))
    code, _, err = oodbench("run", "--suite", suite, "--detector", "msp", "--checkpoint", MSP)
    assert code == 2 and "has no label (-1) for 7 of its" in err


def test_training_images_of_some_classes_are_enough_for_what_reads_no_labels(oodbench, tmp_path, suite):
    """As Imagenette's ten classes are for a network of ImageNet's thousand."""
    train, rows = load("digits-train", tmp_path), slice(8)
    few = replace(train, name="few", images=train.images[rows], labels=np.full(8, 3), indices=np.arange(8))
    write_pack(tmp_path / "data" / "few.h5", few)
    suite.write_text(SUITE.replace('test = "bare"', 'train = "few"\nheldout = 1'))
    asked = ("run", "--suite", suite, "--checkpoint", MSP, "--limit", "30")
    code, out, err = oodbench(*asked, "--detector", "knn", "--set", "knn.k=5")
    assert code == 0, err
    assert "\nknn " in out
    code, _, err = oodbench(*asked, "--detector", "rmds")
    assert code == 2
    assert "rmds: there are 7 ID training images for 10 classes" in err


def write(data, name, images):
    """A pack of images that have another name elsewhere, without labels and in another order."""
    labels = np.full(len(images), -1)
    write_pack(data / f"{name}.h5", replace(images, name=name, images=images.images[::-1], labels=labels))


COPIED = """
extends = "digits"
version = 1
ood = [{set = "letters", distance = "near"}, {set = "photo-patches", distance = "far"}]
"""


@pytest.mark.parametrize(
    ("of", "changed", "detector", "told"),
    [
        ("digits-train", '[id]\ntest = "copy"', "knn", "all 1,297 images of digits-train are images of copy"),
        ("letters", '[outliers]\nset = "copy"\nreserved = 5', "oe", "all 500 images of letters are images of copy"),
        ("digits-test", "", "msp", "all 500 images of copy are images of digits-test"),
        ("digits-train", "", "knn", "all 1,297 images of copy are images of digits-train"),
    ],
    ids=["tested on what was trained on", "OOD in outliers", "OOD is ID test", "OOD is ID training"],
)
def test_a_copy_under_another_name_is_refused(oodbench, tmp_path, of, changed, detector, told):
    write(tmp_path / "data", "copy", load(of, tmp_path))
    text = f"{COPIED}{changed}" if changed else COPIED.replace("photo-patches", "copy")
    (tmp_path / "copied.toml").write_text(text)
    code, _, err = oodbench("run", "--suite", tmp_path / "copied.toml", "--detector", detector, "--dry-run")
    assert code == 2 and told in err


def test_images_that_two_sets_share_are_counted_and_scored_and_told_with_the_figures(oodbench, tmp_path):
    """Also those that are held out, and whatever part of the sets a run takes."""
    letters, train = load("letters", tmp_path).first(40), load("digits-train", tmp_path)
    _, heldout = train.split(97)
    id_test = load("digits-test", tmp_path)
    mixed = np.concatenate([letters.images, heldout.images[:30], id_test.images[:5], letters.images[:20]])
    write_pack(tmp_path / "data" / "mixed.h5", replace(letters, name="mixed", images=mixed, labels=np.full(95, -1)))
    (tmp_path / "part.toml").write_text(COPIED.replace("letters", "mixed"))
    asked = ("run", "--suite", tmp_path / "part.toml", "--detector", "knn", "--checkpoint", MSP, "--limit", "20")
    code, _, err = oodbench(*asked, "--set", "knn.k=5")
    assert code == 0, err
    rests = "figures that rest on these are too good or too bad"
    told = [
        f"30 of 95 images of mixed are images of digits-train: {rests}",
        f"5 of 95 images of mixed are images of digits-test: {rests}",
        "20 of 95 images of mixed repeat others of it: intervals take each for another image, and are too narrow",
    ]
    assert [line.strip() for line in err.splitlines() if "WARNING" in line] == [f"WARNING {line}" for line in told]
    frame = load_results(tmp_path / "results")
    assert dict(zip(frame["ood"], frame["images_note"], strict=True)) == {
        "mixed": "; ".join(told),
        "photo-patches": "",
        "": "",  # ID accuracy, and figures on other sets, do not rest on them
    }
    for command in (["table"], ["table", "--long"], ["threshold", "--keep", "0.5"]):
        said = " ".join(oodbench(*command)[1].split())
        assert all(f"{line}." in said for line in told)
    (board,) = boards(cells(tmp_path / "results"), tmp_path / "data")
    assert all(line in " ".join(board.basis.values()) for line in told)
    code, _, err = oodbench("run", "--suite", "digits", *asked[3:], "--rerun", "all", "--set", "knn.k=5")
    assert code == 0 and "WARNING" not in err
