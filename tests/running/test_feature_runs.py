"""A run on a feature pack: the same scores as on the images, and a word for whatever has no place there."""

import warnings
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from realimages import SHARED, needs_real_images
from safetensors import SafetensorError
from safetensors.torch import load_file

import oodbench as ood
from oodbench.basics.errors import OodbenchError, StorageError
from oodbench.networks import feature_packs

ON = ("--suite", "digits-adv", "--pretrained", "--only", "letters", "--limit", "200")
PLAIN = Path(ood.__file__).parents[1] / "results/reference/networks/digits/plain.safetensors"
METHODS = ("msp", "knn", "klm", "react")
"""From logits; fitted on features; tuned on held-out images; with the weights of the last layer."""


def named(*methods):
    return [word for name in methods for word in ("--detector", name)]


def stored(folder, method):
    """Scores, predictions and all that goes with each image, of the one result of a method."""
    (file,) = Path(folder).rglob(f"{method}/*.h5")
    found = {}

    def keep(name, item):
        if isinstance(item, h5py.Dataset):
            found[name] = item[()]

    with h5py.File(file) as opened:
        opened.visititems(keep)
        return found, dict(opened.attrs), opened["clean/letters"].attrs["fingerprint"]


def test_scores_of_a_pack_are_those_of_the_images_to_the_last_bit(oodbench):
    code, out, err = oodbench("features", *ON, "-o", "digits.features")
    assert code == 0, err
    assert "letters: 200 images, 10 logits, 1024 features" in out
    assert oodbench("run", *ON, *named(*METHODS), "--task", "clean", "--out", "images")[0] == 0
    code, _, err = oodbench("run", "--features", "digits.features", *named(*METHODS), "--out", "pack")
    assert code == 0, err
    for method in METHODS:
        (one, about, fingerprint), (other, about_images, same) = stored("pack", method), stored("images", method)
        assert one.keys() == other.keys()
        assert all(np.array_equal(one[name], other[name]) for name in one)
        assert fingerprint == same
        for name in ("suite_fingerprint", "network_digest", "parameters", "trained_on", "network"):
            assert about[name] == about_images[name]
        assert about["features"].startswith("digits.features (SHA-256 ")
        assert ", of a network trained with seed 1, made on " in about["features"]
    out = oodbench("table", "pack", "--long")[1]
    assert "features digits.features" in out
    assert "Not scored from images, but from what a network made of them before: feature pack digits.features" in out
    assert (
        "everything is there already"
        in oodbench("run", "--features", "digits.features", *named("knn"), "--out", "pack")[2]
    )


def test_a_pack_of_more_outputs_than_classes_leaves_out_who_takes_them_for_classes(oodbench):
    generator = np.random.default_rng(1)
    near, far = ({"logits": generator.normal(size=(60, 4))} for _ in range(2))
    ood.write_features("four.features", near | {"labels": np.arange(60) % 3}, {"far": far}, classes=3)
    code, _, err = oodbench("run", "--features", "four.features", *named("msp", "energy"), "--out", "out")
    assert code == 2
    assert "msp takes all 4 outputs of the network for ID classes, and there are 3" in err
    frame = ood.load_results("out")
    assert set(frame[frame["metric"] == "auroc"]["detector"]) == {"energy"}


def test_a_pack_says_the_seed_of_its_network_and_not_that_of_the_command(oodbench):
    kept = str(PLAIN)
    pack = ("--suite", "digits", "--checkpoint", kept, "--limit", "20", "--no-train", "--seed", "3")
    assert oodbench("features", *pack, "-o", "a.features")[0] == 0
    assert feature_packs.read(Path("a.features")).about["trained_seed"] == "1"


@pytest.fixture
def pack(tmp_path):
    """Hand-made features of three classes in two corners each, and the layer that tells them apart."""
    generator = np.random.default_rng(5)
    centres = 3 * np.eye(3)

    def near(label):
        return {
            "features": np.abs(centres[label] + generator.normal(size=(len(label), 3))).astype("f4"),
            "labels": label,
        }

    labels = np.arange(90) % 3
    far = {"features": np.abs(generator.normal(size=(40, 3))).astype("f4")}
    return ood.write_features(
        tmp_path / "mine.features", near(labels), {"far": far}, head=(np.eye(3, dtype="f4"), np.zeros(3, "f4")),
        train=near(labels), suite="mine", network="by-hand", made_on="paper",
    )  # fmt: skip


