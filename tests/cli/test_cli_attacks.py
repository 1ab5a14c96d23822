"""What a run may ask of attacks: kept images, subsets, radii, sides, checks."""

import io
import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import torch

from oodbench.attacks import thorough_checks
from oodbench.detectors.msp import MSP
from oodbench.images import builtin
from oodbench.images.imageset import images_digest
from oodbench.networks import build, checkpoints
from oodbench.networks.network import as_input
from oodbench.results.store import Cell, cells
from oodbench.running.network_run import NetworkRun
from oodbench.scoring.batches import exact
from oodbench.scoring.fitting import fit

pytestmark = pytest.mark.usefixtures("briefly_continued")

QUICK = ("run", "--suite", "digits-adv", "--set", "epochs=1", "--limit", "40", "--detector", "msp")


def frame_of(oodbench):
    out = oodbench("table", "results", "--format", "csv")[1]
    return pd.read_csv(io.StringIO(out), keep_default_na=False, na_values=["nan"])


def test_kept_images_score_again_what_they_scored(oodbench, tmp_path):
    code, _, err = oodbench(*QUICK, "--task", "linf", "--set", "linf.steps=3", "--keep-images")
    assert code == 0, err
    (cell,) = cells(tmp_path / "results")
    network = build("small-cnn", 10, mean=(0.5,) * 3, std=(0.5,) * 3, seed=0)
    (file,) = (tmp_path / "results" / "networks").glob("*.safetensors")
    checkpoints.load(network, file)
    detector = MSP()
    fit([detector], network.eval(), 10)
    clean = builtin.make("letters").spread(40).images.astype(int)
    group = cell.group("linf", "letters")
    images = group.extras["images"]
    assert images.dtype == np.uint8
    assert 0 < np.abs(images.astype(int) - clean).max() <= 32
    assert group.attributes["images_sha256"] == images_digest(images)
    with exact(network), torch.no_grad():
        again = detector.score(as_input(torch.from_numpy(images).permute(0, 3, 1, 2)))
    np.testing.assert_allclose(again, group.scores, atol=1e-4)


RESCORED = """
extends = "digits-adv"
version = 1
ood = [{{set = "{name}", distance = "near"}}]
"""


def test_exported_attacked_images_score_again_without_an_attack(oodbench, tmp_path):
    command = (*QUICK, "--detector", "energy", "--only", "letters", "--task", "linf", "--set", "linf.steps=3")
    assert oodbench(*command, "--keep-images")[0] == 0
    code, out, err = oodbench("data", "export", "results")
    assert code == 2 and "results makes 2 packs of 0.2 MB in all" in err and "--data DIR" in err and not out
    assert not (tmp_path / "data").exists()
    code, out, err = oodbench("data", "export", "results", "--data", "data")
    assert code == 0, err
    (name,) = [Path(line.partition(":")[0]).stem for line in out.splitlines() if "for msp" in line]
    assert name.startswith("letters-linf-msp-seed1-")
    assert "L-infinity 32/255, 3 steps" in out
    attacked = {cell.path.parent.name: cell.group("linf", "letters") for cell in cells(tmp_path / "results")}
    (tmp_path / "again.toml").write_text(RESCORED.format(name=name))
    suite = ("--suite", "again.toml", "--task", "clean", "--out", "again")
    (network,) = (tmp_path / "results" / "networks").glob("*.safetensors")
    code, _, err = oodbench(
        "run", *suite, "--limit", "40", *QUICK[-2:], "--detector", "energy", "--checkpoint", network
    )
    assert code == 0, err
    again = {cell.path.parent.name: cell.group("clean", name) for cell in cells(tmp_path / "again")}
    np.testing.assert_allclose(again["msp"].scores, attacked["msp"].scores, atol=1e-4)
    assert again["msp"].labels.tolist() == attacked["msp"].labels.tolist()
    # Another detector sees what was made for the first one, not what was made for itself.
    assert np.abs(again["energy"].scores - attacked["energy"].scores).max() > 1e-3


