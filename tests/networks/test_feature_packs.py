"""Feature packs from anywhere: what is in them comes out, and what is wrong with them is said."""

import json
import re

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import oodbench
from oodbench.basics.errors import OodbenchError
from oodbench.networks import feature_packs
from oodbench.networks.of_features import NotInPackError

WEIGHT, BIAS = torch.tensor([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]]), torch.tensor([0.0, 0.5, -1.0])


def arrays(count, **more):
    features = np.random.default_rng(count).normal(size=(count, 2)).astype(np.float32)
    return {"features": features, "labels": np.arange(count) % 3, **more}


@pytest.fixture
def path(tmp_path):
    ood = {"noise": arrays(4), "birds": arrays(70)}
    return oodbench.write_features(tmp_path / "mine", arrays(6), ood, head=(WEIGHT, BIAS), near=["birds"], suite="mine")


def changed(path, change, metadata=()):
    """The same pack with something in it changed."""
    with path.open("rb") as raw:
        header = json.loads(raw.read(int.from_bytes(raw.read(8), "little")))
    tensors, about = load_file(path), {**header["__metadata__"], **dict(metadata)}
    change(tensors)
    save_file(tensors, path, {name: text for name, text in about.items() if text is not None})
    return path


def test_what_was_written_is_read_again_and_logits_are_those_of_the_head(path):
    pack = feature_packs.read(path)
    assert list(pack.sets) == ["birds", "mine-test", "noise"]
    made = pack.sets["mine-test"].made
    features = arrays(6)["features"]
    assert made.features.numpy().tolist() == features.tolist()
    by_hand = [[x, 2 * y + 0.5, x + y - 1] for x, y in features.tolist()]
    assert made.logits.numpy() == pytest.approx(np.array(by_hand), abs=1e-6)
    assert pack.sets["mine-test"].labels.tolist() == [0, 1, 2, 0, 1, 2]


