"""`oodbench keep` and `--pretrained`: trained networks that are kept, and scored with in place of a training."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch

import oodbench as package
from oodbench import cli
from oodbench.basics.errors import OodbenchError
from oodbench.images.imageset import ImageSet
from oodbench.images.packs import write_pack
from oodbench.networks import build, checkpoints
from oodbench.registry import discover
from oodbench.results.store import cells
from oodbench.running.planning import plan
from oodbench.running.request import Request
from oodbench.suitefiles import suitefile
from oodbench.training import pretrained

SUITE = """
version = 1
[id]
train = "mine-train"
test = "mine-test"
classes = 3
heldout = 20
[[ood]]
set = "theirs"
distance = "far"
[outliers]
set = "others"
reserved = 50
[network]
name = "small-cnn"
[training]
epochs = 1
[tasks.clean]
"""

RUN = ("run", "--suite", "mine.toml", "--detector", "msp", "--detector", "oe", "--jobs", "1")
KEEP = ("keep", "--suite", "mine.toml", "--detector", "all", "--into", "data/networks/shelf")
SHELF = Path("data/networks/shelf")


def images(name, count, seed, classes=3):
    pixels = np.random.default_rng(seed).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    return ImageSet(name, pixels, np.arange(count) % classes, "drawn")


def call(*arguments):
    """The command as a shell would call it; its exit code."""
    before, sys.argv = sys.argv, ["oodbench", *map(str, arguments)]
    try:
        with pytest.raises(SystemExit) as caught:
            cli.main()
        return caught.value.code
    finally:
        sys.argv = before


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with packs, a suite, results of MSP and OE, and their networks on the shelf `shelf`."""
    folder = tmp_path_factory.mktemp("trained")
    for name, count, seed in (("mine-train", 120, 0), ("mine-test", 40, 1), ("theirs", 40, 2), ("others", 300, 3)):
        write_pack(folder / "data" / f"{name}.h5", images(name, count, seed))
    (folder / "mine.toml").write_text(SUITE)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert call(*RUN) == 0
        assert call(*KEEP) == 0
    return folder


@pytest.fixture
def here(trained, tmp_path, oodbench):
    """A copy of `trained` to work in, without its results; `oodbench` is called in it."""
    for name in ("data", "mine.toml"):
        place = tmp_path / name
        (shutil.copytree if (trained / name).is_dir() else shutil.copy)(trained / name, place)
    return tmp_path


def index():
    return json.loads((SHELF / "index.json").read_text())


def edit(change):
    about = index()
    change(about["networks"])
    (SHELF / "index.json").write_text(json.dumps(about))


def scores(folder):
    """The scores of each group, by detector, task and set."""
    return {
        (cell.attributes()["detector"], group.task, group.image_set): group.scores.tobytes()
        for cell in cells(Path(folder))
        for group in cell.read()
    }


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


def test_a_kept_network_is_scored_with_and_nothing_is_trained(here, trained, oodbench):
    code, out, err = oodbench(*RUN, "--pretrained")
    assert code == 0, err
    assert "  msp: pretrained network shelf/plain, score 2 image sets" in err
    assert "  oe: pretrained network shelf/oe, score 2 image sets" in err
    assert "train for" not in err
    assert not Path("results/networks").exists()
    assert scores("results") == scores(trained / "results")  # the very weights
    assert "seed 1, pretrained network\n" in out
    out = oodbench("table", "--long")[1]
    assert "| msp (seed 1, network shelf/plain, pretrained) " in out
    said = next(line for line in out.splitlines() if line.startswith("- Pretrained") and "shelf/oe" in line)
    (oe,) = (cell for cell in cells(Path("results")) if cell.attributes()["detector"] == "oe")
    about = oe.attributes()
    assert (
        f"trained with seed 1 on {about['trained_on']} (SHA-256 of its weights {about['network_digest'][:16]}" in said
    )
    assert "Where these networks were trained is not known" not in out
    _, _, err = oodbench(*RUN, "--pretrained", "--jobs", "2")
    assert "oe: pretrained network shelf/oe, everything is there already" in err