def test_every_detector_that_can_runs_on_a_pack_by_hand_and_the_others_are_named(oodbench, pack):
    values = (
        "knn.k=5",
        "nnguide.k=5",
        "openmax.tail=5",
        "vim.dimensions=2",
        "residual.dimensions=2",
        "neco.dimensions=2",
    )
    settings = [word for value in values for word in ("--set", value)]
    code, _, err = oodbench("run", "--features", pack, "--detector", "all", *settings)
    assert code == 0, err
    for name in ("gram", "mahalanobis", "rankfeat"):
        assert f"left out: {name} needs feature maps (taps)" in err or f"left out: {name} is tuned on" in err
    assert "left out: oe trains its network in its own way" in err
    assert "left out: klm is tuned on ID images held out of training, and the pack has none" in err
    frame = ood.load_results("results")
    assert {"msp", "knn", "vim", "rmds", "react", "gradnorm", "nnguide"} <= set(frame["detector"])
    assert frame["features"].str.contains("mine.features").all()
    msp = frame[(frame.detector == "maxlogit") & (frame.metric == "auroc")]
    tensors = load_file(pack)
    of_id, of_ood = (tensors[f"sets/{name}/logits"].max(1).values for name in ("mine-test", "far"))
    assert msp["value"].tolist() == [pytest.approx(float((of_id[:, None] > of_ood).double().mean()))]


def test_a_pack_of_few_images_is_never_called_one_of_many(oodbench):
    made = ("features", "--suite", "digits", "--detector", "msp", "--pretrained", "--limit", "20", "-o", "few.features")
    assert oodbench(*made)[0] == 0
    for more in ((), ("--limit", "400"), ("--limit", "10")):
        assert oodbench("run", "--features", "few.features", *named("msp"), *more)[0] == 0
    assert sorted(ood.load_results("results")["limit"].unique()) == [10, 20]


def test_all_detectors_of_a_pack_are_those_that_trained_its_network_too(oodbench):
    made = ("features", "--suite", "digits", "--detector", "oe", "--pretrained", "--limit", "40", "-o", "oe.features")
    assert oodbench(*made)[0] == 0
    code, out, err = oodbench("run", "--features", "oe.features", "--detector", "all", "--dry-run")
    assert code == 0, err
    assert "  oe: " in out
    assert "left out: oe " not in err and "left out: msp trains its network in its own way" in err


def test_a_network_that_was_trained_with_the_suites_own_parameters_is_scored_with_them(oodbench):
    for pack, more in (("atom.features", ()), ("other.features", ("--set", "atom.weight=0.5", "--set", "epochs=1"))):
        kept = () if more else ("--pretrained",)
        code, _, err = oodbench(
            "features", "--suite", "digits", "--detector", "atom", *kept, *more, "--limit", "20", "-o", pack
        )
        assert code == 0, err
    assert oodbench("run", "--features", "atom.features", "--detector", "atom")[0] == 0
    assert oodbench("run", "--suite", "digits", "--detector", "atom", "--pretrained", "--limit", "20")[0] == 0
    assert ood.load_results("results")["network_digest"].nunique() == 1
    code, _, err = oodbench("run", "--features", "other.features", "--detector", "atom")
    assert (code, "trained otherwise (weight=0.5, and here weight=1.0)" in err) == (2, True)


def test_another_pack_under_the_same_name_is_another_result(oodbench, pack):
    assert oodbench("run", "--features", pack, *named("msp"))[0] == 0
    other = {"logits": np.random.default_rng(1).normal(size=(9, 3))}
    ood.write_features(pack, other, {"far": {"logits": 2 * np.eye(3)}}, suite="mine", network="by-hand")
    assert oodbench("run", "--features", pack, *named("msp"))[0] == 0
    assert len(list(Path("results/mine/msp").glob("*.h5"))) == 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--detector", "mahalanobis"), "mahalanobis is tuned on"),
        (("--detector", "odin", "--set", "odin.magnitude=0.01"), "odin needs the gradient"),
        (("--detector", "atom"), "atom needs 4 logits an image, and the pack has 3"),
        (("--detector", "rankfeat"), "rankfeat needs feature maps (taps)"),
        (("--detector", "msp", "--task", "linf"), "linf: alters images, and a feature pack has none"),
        (("--detector", "msp", "--task", "corruption"), "corruption: alters images"),
        (("--detector", "msp", "--task", "certified"), "certified: alters images"),
        (("--detector", "msp", "--threat", "both"), "a threat to ID images cannot be asked for"),
        (("--detector", "msp", "--eps", "8"), "an attack's radii cannot be asked for"),
        (("--detector", "msp", "--checkpoint", "x"), "a checkpoint cannot be asked for"),
        (("--detector", "msp", "--only", "near"), "unknown OOD set of suite 'mine' 'near'"),
        (("--detector", "msp", "--suite", "digits"), "give --suite NAME, or --features PACK"),
    ],
)
def test_what_a_pack_cannot_do_is_refused_by_name(oodbench, pack, options, said):
    code, _, err = oodbench("run", "--features", pack, *options)
    assert code == 2
    assert said in err
    assert not Path("results").exists()


