"""What a network's file proves: where it was trained, and which images it was kept from."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import oodbench
from oodbench.detector import Tuning
from oodbench.detectors.oe import OutlierExposure
from oodbench.images.imageset import ImageSet
from oodbench.networks import build, checkpoints
from oodbench.objective import Objective
from oodbench.registry import discover
from oodbench.results.store import cells
from oodbench.results.tables.conditions import machine_notes
from oodbench.running import network_provenance, planning, tuning
from oodbench.running.imagesets import ImageSets, Sample
from oodbench.running.request import Machinery, Request
from oodbench.suite import Outliers
from oodbench.suitefiles import suitefile

SUITE = suitefile.load("digits")
PLAIN, EXPOSED = Objective(), OutlierExposure()
BOTH = Tuning()


def images(name, seed, count=8):
    pixels = np.random.default_rng(seed).integers(0, 256, (count, 4, 4, 3), dtype=np.uint8)
    return ImageSet(name, pixels, np.zeros(count, np.int64), "drawn")


def image_sets(held=1):
    heldout, outliers = images("held", held), images("outliers", 9)
    return ImageSets({"outliers": outliers}, heldout, held_out=heldout.fingerprint)


@pytest.fixture
def suite():
    return replace(SUITE, outliers=Outliers("outliers", reserved=3))


@pytest.fixture
def saved(tmp_path):
    def save(about, name="net.safetensors"):
        checkpoints.save(build("small-cnn", 2, seed=0), tmp_path / name, about)
        return tmp_path / name

    return save


def test_a_network_of_ones_own_proves_what_it_was_kept_from(suite, saved):
    about = network_provenance.unseen_metadata(suite, image_sets(), PLAIN, None)
    assert network_provenance.perhaps_seen(saved(about), suite, image_sets(), BOTH) == []
    assert network_provenance.perhaps_seen(saved(about), suite, image_sets(held=2), BOTH) == ["id_images"]
    exposed = network_provenance.unseen_metadata(suite, image_sets(), EXPOSED, None)
    assert network_provenance.perhaps_seen(saved(exposed), suite, image_sets(), BOTH) == []
    more = replace(suite, outliers=replace(suite.outliers, reserved=4))
    assert network_provenance.perhaps_seen(saved(exposed), more, image_sets(), BOTH) == ["outliers"]
    assert network_provenance.perhaps_seen(saved(about), more, image_sets(), BOTH) == []  # it saw no outliers at all


def test_training_on_reserved_outliers_is_not_hidden(suite, saved):
    leaky = replace(suite, outliers=replace(suite.outliers, train_on_reserved=True))
    about = network_provenance.unseen_metadata(leaky, image_sets(), EXPOSED, None)
    assert network_provenance.perhaps_seen(saved(about), suite, image_sets(), BOTH) == ["outliers"]
    assert network_provenance.perhaps_seen(saved(about), suite, image_sets(), Tuning(outliers=False)) == []


def test_a_file_that_says_nothing_proves_nothing(suite, saved, tmp_path):
    for file in (saved({}), tmp_path / "none", tmp_path / "net.pt"):
        if file.suffix == ".pt":
            torch.save(build("small-cnn", 2).state_dict(), file)
        assert network_provenance.perhaps_seen(file, suite, image_sets(), BOTH) == ["id_images", "outliers"]
        assert network_provenance.trained_on(file) == ""
    nothing = replace(image_sets(), held_out="")
    assert network_provenance.perhaps_seen(saved({"held_out": ""}), suite, nothing, BOTH) == ["id_images", "outliers"]


def test_what_the_first_weights_saw_the_network_saw(suite, saved):
    public = saved({}, "public.safetensors")
    about = network_provenance.unseen_metadata(suite, image_sets(), PLAIN, public)
    assert network_provenance.perhaps_seen(saved(about), suite, image_sets(), BOTH) == ["id_images", "outliers"]
    own = saved(network_provenance.unseen_metadata(suite, image_sets(), PLAIN, None), "own.safetensors")
    about = network_provenance.unseen_metadata(suite, image_sets(), EXPOSED, own)
    assert network_provenance.perhaps_seen(saved(about), suite, image_sets(), BOTH) == []
    # And of weights that saw the reserved outliers, whatever is trained later.
    leaky = replace(suite, outliers=replace(suite.outliers, train_on_reserved=True))
    seen = saved(network_provenance.unseen_metadata(leaky, image_sets(), EXPOSED, None), "seen.safetensors")
    about = network_provenance.unseen_metadata(suite, image_sets(), EXPOSED, seen)
    assert network_provenance.perhaps_seen(saved(about), suite, image_sets(), BOTH) == ["outliers"]


def test_where_it_was_trained_is_plain_text_of_some_length(saved):
    assert network_provenance.trained_on(saved({"trained_on": "a\n\x00GPU" + "x" * 999})) == "aGPU" + "x" * 296
    assert network_provenance.trained_on(saved({"hardware": "a GPU", "torch": "2.7"})) == "a GPU, torch 2.7"
    assert network_provenance.join_places(["here", "there", "here"]) == "here, then on there"


DOUBT = "not known to be held out of the network's training"


def test_a_checkpoint_is_doubted_and_ones_own_is_not(oodbench, tmp_path):
    quick = ("--suite", "digits", "--limit", "60", "--detector", "odin")
    code, out, err = oodbench("run", *quick, "--set", "epochs=1", "--out", "first")
    assert code == 0, err
    assert "images held out of training and 1000 reserved outliers:" in oodbench("table", "first", "--long")[1]
    (network,) = Path("first/networks").glob("*.safetensors")
    code, out, err = oodbench("run", *quick, "--checkpoint", network, "--out", "again")
    assert code == 0, err
    assert DOUBT not in out
    checkpoints.save(_loaded(network), Path("stripped.safetensors"), {})
    code, out, err = oodbench("run", *quick, "--checkpoint", "stripped.safetensors", "--out", "foreign")
    assert code == 0, err
    said = f"tuned on 60 ID training images and 1000 reserved outliers, {DOUBT}"
    long, short = oodbench("table", "foreign", "--long")[1], " ".join(out.split())
    assert f"{said}: magnitude" in long and f"odin: {said}." in short
    assert "Where these networks were trained is not known: odin" in long
    assert "Where these networks were trained is not known: odin." in short
    code, _, err = oodbench("report", "foreign", "-o", "page.html")
    assert code == 0, err
    assert DOUBT in Path("page.html").read_text().replace("&#39;", "'").replace("\\u0027", "'")
    (cell,) = cells(Path("again"))
    assert cell.attributes()["trained_on"] == network_provenance.trained_on(network) != ""
    assert json.loads(str(cell.attributes()["tuned"]))["perhaps_seen"] == []
    assert cell.attributes()["objective"] == PLAIN.identity
    learned_from = {"id_train_images": checkpoints.metadata(network)["id_train_images"]}
    assert json.loads(str(cell.attributes()["learned_from"])) == learned_from
    assert json.loads(str(cells(Path("first"))[0].attributes()["learned_from"])) == learned_from
    assert json.loads(str(cells(Path("foreign"))[0].attributes()["learned_from"])) == {}


def _loaded(file):
    network = build("small-cnn", 10)
    checkpoints.load(network, file)
    return network


def test_rows_of_different_machines_are_named(tmp_path, stored):
    stored(tmp_path, trained_on="a machine, torch 2.0")
    stored(tmp_path, seed=2, key="cd", trained_on="a GPU, torch 3")
    stored(tmp_path, "odin", key="ef", checkpoint="net.pt")
    frame = oodbench.load_results(tmp_path)
    called = {cell: f"{cell.split('/')[0]}" for cell in frame["cell"]}
    assert machine_notes(frame, called) == [
        "Measured on a machine, torch 2.0.",
        "Networks trained under other conditions than scored, on a GPU, torch 3: msp, seed 2.",
        "Where these networks were trained is not known: odin.",
    ]
    frame.loc[(frame["seed"] == 2) & (frame["task"] == "linf"), "hardware"] = "a GPU"
    first, *_ = machine_notes(frame, called)
    assert first == (
        "Rows of different machines, which round differently. Measured on a GPU, torch 2.0: msp, seed 2 (linf); "
        "on a machine, torch 2.0: msp, seed 1, msp, seed 2 (id), odin."
    )


def test_tuning_from_weights_of_unknown_origin_says_so(saved, tmp_path):
    suite = replace(SUITE, training=replace(SUITE.training, start=str(_start(tmp_path))))
    sample, machinery = Sample(tmp_path, validation=True), Machinery(torch.device("cpu"))
    request = Request((suite,), (discover()["knn"],), 1, sample, machinery, tmp_path)
    (planned,) = planning.plan(request, discover())
    assert tuning.doubt(planned) == " (whether start.safetensors was trained on them is not known)"
    drawn = replace(request, suites=(SUITE,))
    assert tuning.doubt(planning.plan(drawn, discover())[0]) == ""
    itself = replace(drawn, detectors=(discover()["odin"],))
    assert "odin tunes itself on some of them too" in tuning.doubt(planning.plan(itself, discover())[0])


def _start(folder):
    checkpoints.save(build("small-cnn", 10, seed=0), folder / "start.safetensors", {"seed": "1"})
    return folder / "start.safetensors"