def test_only_images_that_were_scored_are_exported(oodbench, tmp_path):
    assert oodbench(*QUICK, "--limit", "6", "--only", "letters", "--task", "linf", "--set", "linf.steps=1")[0] == 0
    code, _, err = oodbench("data", "export")
    assert code == 2
    assert "keeps no attacked images: attack with `oodbench run ... --keep-images`" in err
    (cell,) = cells(tmp_path / "results")
    group = cell.group("linf", "letters")
    cell.add(replace(group, extras={"images": np.zeros((6, 32, 32, 3), np.uint8)}), cell.attributes())
    code, _, err = oodbench("data", "export", cell.path)
    assert code == 2
    assert "linf on letters: the kept images are not those that were scored" in err
    assert not list((tmp_path / "data").glob("*.h5"))


def test_images_are_not_kept_unless_asked_and_a_subset_is_spread(oodbench, tmp_path):
    code, out, err = oodbench(*QUICK, "--task", "linf", "--set", "linf.steps=2", "--images", "8")
    assert code == 0, err
    (cell,) = cells(tmp_path / "results")
    group = cell.group("linf", "letters")
    assert "images" not in group.extras
    assert len(set(group.labels.tolist())) == len(group.indices) == 8  # of as many classes as can be
    assert len(cell.group("id", "digits-test").scores) == 40
    assert "8 of each OOD set" in out
    out = oodbench("table", "--long")[1]
    assert "AUROC, 95 % interval" in out


def test_a_subset_is_attacked_as_it_is_in_the_whole(oodbench, tmp_path):
    for more in ((), ("--images", "8")):
        assert oodbench(*QUICK, "--task", "linf", "--set", "linf.steps=2", *more)[0] == 0
    groups = [cell.group("linf", "letters") for cell in cells(tmp_path / "results")]
    part, whole = sorted(groups, key=lambda group: len(group.scores))
    places = [whole.indices.tolist().index(index) for index in part.indices]
    np.testing.assert_allclose(part.scores, whole.scores[places], atol=1e-4)


def test_a_curve_over_radii_begins_with_the_clean_images(oodbench):
    code, _, err = oodbench(*QUICK, "--task", "clean", "--task", "linf", "--eps", "0,8,64", "--set", "linf.steps=10")
    assert code == 0, err
    frame = frame_of(oodbench)
    auroc = frame[frame.metric == "auroc"].groupby("task", sort=False)["value"].mean()
    assert list(auroc.index) == ["clean", "linf-eps0", "linf-eps8", "linf-eps64"]
    assert auroc["linf-eps0"] == pytest.approx(auroc["clean"], abs=1e-9)
    # Nothing was attacked, so nothing failed to move.
    assert set(frame[frame.task == "linf-eps0"]["unmoved"]) == {""}
    assert auroc["linf-eps64"] < auroc["linf-eps8"] < auroc["clean"]


def test_attacked_on_both_sides_is_worse_than_on_one(oodbench):
    common = (*QUICK, "--set", "epochs=8", "--task", "clean", "--task", "linf")
    for side in ("out", "in", "both"):
        name = "linf" if side == "out" else f"linf-{side}"
        code, out, err = oodbench(*common, "--threat", side, "--set", f"{name}.steps=5", "--set", f"{name}.epsilon=8")
        assert code == 0, err
    assert "linf-both: ID and OOD images attacked within 8/255" in out
    assert "linf-both: OOD and ID images attacked" in oodbench("table", "--long")[1]
    frame = frame_of(oodbench)
    auroc = frame[frame.metric == "auroc"].groupby("task")["value"].mean()
    assert auroc["linf-both"] < min(auroc["linf"], auroc["linf-in"])
    assert auroc["linf-in"] < auroc["clean"]


def test_full_checks_try_others_and_say_so(oodbench, tmp_path, monkeypatch):
    for name, fewer in (("LONG_CLIMB", 20), ("SHORT_CLIMB", 10), ("SQUARE_QUERIES", 60)):
        monkeypatch.setattr(thorough_checks, name, fewer)
    command = (*QUICK, "--limit", "6", "--detector", "energy", "--task", "linf", "--set", "linf.steps=1")
    code, _, err = oodbench(*command, "--set", "linf.epsilon=4", "--checks", "full")
    assert code == 0, err
    for cell in cells(tmp_path / "results"):
        attributes = cell.group("linf", "letters").attributes
        assert {f"check_{name}" for name in ("unbounded", "steps", "square", "transfer")} <= attributes.keys()
        assert all(0 <= attributes[f"check_{name}"] <= 1 for name in ("unbounded", "square", "transfer"))