def test_no_pack_is_a_mistake(oodbench):
    code, _, err = oodbench("run", "--features", "none", "--detector", "msp")
    assert code == 2
    assert "there is no feature pack none" in err


def test_logits_alone_are_enough_for_detectors_of_logits(oodbench, tmp_path):
    logits = np.random.default_rng(2).normal(size=(20, 4)).astype(np.float16)
    ood.write_features(
        tmp_path / "p", {"logits": logits + 5 * np.eye(4)[np.arange(20) % 4]}, {"far": {"logits": logits}}
    )
    code, _, err = oodbench("run", "--features", "p", *named("msp", "energy"))
    assert code == 0, err
    code, _, err = oodbench("run", "--features", "p", *named("nci"))
    assert code == 2
    assert "nci learns from ID training images" in err or "nci needs" in err


@needs_real_images
def test_a_real_network_and_its_head_give_the_figures_that_others_found(oodbench, tmp_path):
    arrays = np.load(SHARED / "spec" / "golden" / "cifar100-resnet14" / "features.npz")
    weights = torch.load(SHARED / "weights" / "cifar100-resnet14.pth", weights_only=True, map_location="cpu")
    head = (weights["model_state_dict"]["fc.weight"], weights["model_state_dict"]["fc.bias"])
    test = {"features": arrays["id_features"], "labels": arrays["id_labels"]}
    textures = {"dtd": {"features": arrays["ood_features"]}}
    ood.write_features(tmp_path / "p", test, textures, head=head, suite="cifar100-resnet14")
    assert oodbench("run", "--features", "p", *named("msp", "maxlogit", "energy"))[0] == 0
    frame = ood.load_results("results")
    accuracy = frame[frame.metric == "accuracy"]["value"]
    assert accuracy.round(4).tolist() == [0.6568] * 3
    found = frame[frame.metric == "auroc"].set_index("detector")["value"].round(4).to_dict()
    assert found == {"msp": 0.6249, "maxlogit": 0.6257, "energy": 0.6221}
    # Of the training images nothing is known, so some of the test images stand for them: every method runs.
    row = np.arange(len(arrays["id_labels"]))
    parts = row % 2 == 0, (row % 2 == 1) & (row % 10 != 1), row % 10 == 1
    tested, train, heldout = ({name: part[which] for name, part in test.items()} for which in parts)
    ood.write_features(tmp_path / "q", tested, textures, head=head, train=train, heldout=heldout, suite="parts")
    dimensions = ("--set", "vim.dimensions=32", "--set", "residual.dimensions=32", "--set", "openmax.tail=3")
    code, _, err = oodbench("run", "--features", "q", "--detector", "all", "--out", "all", *dimensions)
    assert code == 0, err
    assert ood.load_results("all")["detector"].nunique() >= 25


def test_a_set_of_ones_own_cannot_have_the_name_of_the_packs(tmp_path):
    one = {"logits": np.eye(3), "labels": np.arange(3)}
    for name in ("mine-train-heldout", "mine-train", "mine-test"):
        with pytest.raises(OodbenchError, match=f"{name}.*rename that OOD set|{name}"):
            ood.write_features(tmp_path / "f", one, {name: one}, train=one, heldout=one, suite="mine")
        assert not (tmp_path / "f").exists()


def test_rows_that_two_sets_share_are_named_and_a_set_inside_another_is_refused(tmp_path):
    draw = np.random.default_rng(0).normal
    tested, train, far = (np.maximum(draw(size=(40, 3)), -0.5) for _ in range(3))
    tested[:5] = train[:5] = far[:5] = 0.0  # as dead units give, of whatever image

    def write(tested=tested, train=train, far=far):
        sets = ({"logits": rows} for rows in (train, far))
        how = dict(zip(("train", "far"), sets, strict=True))
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            ood.write_features(tmp_path / "f", {"logits": tested}, {"far": how["far"]}, train=how["train"], classes=3)
        return [str(one.message) for one in said]

    assert write() == []
    (found,) = write(far=np.concatenate([far, train[10:20]]))
    assert found.startswith("10 of 33 unique rows of features-train are unique rows of far")
    (tmp_path / "f").unlink()
    with pytest.raises(OodbenchError, match="features-test and features-train are the same unique rows"):
        write(train=tested)
    with pytest.raises(OodbenchError, match="all 10 unique rows of far are unique rows of features-test"):
        write(far=tested[10:20])
    assert not (tmp_path / "f").exists()


def test_a_full_disk_is_said_and_leaves_nothing(oodbench, tmp_path, monkeypatch):
    def full(*_):
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(StorageError, match=r"cannot write .*f\.features: .*No space left.*free some space"):
        ood.write_features(
            tmp_path / "f.features", {"logits": np.eye(3)}, {"far": {"logits": 2 * np.eye(3)}}, suite="mine"
        )
    assert list(tmp_path.iterdir()) == []