def test_the_network_finds_images_of_several_sets_by_their_numbers(path):
    pack = feature_packs.read(path)
    network = pack.network()
    numbers = [73, 0, 79, 75]  # the fourth of mine-test behind 70 birds, a bird, the last of noise, ...
    colours = torch.tensor([[number % 256, number // 256, 0] for number in numbers])[:, :, None, None] / 255
    with torch.no_grad():
        found = network.represent(colours)
    sets = [pack.sets[name].made.features for name in ("birds", "mine-test", "noise")]
    assert torch.equal(found.features, torch.cat(sets)[numbers])
    with torch.no_grad(), pytest.raises(NotInPackError, match="images of its own making"):
        network.represent(colours + 0.001)
    with torch.no_grad(), pytest.raises(NotInPackError, match="images of its own making"):
        network.represent(torch.full((1, 3, 1, 1), 1.0))
    with pytest.raises(NotInPackError, match="gradient"):
        network.represent(colours.requires_grad_())
    with pytest.raises(NotInPackError, match="feature maps"):
        len(found.taps)


def test_half_precision_stays_and_double_becomes_single(tmp_path):
    double = {"logits": np.eye(3), "labels": [0, 1, 2]}
    half = {"logits": 2 * np.eye(3, dtype=np.float16)}
    pack = feature_packs.read(oodbench.write_features(tmp_path / "p", double, {"far": half}))
    assert [pack.sets[name].made.logits.dtype for name in ("features-test", "far")] == [torch.float32, torch.float16]
    with torch.no_grad():
        assert pack.network().represent(torch.zeros(1, 3, 1, 1)).logits.dtype == torch.float32


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.uint16, np.uint32, np.uint64])
def test_integers_of_any_width_are_labels_and_numbers_are_names_of_classes(tmp_path, kind):
    id_test = {"logits": np.eye(3), "labels": np.arange(3).astype(kind), "size": np.array([8, 9])}
    names = [np.int64(2), "b", 0]
    path = oodbench.write_features(tmp_path / "p", id_test, {"far": {"logits": 2 * np.eye(3)}}, class_names=names)
    changed(path, put("sets/features-test/labels", torch.from_numpy(id_test["labels"])))
    pack = feature_packs.read(path)
    assert pack.sets["features-test"].labels.equal(torch.arange(3)) and pack.sets["features-test"].size == (8, 9)
    assert json.loads(pack.about["classes"]) == ["2", "b", "0"]


def test_a_label_that_no_int64_holds_is_not_taken_for_an_unknown_one(path):
    changed(path, put("sets/noise/labels", torch.from_numpy(np.array([2**64 - 1, 0, 1, 2], np.uint64))))
    assert feature_packs.read(path).sets["noise"].labels.tolist() == [2**63 - 1, 0, 1, 2]


def put(name, value):
    def change(tensors):
        tensors[name] = value

    return change


def spoilt(name, value):
    def change(tensors):
        tensors[name][0, 0] = value

    return change


NOTHING = {}.update


@pytest.mark.parametrize(
    ("change", "metadata", "said"),
    [
        (spoilt("sets/noise/logits", torch.nan), {}, "sets/noise/logits has 1 numbers that are NaN or infinite of 12"),
        (spoilt("sets/noise/features", torch.inf), {}, "sets/noise/features has 1 numbers that are NaN"),
        (spoilt("head/weight", torch.nan), {}, "head/weight has 1 numbers"),
        (put("head/bias", torch.tensor([0.0, torch.nan, 0.0])), {}, "head/bias has 1 numbers"),
        (put("head/weight", torch.ones(3, 2)), {}, "its head makes other logits of the features"),
        (put("head/weight", torch.ones(3, 5)), {}, "head/weight is (3, 5), and logits and features ask for (3, 2)"),
        (put("head/bias", torch.zeros(2)), {}, "its head is not whole"),
        (lambda tensors: tensors.pop("head/bias"), {}, "its head is not whole"),
        (put("sets/noise/logits", torch.zeros(4, 5)), {}, "logits of 'birds' are 3 wide and those of 'noise' 5"),
        (put("sets/noise/features", torch.zeros(4, 9)), {}, "features of 'birds' are 2 wide and those of 'noise' 9"),
        (lambda tensors: tensors.pop("sets/noise/features"), {}, "those of 'noise' 0"),
        (put("sets/noise/features", torch.zeros(3, 2)), {}, "features of 3 images and logits of 4"),
        (put("sets/noise/logits", torch.zeros(4, 3, dtype=torch.int64)), {}, "is int64 (4, 3); write floats"),
        (put("sets/noise/logits", torch.zeros(4)), {}, "is float32 (4,); write floats (N, width)"),
        (put("sets/noise/logits", torch.zeros(0, 3)), {}, "is float32 (0, 3)"),
        (put("sets/noise/labels", torch.zeros(5, dtype=torch.int64)), {}, "is int64 (5,); write integers (4,)"),
        (put("sets/noise/labels", torch.full((4,), -3)), {}, "sets/noise/labels has -3"),
        (put("sets/stray/logits", torch.zeros(4, 3)), {}, "it has a tensor 'sets/stray/logits'"),
        (NOTHING, {"format": "oodbench-features-9"}, "says that its format is 'oodbench-features-9'"),
        (NOTHING, {"format": None}, "does not say that it is one"),
        (NOTHING, {"sets": "{"}, "'sets' in its metadata is not valid JSON"),
        (NOTHING, {"sets": "[" * 100_000}, "'sets' in its metadata is not valid JSON"),
        (NOTHING, {"sets": "[1]"}, "not a JSON object of objects"),
        (NOTHING, {"sets": "{}"}, "it has no image sets"),
        (NOTHING, {"sets": '{"../up": {}}'}, "'../up' is not the name of a set"),
        (NOTHING, {"sets": '{"far": {}}'}, "it has a tensor"),
        (
            lambda tensors: tensors.pop("sets/noise/logits"),
            {},
            "set 'noise' has no logits; write sets/noise/logits, (N, outputs)",
        ),
    ],
)
def test_what_is_wrong_with_a_pack_is_said(path, change, metadata, said):
    changed(path, change, metadata)
    with pytest.raises(OodbenchError, match=re.escape(said)):
        feature_packs.read(path)


@pytest.mark.parametrize("keep", [0, 5, 100, -1])
def test_a_pack_that_breaks_off_is_refused(path, keep):
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(OodbenchError, match="is not a whole safetensors file"):
        feature_packs.read(path)


def test_a_pickle_is_never_run(path):
    torch.save({"sets/noise/logits": torch.zeros(4, 3)}, path)
    with pytest.raises(OodbenchError, match="is not a whole safetensors file"):
        feature_packs.read(path)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"id_test": {"labels": [1]}}, "id_test has neither logits nor features"),
        ({"id_test": [1, 2]}, "id_test is a list: give a mapping"),
        ({"id_test": {"logit": [[1.0]]}}, "unknown entry of id_test 'logit'"),
        ({"id_test": {"logits": [["a"]]}}, "id_test: logits is not an array of numbers"),
        ({"id_test": {"features": [[1.0, 2.0]]}}, "id_test has no logits"),
        ({"id_test": {"logits": [[1.0, 2.0, 3.0]], "labels": [0.5]}}, "labels are float64 (1,)"),
        ({"id_test": {"logits": [[1.0, 2.0, np.nan]]}}, "sets/features-test/logits has 1 numbers that are NaN"),
        ({"id_test": None}, "id_test is a NoneType: give a mapping"),
        ({"id_test": {"logits": 5}}, "id_test: 5 has no row for each image"),
        ({"id_test": {"logits": [[1.0, 2.0, 3.0]], "labels": ["cat"]}}, "labels are not an array of numbers"),
        ({"id_test": {"logits": [[1.0, 2.0, 3.0]], "labels": [[1, 2], [3]]}}, "labels are not an array of numbers"),
        ({"id_test": {"logits": [[1.0, 2.0, 3.0]], "size": 32}}, "id_test: size is 32: give [height, width]"),
        ({"id_test": {"logits": [[1.0, 2.0, 3.0]], "size": [32, 32, 3]}}, "give [height, width], two whole numbers"),
        ({"class_names": "abc"}, "class_names is 'abc': give a list of names"),
        ({"class_names": [0.5]}, "class_names has 0.5 of the type float: give texts"),
        ({"near": "far"}, "near is 'far': give a list of names"),
        ({"near": ["nearby"]}, "unknown OOD set that is near 'nearby'"),
        ({"ood": {}}, "there is no OOD set: give one at least"),
        ({"ood": {"a/b": {"logits": [[1.0, 2.0, 3.0]]}}}, "'a/b' is not the name of a set"),
        ({"head": (WEIGHT,)}, "head is not a pair"),
        ({"head": (WEIGHT, BIAS)}, "head/weight is (3, 2), and logits and features ask for (3, 0)"),
        ({"classes": 1}, "classes is 1"),
        ({"classes": 4}, "has 3 logits an image, and its suite 4 classes"),
        ({"suite": "A suite"}, "name 'A suite' becomes a folder's"),
    ],
)
def test_arrays_that_do_not_fit_are_refused_and_nothing_is_written(tmp_path, asked, said):
    usual = {"id_test": {"logits": np.eye(3)}, "ood": {"far": {"logits": np.ones((2, 3))}}}
    with pytest.raises(OodbenchError, match=re.escape(said)):
        oodbench.write_features(tmp_path / "pack", **{**usual, **asked})
    assert not list(tmp_path.iterdir())
