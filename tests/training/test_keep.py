"""`oodbench keep`: trained networks are put on a shelf with what they are."""

import json
import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from oodbench.networks import build, checkpoints
from tests.training.shelf import KEEP, RUN, SHELF, edit, index


def test_what_is_kept_says_what_it_is(trained):
    about = json.loads((trained / SHELF / "index.json").read_text())["networks"]
    assert list(about) == ["oe", "plain"]
    for name, one in about.items():
        file = trained / SHELF / f"{name}.safetensors"
        assert one["sha256"] == sha256(file.read_bytes()).hexdigest()
        assert one["recipe"]["seed"] == "1"
        assert 0 <= one["accuracy"]["mine-test"] <= 1
        assert 0 <= one["seconds"] < 3600  # and not NaN: the file says it
        assert one["trained_on"] == checkpoints.metadata(file)["trained_on"]
    assert list(about["plain"]["images"]) == ["mine-train"]
    assert list(about["oe"]["images"]) == ["mine-train", "others"]


def test_other_weights_are_kept_in_place_of_others_only_when_told_to(here, trained, oodbench):
    shutil.copytree(trained / "results", "results")
    file = SHELF / "plain.safetensors"
    before = file.read_bytes()
    edit(lambda networks: networks["plain"]["recipe"].update(objective_code="0" * 64))
    code, _, err = oodbench(*KEEP)
    assert code == 0, err
    assert index() == json.loads((trained / SHELF / "index.json").read_text())  # other code, the same weights
    assert file.read_bytes() == before
    checkpoints.save(build("small-cnn", 3, seed=5), file, {})
    code, _, err = oodbench(*KEEP)
    assert code == 2
    assert "plain.safetensors is there with other weights than results/networks/small-cnn-" in err
    assert oodbench(*KEEP, "--replace")[0] == 0
    assert file.read_bytes() == before


def test_a_network_of_unknown_code_is_kept_by_its_word_alone(here, trained, oodbench):
    shutil.copytree(trained / "results", "results")
    (file,) = (file for file in Path("results/networks").glob("*.safetensors") if "outlier_batch=0" in _objective(file))
    file.rename(file.with_name("small-cnn-of-old.safetensors"))
    shutil.rmtree(SHELF)
    code, out, err = oodbench(*KEEP)
    assert code == 0, err
    assert "shelf/plain" not in out
    assert "small-cnn-of-old.safetensors was trained so by its own word" in err
    assert oodbench(*KEEP, "--by-its-word")[0] == 0
    assert index()["networks"]["plain"]["note"] == "code: by the word of whoever kept it"
    assert "note" not in index()["networks"]["oe"]
    assert "by the word of whoever kept it" in " ".join(oodbench("data", "show", "shelf/plain")[1].split())
    code, _, err = oodbench(*RUN, "--pretrained", "--out", "other")
    assert "msp: pretrained network shelf/plain" in err


@pytest.mark.parametrize(
    "said", [{"id_train_images": "0" * 64}, {"precision": "trained in bf16"}], ids=["other images", "other precision"]
)
def test_a_network_that_says_it_was_trained_otherwise_is_not_kept_by_its_word(here, trained, oodbench, said):
    shutil.copytree(trained / "results", "results")
    (file,) = (file for file in Path("results/networks").glob("*.safetensors") if "outlier_batch=0" in _objective(file))
    shutil.rmtree(SHELF)
    weights, about = load_file(file), checkpoints.metadata(file)
    assert about.keys() >= said.keys()
    file.unlink()
    save_file(weights, file.with_name("small-cnn-other.safetensors"), {**about, **said})
    code, out, err = oodbench(*KEEP, "--by-its-word")
    assert code == 0, err
    assert "shelf/plain" not in out
    left_out = {name: text for name, text in about.items() if name not in said}
    save_file(weights, file.with_name("small-cnn-other.safetensors"), left_out)
    assert oodbench(*KEEP, "--by-its-word")[0] == 0
    (untold,) = (name.replace("_", " ") for name in said)
    assert index()["networks"]["plain"]["note"] == f"code, {untold}: by the word of whoever kept it"


def _objective(file):
    return checkpoints.metadata(file)["objective"]


def test_what_cannot_be_kept(here, oodbench):
    code, _, err = oodbench(*KEEP)
    assert code == 2
    assert "not kept: mine, seed 1, msp" in err or "not kept: mine, seed 1, ash" in err
    assert "no network of these is in results" in err
    code, _, err = oodbench(*KEEP[:-1], "data/networks/digits")
    assert code == 2
    assert "networks called digits/... come with oodbench" in err
    code, _, err = oodbench(*KEEP[:-1], "data/networks/My Networks")
    assert code == 2
    assert "give one whose name has only a-z" in err


def test_a_network_of_fewer_images_is_not_kept_by_its_word(here, oodbench):
    assert oodbench(*RUN[:-4], "--jobs", "1", "--limit", "30")[0] == 0
    shutil.rmtree(SHELF)
    code, _, err = oodbench(*KEEP, "--by-its-word")
    assert code == 2
    assert "`oodbench run` trains it" in err
    assert not SHELF.exists()


def test_two_that_keep_at_once_lose_nothing(here, trained):
    shutil.copytree(trained / "results", "results")
    shutil.rmtree(SHELF)
    command = [sys.executable, "-m", "oodbench", "keep", "--suite", "mine.toml", "--into", str(SHELF), "--detector"]
    both = [subprocess.Popen([*command, name], cwd=here) for name in ("msp", "oe")]
    assert [each.wait(300) for each in both] == [0, 0]
    assert list(index()["networks"]) == ["oe", "plain"]
    assert sorted(path.name for path in SHELF.iterdir()) == ["index.json", "oe.safetensors", "plain.safetensors"]


def test_the_place_of_a_network_whose_file_is_elsewhere_is_not_taken(here, trained, oodbench):
    shutil.copytree(trained / "results", "results")
    (SHELF / "plain.safetensors").unlink()
    edit(lambda networks: networks["plain"]["recipe"].update(seed="9"))
    before = index()
    code, _, err = oodbench(*KEEP[:3], "--detector", "msp", "--into", SHELF)
    assert code == 2
    assert "knows plain as another network, whose file is not here: say --replace" in err
    assert index() == before


def test_other_weights_are_not_said_to_lie_where_the_former_do(here, trained, oodbench):
    shutil.copytree(trained / "results", "results")
    checkpoints.save(build("small-cnn", 3, seed=5), SHELF / "plain.safetensors", {})
    edit(lambda networks: networks["plain"].update(url="https://example.org/plain.safetensors", sha256="0" * 64))
    assert oodbench(*KEEP, "--replace")[0] == 0
    assert index()["networks"]["plain"]["url"] == ""


def test_a_shelf_that_cannot_be_written_is_named(here, trained, oodbench):
    shutil.copytree(trained / "results", "results")
    Path("data/networks/taken").write_text("a file")
    code, _, err = oodbench(*KEEP[:-1], "data/networks/taken")
    assert code == 2, err
    assert "data/networks/taken" in err and "Traceback" not in err