def test_it_is_the_result_that_its_file_gives_as_a_checkpoint(here, oodbench):
    assert oodbench(*RUN, "--pretrained")[0] == 0
    one = ("run", "--suite", "mine.toml", "--detector", "oe", "--checkpoint", SHELF / "oe.safetensors")
    assert "oe: everything is there already" in oodbench(*one)[2]


def test_a_run_that_trains_does_not_take_it_for_its_own(here, oodbench):
    assert oodbench(*RUN, "--pretrained")[0] == 0
    code, out, err = oodbench(*RUN)
    assert code == 0, err
    assert "msp: train for 1 epoch, score 2 image sets" in err
    assert re.search("^seed 1\n\n(.*\n)*msp  ", out, re.M)
    assert len(cells(Path("results"))) == 4
    code, out, _ = oodbench("table", "results", "--against", "msp")
    assert code == 0
    assert "Not compared" not in out  # each with the one of its kind


def test_processes_side_by_side_take_it_too(here, trained, oodbench):
    code, _, err = oodbench(*RUN[:-1], "2", "--pretrained", "--out", "two")
    assert code == 0, err
    assert scores("two") == scores(trained / "results")
    assert not Path("two/networks").exists()


def test_limit_is_about_what_is_scored(here, oodbench):
    code, _, err = oodbench(*RUN, "--pretrained", "--limit", "10")
    assert code == 0, err
    assert "msp: pretrained network shelf/plain, score" in err
    assert {len(group.scores) for cell in cells(Path("results")) for group in cell.read()} == {10}


def test_a_seed_without_a_network_is_trained_and_both_are_said(here, oodbench):
    code, out, err = oodbench(*RUN, "--pretrained", "--seeds", "1,2")
    assert code == 0, err
    assert "msp: pretrained network shelf/plain, train for 1 epoch, score 4 image sets" in err
    assert "msp: trained, not pretrained, on mine with seed 2: shelf/plain is not what would be trained" in err
    assert "differs in its seed" in err
    assert "msp (seed 1, pretrained" in out
    assert "msp (seed 2)" in out
    assert oodbench(*KEEP, "--seed", "2")[0] == 0
    code, out, err = oodbench(*RUN, "--pretrained", "--seeds", "1,2", "--out", "both")
    assert code == 0, err
    assert "msp: pretrained networks shelf/plain, shelf/plain-seed2, score 4 image sets" in err
    assert "2 seeds, pretrained network\n" in out


def test_another_recipe_is_trained(here, oodbench):
    code, _, err = oodbench(*RUN, "--pretrained", "--set", "epochs=2")
    assert code == 0, err
    assert "msp: train for 2 epochs" in err
    assert "it differs in the training recipe" in err


def test_other_code_is_trained(here, oodbench, monkeypatch):
    edit(lambda networks: networks["oe"]["recipe"].update(objective_code="0" * 64))
    code, _, err = oodbench(*RUN, "--pretrained")
    assert code == 0, err
    assert "msp: pretrained network shelf/plain" in err
    assert "oe: trained, not pretrained, on mine with seed 1" in err
    assert "differs in the code of the objective" in err


@pytest.mark.parametrize("name", ["mine-train", "others"])
def test_other_images_of_the_name_are_trained_on(here, oodbench, name):
    write_pack(Path("data") / f"{name}.h5", images(name, 200, 9))
    code, _, err = oodbench(*RUN, "--pretrained")
    assert code == 0, err
    assert f"shelf/oe was trained on other images of the name {name}" in err
    assert ("msp: pretrained network" in err) == (name == "others")


def test_images_to_train_on_are_not_missed(here, oodbench):
    for name in ("mine-train", "others"):
        Path(f"data/{name}.h5").unlink()
    code, _, err = oodbench(*RUN, "--pretrained")
    assert code == 0, err
    assert "oe: pretrained network shelf/oe, score 2 image sets" in err
    assert "'mine-train' is missing" in oodbench(*RUN, "--pretrained", "--seeds", "1,2", "--out", "other")[2]


