"""`--pretrained`: networks that are kept are scored with in place of a training."""

import re
import shutil
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
import torch

import oodbench as package
from oodbench.basics.errors import OodbenchError
from oodbench.images.packs import write_pack
from oodbench.networks import build, checkpoints
from oodbench.registry import discover
from oodbench.results.store import cells
from oodbench.running.imagesets import Sample
from oodbench.running.planning import plan
from oodbench.running.request import Machinery, NetworkSource, Request
from oodbench.suitefiles import suitefile
from tests.training.shelf import KEEP, RUN, SHELF, edit, images, scores


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


@pytest.mark.parametrize("suite", ["digits", "digits-adv"])
def test_every_detector_has_its_network_of_digits(suite, tmp_path):
    """They are what would be trained today: whoever changes a method keeps its network anew.

    All but CCU, which has a matrix over all pixels in it, 40 MB, and VOS, which has covariances of features, 4.5 MB,
    and is trained in seconds.
    """
    registry = discover([])
    detectors = tuple(registry[name] for name in registry.names())
    known = suitefile.load(suite)
    suites, machinery = (replace(known, only=("letters",)),), Machinery(torch.device("cpu"))
    asked = Request(suites, detectors, 1, Sample(tmp_path), machinery, tmp_path, source=NetworkSource(pretrained=True))
    (each,) = plan(asked, registry)
    lacking = {network.names: network.why_not_pretrained for network in each.networks if not network.pretrained}
    assert lacking == dict.fromkeys(["ccu, ccu-msp", "vos"], "none is kept for it")


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