def test_one_measurement_in_other_words_is_one_result(oodbench, tmp_path):
    quick = (*QUICK, "--limit", "6", "--only", "letters", "--task", "linf")
    for words in (
        ["linf.steps=2", "linf.step=16"],
        ["linf.step=16", "linf.steps=2"],
        ["linf.steps=9", *["linf.step=16", "linf.steps=2"]],
    ):
        code, out, err = oodbench(*quick, *(part for word in words for part in ("--set", word)))
        assert code == 0, err
    (cell,) = cells(tmp_path / "results")
    assert "steps=9" not in cell.attributes()["settings"] + out
    assert oodbench(*quick, "--set", "linf.steps=40")[0] == oodbench(*quick)[0] == 0
    assert len(cells(tmp_path / "results")) == 2


FULL = (*QUICK[:-2], "--limit", "6", "--only", "letters", "--task", "linf", "--set", "linf.steps=1", "--checks", "full")


@pytest.fixture
def few_queries(monkeypatch):
    for name, fewer in (("LONG_CLIMB", 4), ("SHORT_CLIMB", 2), ("SQUARE_QUERIES", 5)):
        monkeypatch.setattr(thorough_checks, name, fewer)


def attacked_letters(tmp_path):
    """The attacked group of each detector."""
    return {cell.path.parent.name: cell.group("linf", "letters") for cell in cells(tmp_path / "results")}


def donors(group):
    return {Path(name).parent.name for name in json.loads(group.attributes["transferred_from"])}