def test_a_swapped_file_is_refused(here, oodbench):
    file = SHELF / "plain.safetensors"
    network = build("small-cnn", 3, seed=5)
    checkpoints.save(network, file, checkpoints.metadata(file))
    code, _, err = oodbench(*RUN, "--pretrained")
    assert code == 2
    assert "plain.safetensors is not the file that its index speaks of" in err
    assert f"SHA-256 {sha256(file.read_bytes()).hexdigest()[:16]}" in err
    assert not Path("results").exists()
    assert oodbench(*RUN)[0] == 0  # who trains is not concerned


def test_a_damaged_file_is_refused(here, oodbench):
    file = SHELF / "plain.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    code, _, err = oodbench(*RUN, "--pretrained")
    assert (code, "a damaged one" in err) == (2, True)


def test_a_network_without_its_file_is_trained_and_it_says_where_the_file_is(here, oodbench):
    (SHELF / "plain.safetensors").unlink()
    code, _, err = oodbench(*RUN, "--pretrained")
    assert code == 0, err
    assert "msp: trained, not pretrained, on mine with seed 1: shelf/plain is not here: it has no public address" in err
    code, _, err = oodbench("data", "fetch", "shelf/plain")
    assert code == 2
    assert "copy that file to data/networks/shelf/plain.safetensors" in err
    edit(lambda networks: networks["plain"].update(url="https://example.org/plain.safetensors"))
    assert "`oodbench data fetch shelf/plain`" in oodbench(*RUN, "--pretrained")[2]
    _, out, _ = oodbench("data", "list", "networks")
    assert re.search("^missing  shelf/plain  +objective Objective, seed 1; ", out, re.M)
    assert "present  shelf/oe " in out
    assert "shelf/plain (missing): objective Objective, seed 1; " in oodbench("data", "show", "shelf/plain")[1]


BROKEN = {
    "no JSON": b"{",
    "no text": b"\xff\xfe\x00",
    "a list": b"[]",
    "no networks": b"{}",
    "networks in a list": b'{"networks": []}',
    "a number": b'{"networks": {"plain": 3}}',
    "nested": b"[" * 100_000,
    "half an entry": b'{"networks": {"plain": {"sha256": ""}}}',
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_a_broken_index_is_named(here, oodbench, content):
    (SHELF / "index.json").write_bytes(content)
    code, _, err = oodbench(*RUN, "--pretrained")
    assert code == 2, err
    assert str(SHELF / "index.json") in err
    assert "Traceback" not in err


def moved(networks):
    networks["../../../secret"] = networks.pop("plain")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (moved, "is no name of a network"),
        (lambda networks: networks["plain"].update(sha256="abc"), "sha256 is not one"),
        (lambda networks: networks["plain"].update(url="file:///etc/passwd"), "does not begin with https://"),
        (lambda networks: networks["plain"].update(recipe=["a"]), "expected texts by name"),
        (lambda networks: networks["plain"].update(accuracy={"mine-test": "all"}), "could not convert"),
    ],
)
def test_a_hostile_index_is_refused(here, oodbench, change, said):
    edit(change)
    code, _, err = oodbench(*RUN, "--pretrained")
    assert code == 2
    assert said in err


def test_two_shelves_of_one_name_must_hold_the_same(here, oodbench):
    shutil.copytree(SHELF, "data/networks/digits")
    content = Path("data/networks/digits/index.json")
    content.write_text(content.read_text().replace('"url": ""', '"url": "https://example.org"'))
    code, _, err = oodbench(*RUN, "--pretrained")
    assert code == 2
    assert "speaks of another file digits/" in err


def test_checkpoint_and_pretrained_exclude_each_other(here, oodbench):
    code, _, err = oodbench(*RUN, "--pretrained", "--checkpoint", SHELF / "plain.safetensors")
    assert code == 2
    assert "exclude each other" in err
    with pytest.raises(OodbenchError, match="exclude each other"):
        package.run("mine.toml", "msp", pretrained=True, checkpoint=SHELF / "plain.safetensors")


