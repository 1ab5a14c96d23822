"""A detector goes to work: fitted to a file by one command, and set to images of all kinds by another."""

import csv
import io
import json
import re
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import oodbench as package
from oodbench.images import builtin
from oodbench.images.imageset import ImageSet
from oodbench.images.packs import write_pack
from oodbench.images.photographs import write_photographs
from oodbench.registry import discover
from oodbench.running.config import RunConfig
from oodbench.running.deployment import deployment
from oodbench.running.request import choose_device
from oodbench.scoring import exporting
from oodbench.scoring.graph_check import Agreement
from oodbench.statistics.conformal import discoveries

LETTERS = builtin.make("letters").first(70)
"""More than a batch."""


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """An energy on the digits' network, in a file."""
    registry = discover()
    config = RunConfig("digits", "energy", pretrained=True, device="cpu", out=tmp_path_factory.mktemp("out"))
    made = deployment(config.request(registry, choose_device("cpu")), registry).carry_out(print)
    path = tmp_path_factory.mktemp("fitted") / "energy.ood"
    made.save(path)
    return path


@pytest.fixture
def detector(fitted, tmp_path):
    shutil.copy(fitted, tmp_path / "energy.ood")
    return package.load_detector(fitted)


def png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def rows(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_fit_writes_a_file_that_scores_by_itself(oodbench, tmp_path):
    asked = ("fit", "--suite", "digits", "--detector", "knn", "--pretrained", "--limit", "60", "-o", "knn.ood")
    code, out, err = oodbench(*asked)
    assert code == 0, err
    assert "pretrained network digits/plain" in err
    assert "thresholds rest on 60 images: ID images held out of training\n" in err
    assert "about 120 forward and 0 backward passes" in err  # 60 to learn from, 60 to choose thresholds on
    assert "learned from 60 ID training images, digits-train" in out
    assert "60 images cannot promise that 99 % of ID images are kept: it takes 99" in out
    made = package.load_detector("knn.ood")
    assert f"to keep 95 % of ID images, call OOD what scores below {made.threshold(0.95).value!r}\n" in out
    assert made.about["suite"].startswith("digits, version 3, fingerprint ")
    assert made.about["network"]["pretrained"] == "digits/plain"
    assert len(made.calibration) == 60 and made(LETTERS).shape == (70,)
    before = Path("knn.ood").read_bytes()
    code, _, err = oodbench(*asked)
    assert (code, Path("knn.ood").read_bytes() == before) == (2, True)
    assert "there is a knn.ood already: name another file with -o, or say --replace" in err
    assert oodbench(*asked, "--replace")[0] == 0
    assert {path.name for path in tmp_path.iterdir()} == {"knn.ood"}


def test_export_prints_thresholds_in_full_since_a_graph_holds_none(oodbench, detector, monkeypatch):
    agreed = Agreement(share=0.0, off=0.0, score=1.0, scale=1.0, images=24, moved=6, reached=20)
    monkeypatch.setattr(exporting, "export", lambda made, output: output.touch() or exporting.Exported(output, agreed))
    code, out, err = oodbench("export", "energy.ood", "-o", "energy.pt2")
    assert code == 0, err
    limits = re.findall("keep (.*) % of ID images, call OOD what scores below (.*)$", out, re.MULTILINE)
    assert limits
    assert all(float(text) == detector.threshold(float(share) / 100).value for share, text in limits)


def test_thresholds_rest_on_images_that_neither_network_nor_detector_has_seen(oodbench):
    """Temperature scaling tunes itself on the held-out images, so one half of the test images serves."""
    asked = ("fit", "--suite", "digits", "--detector", "tempscale", "--pretrained", "-o", "t.ood")
    code, _, err = oodbench(*asked, "--calibrate", "heldout")
    assert (code, "tempscale tunes itself on the held-out ID images" in err) == (2, True)
    code, out, err = oodbench(*asked)
    assert code == 0, err
    assert "rest on 250 ID images, digits-test: one half of the ID test images digits-test" in out
    assert "tuned on 97 images held out of training" in out
    leaking = (*asked, "--set", "tuning=id-test", "--replace")
    code, _, err = oodbench(*leaking, "--calibrate", "test")
    assert (code, "tempscale is tuned on the ID test images" in err) == (2, True)
    assert "rest on 97 ID images, digits-train" in oodbench(*leaking)[1]


def test_images_that_were_learned_from_calibrate_nothing(oodbench, tmp_path):
    """However few of them are among the given ones; held-out ones do, unless the detector tunes itself on them."""
    train, heldout = builtin.make("digits-train").split(97)
    fresh = builtin.make("digits-test").first(20)
    mixed = np.concatenate([fresh.images, train.images[[700, 5, 90]]])
    write_pack(tmp_path / "mixed.h5", replace(fresh, images=mixed, labels=np.full(23, -1), indices=np.arange(23)))
    write_pack(tmp_path / "heldout.h5", heldout.part(slice(50, 70)))
    write_pack(tmp_path / "fresh.h5", fresh)
    asked = ("fit", "--suite", "digits", "--pretrained", "--limit", "60", "-o", "one.ood", "--calibrate")
    code, _, err = oodbench(*asked, "mixed.h5", "--detector", "knn")
    assert code == 2 and "3 of 23 images of --calibrate mixed.h5 are images of the ID training set digits-train" in err
    code, _, err = oodbench(*asked, "heldout.h5", "--detector", "tempscale")
    assert code == 2 and "all 20 images of --calibrate heldout.h5 are images of those held out of training" in err
    code, _, err = oodbench(*asked, "fresh.h5", "--detector", "tempscale", "--set", "tuning=id-test")
    assert code == 2 and "are images of the ID test set, which the detector is tuned on" in err
    assert not (tmp_path / "one.ood").exists()
    code, _, err = oodbench(*asked, "heldout.h5", "--detector", "msp")
    assert code == 0, err


def test_a_line_an_image_in_order_wherever_it_lies(oodbench, detector, tmp_path):
    expected = detector(LETTERS)
    folder = tmp_path / "photos"
    (folder / "deep").mkdir(parents=True)
    for at in range(3):
        (folder / "deep" / f"{at}.png").write_bytes(png(LETTERS.images[at]))
    (folder / "notes.txt").write_text("none")
    with zipfile.ZipFile(tmp_path / "more.zip", "w") as archive:
        archive.writestr("a/3.png", png(LETTERS.images[3]))
    write_pack(tmp_path / "pixels.h5", LETTERS)
    files = [(f"{at}.png", png(LETTERS.images[at]), -1) for at in (4, 5)]
    write_photographs(tmp_path / "files.h5", files, "drawn")
    (tmp_path / "one.png").write_bytes(png(LETTERS.images[6]))
    given = ("photos", "more.zip", "pixels.h5", "files.h5", "one.png")
    code, out, err = oodbench("score", *given, "--with", "energy.ood")
    assert code == 0, err
    found = rows(out)
    names = [f"photos/deep/{at}.png" for at in range(3)] + ["more.zip/a/3.png"]
    names += [f"pixels.h5#{at}" for at in range(70)] + ["files.h5/4.png", "files.h5/5.png", "one.png"]
    assert [row["file"] for row in found] == names
    wanted = np.r_[expected[:4], expected, expected[4:7]]
    assert np.allclose([float(row["score"]) for row in found], wanted, rtol=1e-6)
    limit = detector.threshold(0.95).value
    assert f"OOD below {limit!r}: " in err  # to be copied, so with all its digits
    assert [row["decision"] for row in found] == ["OOD" if float(row["score"]) < limit else "ID" for row in found]
    assert [float(row["p_value"]) for row in found] == list(detector.p_values([float(row["score"]) for row in found]))
    assert "photos: left out (no image): notes.txt" in err
    assert "77 images scored" in err


def test_a_broken_image_is_named_and_the_rest_goes_on(oodbench, detector, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    whole = png(LETTERS.images[0])
    for name, content in {
        "a.png": whole,
        "b.png": whole[:40],
        "c.jpg": b"no image",
        "d.png": b"",
        'e, "quoted"\nname.png': whole,
    }.items():
        (folder / name).write_bytes(content)
    code, _, err = oodbench("score", "photos", "--with", "energy.ood", "-o", "s.json", "--format", "json")
    assert code == 1
    assert "2 images scored, in s.json" in err and "3 images could not be scored" in err
    assert "photos/d.png: the file is empty" in err
    found = [json.loads(line) for line in Path("s.json").read_text().splitlines()]
    assert [one["error"] is None for one in found] == [True, False, False, False, True]
    assert found[0]["score"] == found[4]["score"]
    assert found[1]["score"] is found[1]["p_value"] is found[1]["decision"] is None
    (row,) = rows(oodbench("score", "photos/b.png", "--with", "energy.ood")[1])
    assert (row["score"], row["decision"], row["error"] != "") == ("", "", True)


def test_a_folder_archive_or_pack_that_breaks_off_is_named_and_the_rest_goes_on(oodbench, detector, tmp_path):
    with zipfile.ZipFile(tmp_path / "more.zip", "w") as archive:
        for at in range(3):
            archive.writestr(f"{at}.png", png(LETTERS.images[at]))
    content = bytearray((tmp_path / "more.zip").read_bytes())
    content[60:90] = bytes(30)
    (tmp_path / "more.zip").write_bytes(content)
    write_pack(tmp_path / "pack.h5", LETTERS)
    whole = (tmp_path / "pack.h5").read_bytes()
    (tmp_path / "pack.h5").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty").mkdir()
    (tmp_path / "one.png").write_bytes(png(LETTERS.images[6]))
    code, out, err = oodbench("score", "more.zip", "pack.h5", "empty", "one.png", "--with", "energy.ood")
    assert code == 1
    found = rows(out)
    assert found[-1]["file"] == "one.png" and found[-1]["score"]
    assert "pack.h5" in {row["file"] for row in found if row["error"]}
    assert any(row["file"].startswith("more.zip") and row["error"] for row in found)
    assert "empty: there is no image in it" in err and "1 image could not" not in err


def test_images_of_another_size_are_named(oodbench, detector, tmp_path):
    write_pack(tmp_path / "wide.h5", ImageSet("wide", np.zeros((2, 32, 40, 3), np.uint8), np.zeros(2, np.int64), "x"))
    code, out, _ = oodbench("score", "wide.h5", "--with", "energy.ood")
    assert code == 1
    assert {row["error"] for row in rows(out)} == {"it is 32 x 40 pixels, and the detector takes 32 x 32"}


def test_a_batch_at_a_false_discovery_rate(oodbench, detector):
    code, out, err = oodbench("score", "digits-test", "photo-patches", "--with", "energy.ood", "--fdr", "0.2")
    assert code == 0, err
    found = rows(out)
    called = discoveries([float(row["p_value"]) for row in found], 0.2)
    assert called.any() and not called.all()
    assert [row["decision"] == "OOD" for row in found] == called.tolist()
    assert f"{called.sum()} images called OOD; in expectation at most 20 % of these are ID" in err
    assert oodbench("score", "letters", "--with", "energy.ood", "--fdr", "0.1", "--keep", "0.9")[0] == 2
    code, out, err = oodbench("score", "letters", "--with", "energy.ood", "--fdr", "5")
    assert (code, out, "fdr is 5" in err) == (2, "", True)


def test_what_is_not_there_or_not_a_detector_stops_before_the_first_line(oodbench, detector, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "s.csv").write_text("mine")
    (tmp_path / "half.ood").write_bytes((tmp_path / "energy.ood").read_bytes()[:5000])
    for asked, told in (
        (("lettres", "--with", "energy.ood"), "there is no lettres"),
        (("empty", "--with", "energy.ood", "-o", "none.csv"), "there is no image in empty"),
        (("letters", "--with", "half.ood"), "no detector that oodbench saved, or it is cut off"),
        (("letters", "--with", "none.ood"), "cannot read none.ood: there is no such file"),
        (("letters", "--with", "empty"), "cannot read empty: it is no file"),
        (("letters", "--with", "energy.ood", "-o", "s.csv"), "there is a s.csv already"),
        (("letters", "--with", "energy.ood", "--keep", "95"), "keep is 95"),
        (("letters", "--with", "energy.ood", "--keep", "0.999"), "97 ID images are too few .* it takes 999"),
    ):
        code, out, err = oodbench("score", *asked)
        assert code == 2, (asked, err)
        assert not [line for line in out.splitlines() if line != "file,score,p_value,decision,error"]
        assert re.search(told, err), err
    assert Path("s.csv").read_text() == "mine"
    assert {path.name for path in tmp_path.iterdir()} == {"empty", "s.csv", "half.ood", "energy.ood"}


def test_fifteen_images_promise_nothing_and_scores_are_given_all_the_same(oodbench, tmp_path):
    write_pack(tmp_path / "few.h5", builtin.make("digits-test").first(15))
    asked = ("fit", "--suite", "digits", "--detector", "msp", "--pretrained", "-o", "few.ood")
    code, out, _ = oodbench(*asked, "--calibrate", "few.h5")
    assert code == 0
    assert "15 images cannot promise that 95 % of ID images are kept: it takes 19" in out
    code, out, err = oodbench("score", "letters", "--with", "few.ood")
    assert code == 0
    assert {row["decision"] for row in rows(out)} == {""}
    assert "no decisions: 15 ID images are too few to promise that 95 % are kept: it takes 19" in err
    code, _, err = oodbench("score", "letters", "--with", "few.ood", "--keep", "0.95")
    assert (code, "it takes 19" in err) == (2, True)


BUILDER = """
from torch import nn

def build(outputs):
    return nn.Sequential(nn.Conv2d(3, 8, 8, stride=8), nn.ReLU(), nn.Flatten(), nn.Linear(128, outputs))
"""


def test_a_network_of_ones_own_comes_along_and_its_code_is_named_by_whoever_scores(oodbench, tmp_path):
    (tmp_path / "mine.py").write_text(BUILDER)
    asked = ("fit", "--suite", "digits", "--detector", "knn", "--network", "mine.py:build", "-o", "mine.ood")
    code, _, err = oodbench(*asked, "--limit", "60", "--set", "epochs=1")
    assert code == 0, err
    code, _, err = oodbench("score", "letters", "--with", "mine.ood")
    assert (code, "built by" in err, "say yourself what builds it, with --network FILE.py:BUILDER" in err) == (
        2,
        True,
        True,
    )
    code, out, err = oodbench("score", "letters", "--with", "mine.ood", "--network", "mine.py:build")
    assert code == 0, err
    assert len({row["score"] for row in rows(out)}) > 100
    scores = package.load_detector("mine.ood", "mine.py:build")(LETTERS)
    assert np.allclose(scores, [float(row["score"]) for row in rows(out)[:70]], rtol=1e-6)