@pytest.mark.usefixtures("few_queries")
def test_a_detector_that_comes_later_is_tried_on_images_of_those_that_are_there_and_they_on_its(oodbench, tmp_path):
    code, _, err = oodbench(*FULL, "--detector", "msp")
    assert code == 0 and "tried on images" not in err
    first = attacked_letters(tmp_path)
    assert donors(first["msp"]) == set()
    assert math.isnan(first["msp"].attributes["check_transfer"])
    code, _, err = oodbench(*FULL, "--detector", "energy")
    assert code == 0, err
    assert donors(attacked_letters(tmp_path)["energy"]) == {"msp"}
    code, _, err = oodbench(*FULL, "--detector", "msp", "--detector", "energy")
    assert code == 0, err
    assert "msp: tried on images that other detectors were attacked with" in err
    last = attacked_letters(tmp_path)
    assert donors(last["msp"]) == {"energy"}
    assert 0 <= last["msp"].attributes["check_transfer"] <= 1
    assert last["msp"].attributes["seconds"] == first["msp"].attributes["seconds"]  # it was not attacked again
    np.testing.assert_array_equal(last["msp"].extras["images"], first["msp"].extras["images"])
    before = {path: path.read_bytes() for path in (tmp_path / "results").rglob("*.h5")}
    code, _, err = oodbench(*FULL, "--detector", "msp", "--detector", "energy")
    assert "tried on images" not in err
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.usefixtures("few_queries")
def test_attacks_of_a_run_that_was_ended_before_its_end_are_tried_on_others_by_the_next(
    oodbench, tmp_path, monkeypatch
):
    command = (*FULL, "--detector", "msp", "--detector", "energy", "--jobs", "1")

    def ended(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(NetworkRun, "transfer", ended)
        assert oodbench(*command)[0] == 130
    assert all("check_transfer" not in group.attributes for group in attacked_letters(tmp_path).values())
    monkeypatch.setattr(NetworkRun, "_attack", lambda *_: pytest.fail("attacked again"))
    code, _, err = oodbench(*command)
    assert code == 0, err
    groups = attacked_letters(tmp_path)
    assert {name: donors(group) for name, group in groups.items()} == {"msp": {"energy"}, "energy": {"msp"}}


@pytest.mark.usefixtures("few_queries")
def test_images_that_are_no_sound_ones_of_another_detector_are_left_out_and_said(oodbench, tmp_path):
    assert oodbench(*FULL, "--detector", "energy", "--detector", "maxlogit", "--jobs", "1")[0] == 0
    by_name = {path.parent.name: path for path in (tmp_path / "results").rglob("*.h5")}
    with h5py.File(by_name["energy"], "r+") as file:
        images = file["linf/letters/extras/images"]
        images[...] = 255 - images[()]
    half = by_name["maxlogit"].with_name("seed1-half.h5")
    shutil.copy(by_name["maxlogit"], half)
    with h5py.File(half, "r+") as file:
        group = file["linf/letters"]
        for name in ("scores", "predictions", "labels", "indices", *(f"extras/{name}" for name in group["extras"])):
            some = group[name][:3]
            del group[name]
            group.create_dataset(name, data=some)
        group.attrs["key"] = "another"
        group.attrs["images_sha256"] = images_digest(group["extras/images"][()])
    code, _, err = oodbench(*FULL, "--detector", "msp")
    assert code == 0, err
    where = by_name["energy"].relative_to(tmp_path)
    assert f"not tried on other detectors: {where}, linf on letters: the kept images are not those" in err
    assert "seed1-half.h5: its images of letters are others than those of" in err
    group = Cell(next((tmp_path / "results").rglob("msp/*.h5"))).group("linf", "letters")
    assert donors(group) == {"maxlogit"}
    assert 0 <= group.attributes["check_transfer"] <= 1
    assert "Failed" not in oodbench("table", "results")[1]


@pytest.mark.usefixtures("few_queries")
def test_a_copy_of_a_result_is_no_other_detector(oodbench, tmp_path):
    assert oodbench(*FULL, "--detector", "msp")[0] == 0
    (path,) = (tmp_path / "results").rglob("*.h5")
    shutil.copy(path, path.with_name("seed1-backup.h5"))
    before = path.read_bytes()
    code, _, err = oodbench(*FULL, "--detector", "msp")
    assert code == 0 and "tried on images" not in err
    assert path.read_bytes() == before


def test_full_checks_of_id_images_cost_nothing(oodbench):
    costs = []
    for more in ((), ("--checks", "full")):
        code, out, err = oodbench(*QUICK, "--only", "letters", "--task", "linf", "--threat", "in", "--dry-run", *more)
        assert code == 0, err
        costs += [line for line in (out + err).splitlines() if "passes of the network" in line]
    first, second = costs
    assert first == second


def test_a_guarantee_stands_below_every_attack(oodbench, tmp_path):
    names = ("certified", "linf", "clean")
    tasks = [word for name in names for word in ("--task", name)]
    settings = ["--set", "linf.epsilon=1", "--set", "certified.epsilon=1", "--set", "linf.objective=adaptive"]
    settings += ["--set", "linf.steps=10"]
    code, out, err = oodbench(*QUICK, "--detector", "knn", "--set", "knn.k=5", *tasks, *settings)
    assert code == 0, err
    assert "certified: a guarantee, for OOD images anywhere within 1/255 (L-infinity)." in out
    assert "certified: no attack within L-infinity 1/255 on OOD images can do worse" in oodbench("table", "--long")[1]
    frame = frame_of(oodbench)
    assert set(frame[frame.task == "certified"].detector) == {"msp"}  # knn has no bound and no row
    (cell,) = [cell for cell in cells(tmp_path / "results") if "msp" in str(cell.path)]
    clean, attacked, bound = (cell.group(name, "letters").scores for name in ("clean", "linf", "certified"))
    assert (clean <= bound).all()
    assert (attacked <= bound).all()


def test_a_task_changed_for_one_run_stands_beside_the_suites_own(oodbench, tmp_path):
    for more in ((), ("--set", "linf.steps=2")):
        assert oodbench(*QUICK, "--limit", "10", "--task", "linf", *more)[0] == 0
    assert len(cells(tmp_path / "results")) == 2
    table = oodbench("table", "results", "--long")[1]
    assert "msp (seed 1, epochs=1, 10 images of each set)" in table
    assert "msp (seed 1, epochs=1 linf.steps=2, 10 images of each set)" in table


@pytest.mark.parametrize("variant", [("--eps", "4"), ("--threat", "both")])
def test_a_task_of_another_name_changed_for_one_run_stands_beside_the_suites_own(oodbench, tmp_path, variant):
    for more in (("--task", "linf"), ("--task", "linf", *variant, "--set", "linf.steps=2")):
        assert oodbench(*QUICK, "--limit", "6", "--only", "letters", *more)[0] == 0
    own, changed = sorted(cells(tmp_path / "results"), key=lambda cell: len(str(cell.attributes()["settings"])))
    assert own.attributes()["settings"] == "epochs=1"  # not what was set for the other name's run alone
    assert own.key("linf", "letters")
    assert changed.attributes()["settings"] == "epochs=1 linf.steps=2"
    assert not changed.key("linf", "letters")


def test_what_is_asked_for_later_is_done_later(oodbench, tmp_path, monkeypatch):
    for name, fewer in (("LONG_CLIMB", 12), ("SHORT_CLIMB", 6), ("SQUARE_QUERIES", 5)):
        monkeypatch.setattr(thorough_checks, name, fewer)
    command = (*QUICK, "--limit", "6", "--task", "clean", "--task", "linf", "--set", "linf.steps=2")
    assert oodbench(*command)[0] == 0
    (cell,) = cells(tmp_path / "results")
    scores = cell.group("linf", "letters").scores
    for more, name in ((["--keep-images"], "images"), (["--keep-images", "--checks", "full"], "check_square")):
        assert name not in cell.stored_names("linf", "letters")
        code, _, err = oodbench(*command, *more)
        assert code == 0, err
        assert "score 4 image sets" in err  # the attacks alone
        assert name in cell.stored_names("linf", "letters")
        assert "everything is there already" in oodbench(*command, *more)[2]
    np.testing.assert_allclose(cell.group("linf", "letters").scores, scores, atol=1e-5)


BLIND = """
from oodbench.detectors.msp import MSP

class Blind(MSP):
    '''MSP on eight levels, by numpy: no gradient comes back.'''

    name = "blind"

    def score(self, images):
        return super().score(images.detach().mul(7).round().div(7))

    def published_objective(self, images):
        return self.score(images)
"""


def test_without_a_gradient_random_search_alone_is_told(oodbench, tmp_path):
    (tmp_path / "blind.py").write_text(BLIND)
    command = (*QUICK[:-2], "--limit", "6", "--detector", "blind", "--plugin", "blind.py")
    code, out, err = oodbench(*command, "--task", "linf-adaptive", "--set", "linf-adaptive.level=quick")
    assert code == 0, err
    out = oodbench("table", "--long")[1]
    assert "no gradient comes back from the score to the images, so it was searched at random" in out
    code, _, err = oodbench(*command, "--task", "linf")
    assert code == 2
    out = oodbench("table", "--long")[1]
    assert "no gradient comes back from the score to the images" in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--task", "linf", "--set", "linf.epsilon=-1"), "epsilon is -1"),
        (("--task", "linf", "--set", "linf.epsilon=256"), "epsilon is 256"),
        (("--task", "linf-adaptive", "--set", "linf-adaptive.epsilon=256"), "epsilon is 256"),
        (("--task", "certified", "--set", "certified.epsilon=-1"), "epsilon is -1"),
        (("--task", "compositional", "--set", "compositional.epsilon=300"), "epsilon is 300"),
        (("--task", "linf", "--set", "linf.steps=0"), "needs at least 1 of each"),
        (("--task", "corruption", "--set", "corruption.types=['fogg']"), "did you mean 'fog'"),
        (("--task", "corruption", "--set", "corruption.severities=[6]"), "severities is [6]"),
        (("--task", "corruption", "--set", "corruption.types=[]"), "types is []: choose some of"),
        (("--task", "compositional", "--set", "compositional.types=[]"), "types is []: choose some of"),
        (("--task", "corruption", "--set", "corruption.frost=nowhere"), "oodbench data fetch frost-photographs"),
        (("--task", "linff"), "did you mean 'linf'"),
        (("--task", "linf", "--eps", "-1"), "whole numbers from 0 to 255"),
        (("--task", "linf", "--eps", "256"), "whole numbers from 0 to 255"),
        (("--task", "linf", "--eps", "32", "--set", "linf.epsilon=16"), "both say the radius of 'linf'"),
        (("--task", "linf-adaptive", "--set", "linf-adaptive.level=hard"), "level is 'hard'"),
    ],
)
def test_impossible_attacks_are_refused(oodbench, tmp_path, arguments, said):
    code, _, err = oodbench(*QUICK, *arguments)
    assert code == 2
    assert said in err
    assert not (tmp_path / "results" / "networks").exists()  # before anything is trained