def test_from_python(here, trained):
    said = []
    frame = package.run("mine.toml", ["msp", "ntom"], pretrained=True, say=said.append)
    assert set(frame[frame.detector == "msp"]["pretrained"]) == {"shelf/plain"}
    assert set(frame[frame.detector == "ntom"]["pretrained"]) == {""}
    assert "mine: msp, pretrained network shelf/plain" in said
    assert "ntom: trained, not pretrained, on mine with seed 1: none is kept for it" in said


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
    assert "its name is a-z" in err


@pytest.mark.parametrize("suite", ["digits", "digits-adv"])
def test_every_detector_has_its_network_of_digits(suite, tmp_path):
    """They are what would be trained today: whoever changes a method keeps its network anew.

    All but CCU, which has a matrix over all pixels in it: 40 MB.
    """
    registry = discover([])
    detectors = tuple(registry[name] for name in registry.names())
    known = suitefile.load(suite)
    request = Request((replace(known, only=("letters",)),), detectors, 1, torch.device("cpu"), tmp_path, tmp_path)
    (each,) = plan(replace(request, pretrained=True), registry)
    lacking = {network.names: network.why for network in each.networks if not network.pretrained}
    assert lacking == {"ccu, ccu-msp": "none is kept for it"}


def test_the_index_is_written_as_it_is_read(tmp_path, trained):
    networks = pretrained.read_index(trained / SHELF / "index.json")
    pretrained.write_index(tmp_path / "shelf" / "index.json", networks)
    assert pretrained.read_index(tmp_path / "shelf" / "index.json") == networks


def test_an_index_that_is_not_printable_or_no_share_is_refused(here, oodbench):
    for change in (
        lambda networks: networks["plain"].update(trained_on="\x1b[2J\x1b]0;owned\x07"),
        lambda networks: networks["plain"].update(note="a\nb"),
        lambda networks: networks["plain"]["recipe"].update({"\x1b[31m": "x"}),
        lambda networks: networks["plain"].update(accuracy={"mine-test": 7.0}),
    ):
        before = (SHELF / "index.json").read_text()
        edit(change)
        for command in ((*RUN, "--pretrained"), ("data", "list", "networks")):
            code, out, err = oodbench(*command)
            assert code == 2 and "is no index of trained networks" in err
            assert "\x1b" not in out + err
        (SHELF / "index.json").write_text(before)


def test_a_network_of_which_nothing_says_what_it_saw_is_not_taken(here, oodbench):
    edit(lambda networks: networks["oe"].update(images={"mine-train": networks["oe"]["images"]["mine-train"]}))
    edit(lambda networks: networks["plain"].update(images={}))
    code, _, err = oodbench(*RUN, "--pretrained")
    assert code == 0, err
    assert "the index of shelf/plain does not say which mine-train it saw" in err
    assert "the index of shelf/oe does not say which mine-train and others it saw" in err
    assert "msp: train for 1 epoch" in err


def test_of_two_that_were_trained_alike_the_one_that_is_here_and_saw_these_images_is_taken(here, oodbench):
    shutil.copytree(SHELF, "data/networks/zz")
    (SHELF / "oe.safetensors").unlink()
    edit(lambda networks: networks["plain"]["images"].update({"mine-train": "0" * 64}))
    code, _, err = oodbench(*RUN, "--pretrained")
    assert code == 0, err
    assert "msp: pretrained network zz/plain, score" in err
    assert "oe: pretrained network zz/oe, score" in err


def test_one_damaged_file_does_not_hide_the_other_networks(here, oodbench):
    file = SHELF / "plain.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    code, out, err = oodbench("data", "list", "networks")
    assert code == 0, err
    assert "broken   shelf/plain " in out
    said = "shelf/plain is broken: network shelf/plain: data/networks/shelf/plain.safetensors is not the file"
    assert said in " ".join(out.split())
    assert "present  shelf/oe " in out


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
