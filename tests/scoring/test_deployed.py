"""A detector in a file: read back it scores to the same bits, and whatever else is in a file is refused."""

import copy
import json
import shutil
import zipfile
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from safetensors import safe_open
from torch import nn

import oodbench
from oodbench.basics.errors import OodbenchError
from oodbench.detectors.knn import KNN
from oodbench.images import builtin
from oodbench.networks import build
from oodbench.networks.checkpoints import weights_digest
from oodbench.registry import discover
from oodbench.scoring.deployed import CALIBRATION, HEADER, Built
from oodbench.scoring.detectorfile import LONGEST_HEADER

REGISTRY = discover()
TRAIN, HELDOUT, LETTERS = (builtin.make(name) for name in ("digits-train", "digits-test", "letters"))
TRAIN, HELDOUT, LETTERS = TRAIN.spread(360), HELDOUT.spread(60), LETTERS.first(24)
LEARNED = {"train": TRAIN, "heldout": HELDOUT, "outliers": LETTERS}


def solved(detector):
    """A drawn network that recognises digits, with what the detector's objective keeps beside it."""
    outputs = 10 + detector.objective().reject_outputs
    return detector.objective().adapt(copy.deepcopy(plain(outputs)), (3, 32, 32)).eval()


@cache
def plain(outputs):
    """Its last layer is the ridge regression of its features on the labels."""
    network = build("preactresnet-8-32", outputs, seed=5).eval()
    pixels = torch.from_numpy(np.array(TRAIN.images)).permute(0, 3, 1, 2) / 255
    with torch.no_grad():
        features = network.represent(pixels).features.double()
        centred = features - features.mean(0)
        wanted = 20 * nn.functional.one_hot(torch.from_numpy(TRAIN.labels), 10).double()
        weight = torch.linalg.solve(
            centred.T @ centred + 1e-3 * torch.eye(centred.shape[1], dtype=torch.float64), centred.T @ wanted
        ).T
        network.head.weight[:10] = weight.float()
        network.head.bias[:10] = -(weight @ features.mean(0)).float()
    return network


@pytest.mark.parametrize("name", [name for name in REGISTRY.names() if not REGISTRY[name].only_by_name])
def test_every_detector_comes_back_to_the_same_bits(tmp_path, name):
    detector = REGISTRY[name]()
    network = solved(detector)
    made = oodbench.fit(network, detector, classes=10, **LEARNED)
    scores = made(LETTERS)
    made.save(tmp_path / "detector.ood")
    again = oodbench.load_detector(tmp_path / "detector.ood", network)
    assert again.detector is not detector
    assert again.detector.parameters == detector.parameters
    assert np.array_equal(again(LETTERS), scores)
    assert again.about["train"] == {"images": 360, "fingerprint": TRAIN.fingerprint}
    assert ("source" in again.about["tuned"]) == (detector.tuning() is not None)
    # Whoever tunes itself on the held-out images cannot choose a threshold on them.
    if detector.tuning() is None:
        assert np.array_equal(again.calibration, made(HELDOUT))
    else:
        assert again.calibration is None and again.about.get("calibration") is None


def test_a_random_score_depends_on_the_image_and_not_on_its_company(tmp_path):
    median = REGISTRY["median"]
    made = oodbench.fit(plain(10), median(median.Parameters(n=3)), images=LETTERS, classes=10)
    scores = made(LETTERS)
    assert np.unique(scores).size == len(LETTERS)
    turned = LETTERS.images[::-1][3:9]
    assert np.allclose(made(np.ascontiguousarray(turned)), scores[::-1][3:9], rtol=1e-6, atol=0)
    assert np.allclose(made.score_batch(np.ascontiguousarray(turned)), scores[::-1][3:9], rtol=1e-6, atol=0)


class Own(nn.Module):
    """A module of somebody's own, which takes normalised images."""

    def __init__(self, seed=0):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.conv = nn.Conv2d(3, 8, 8, stride=8)
            self.out = nn.Linear(128, 10)

    def forward(self, images):
        return self.out(torch.relu(self.conv(images)).flatten(1)), None


NORMALISATION = {"mean": (0.4, 0.5, 0.6), "std": (0.2, 0.3, 0.4)}


@pytest.fixture
def saved(tmp_path):
    """A KNN over a module of somebody's own, its file and the scores of some images."""
    made = oodbench.fit(Own().eval(), KNN(KNN.Parameters(k=3, bank=0.5)), train=TRAIN, **NORMALISATION)
    made.save(tmp_path / "knn.ood")
    return tmp_path / "knn.ood", made(LETTERS)


def test_a_random_score_of_floats_depends_on_the_image_and_not_on_its_place():
    network = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Dropout(), nn.Linear(512, 5)).eval()
    images = torch.rand((6, 3, 16, 16), generator=torch.Generator().manual_seed(2))  # between the levels of 8 bits
    made = oodbench.fit(network, "dropout", images=images)
    assert np.allclose(made(images.flip(0))[::-1], made(images), rtol=1e-6, atol=0)


def test_a_file_remembers_normalisation_and_parameters_and_works_on_the_module_alone(saved):
    path, scores = saved
    again = oodbench.load_detector(path, Own().eval())
    assert np.array_equal(again(LETTERS.images), scores)
    assert again.detector.parameters == KNN.Parameters(k=3, bank=0.5)
    as_floats = torch.from_numpy(np.array(LETTERS.images)).permute(0, 3, 1, 2) / 255
    assert np.array_equal(again(as_floats), scores)


def test_a_network_of_other_code_with_the_same_weights_is_refused(tmp_path):
    class Clipped(type(plain(10))):
        def represent(self, images):
            return super().represent(images.clamp(max=0.5))

    network = copy.deepcopy(plain(10))
    oodbench.fit(network, "energy", images=LETTERS, classes=10).save(tmp_path / "energy.ood")
    oodbench.load_detector(tmp_path / "energy.ood", network)
    network.__class__ = Clipped
    with pytest.raises(OodbenchError, match="gave other scores than this Clipped, which has the same weights"):
        oodbench.load_detector(tmp_path / "energy.ood", network)


def test_thresholds_and_p_values_come_from_images_that_nothing_has_seen(tmp_path):
    made = oodbench.fit(Own().eval(), "msp", calibrate=HELDOUT)
    made.save(tmp_path / "msp.ood")
    again = oodbench.load_detector(tmp_path / "msp.ood", Own().eval())
    scores = np.sort(again(HELDOUT))
    assert again.threshold(0.95).value == scores[2]  # the third of 60: 0.05 * 61 = 3.05
    assert again.threshold(0.95, delta=0.05).value == scores[0]  # all 60 lie above the true one in 0.95^60 = 4.6 %
    assert again.p_values([scores[0], scores[-1], -np.inf]).tolist() == [2 / 61, 1.0, 1 / 61]
    with pytest.raises(OodbenchError, match="60 ID images are too few .* it takes 99"):
        again.threshold(0.99)
    without = oodbench.fit(Own().eval(), "msp", images=LETTERS)
    for asked in (without.threshold, lambda: without.p_values([0.0])):
        with pytest.raises(OodbenchError, match="msp knows no scores of ID images .* calibrate="):
            asked()


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A detector in a file that holds its network."""
    network = build("small-cnn", 10, mean=(0.5, 0.5, 0.5), seed=3).eval()
    made = oodbench.fit(network, "energy", heldout=HELDOUT, classes=10)
    built = Built("small-cnn", 10, (0.5, 0.5, 0.5), (1.0, 1.0, 1.0))
    path = tmp_path_factory.mktemp("alone") / "energy.ood"
    replace(made, built=built).save(path)
    return path, made(LETTERS)


@pytest.fixture
def copied(alone, tmp_path):
    path, scores = alone
    return Path(shutil.copy(path, tmp_path)), scores


def test_a_file_that_holds_its_network_needs_none(copied, tmp_path):
    path, scores = copied
    again = oodbench.load_detector(path)
    assert np.array_equal(again(LETTERS), scores)
    again.save(tmp_path / "again.ood")
    assert np.array_equal(oodbench.load_detector(tmp_path / "again.ood")(LETTERS), scores)
    with pytest.raises(OodbenchError, match="another network than this SmallCNN"):
        oodbench.load_detector(path, build("small-cnn", 10, seed=0))


def test_the_network_of_every_objective_is_made_again():
    """What a method keeps beside its network comes with it."""
    objectives = {REGISTRY[name]().objective() for name in REGISTRY.names()}
    assert len(objectives) > 5
    for objective in objectives:
        outputs = 10 + objective.reject_outputs
        kept = build("small-cnn", outputs, seed=1)
        kept = objective.adapt(kept, (3, 32, 32))
        again = Built("small-cnn", outputs, (0.0,) * 3, (1.0,) * 3, type(kept).__name__ != "SmallCNN")
        again = again.network(objective, (32, 32))
        again.load_state_dict(kept.state_dict())
        assert weights_digest(again) == weights_digest(kept)


def test_a_file_without_its_network_says_where_to_give_it(saved):
    path, _ = saved
    with pytest.raises(OodbenchError, match="holds no network, since it was fitted on a module"):
        oodbench.load_detector(path)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            lambda head: head["network"].update(name="evil.py:build"),
            "built by 'evil.py:build', and code",
        ),
        (lambda head: head["network"].update(name="transformers:folder"), "code that a file names is not run"),
        (lambda head: head["network"].update(name="hf://org/name@revision"), "code that a file names is not run"),
        (lambda head: head["network"].update(name="torchvision:no-such"), "no-such"),
        (lambda head: head["network"].update(name="os:system"), "code that a file names is not run"),
        (lambda head: head["network"].update(name="../../evil"), "code that a file names is not run"),
        (lambda head: head["network"].update(name=3), "the name of its network"),
        (lambda head: head["network"].update(name="no-such-network"), "no-such-network"),
        (lambda head: head["network"].update(name="preactresnet-8-32"), "is damaged"),
        (lambda head: head["network"].update(outputs=10**9), "other outputs than its weights"),
        (lambda head: head["network"].update(outputs="10"), "other outputs than its weights"),
        (lambda head: head["network"].update(mean=[0.5, 0.5, "x"]), "normalisation of its network"),
        (lambda head: head["network"].update(std=[0.5]), "normalisation of its network"),
        (lambda head: head["network"].pop("beside"), "is damaged"),
        (lambda head: head.update(network=[1]), "is damaged"),
        (lambda head: head.update(network_digest="0" * 64), "other weights"),
        (lambda head: head["input"].update(preprocessing={"side": 10**9}), "size of its images"),
    ],
)
def test_a_network_in_a_file_that_was_meddled_with_is_refused(copied, change, told):
    path, _ = copied
    changed(path, change)
    with pytest.raises(OodbenchError, match=told):
        oodbench.load_detector(path)


@pytest.mark.parametrize(
    "scores",
    [
        torch.tensor([1.0, float("nan")], dtype=torch.float64),
        torch.zeros(3),
        torch.zeros((2, 2), dtype=torch.float64),
        torch.zeros(0, dtype=torch.float64),
    ],
)
def test_scores_of_id_images_that_are_none_are_refused(copied, scores):
    path, _ = copied
    with safe_open(path, framework="pt") as file:
        head, tensors = file.metadata()[HEADER], {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    path.write_bytes(safetensors.torch.save({**tensors, CALIBRATION: scores}, {HEADER: head}))
    with pytest.raises(OodbenchError, match="scores of ID images are not finite numbers"):
        oodbench.load_detector(path)


def test_a_header_larger_than_any_detectors_is_not_read(copied):
    path, _ = copied
    with path.open("r+b") as file:
        file.write((LONGEST_HEADER + 1).to_bytes(8, "little"))
        file.truncate(LONGEST_HEADER + 100)  # sparse: it takes no room
    with pytest.raises(OodbenchError, match="no detector that oodbench saved"):
        oodbench.load_detector(path)


def test_an_archive_or_a_folder_is_no_detector(copied, tmp_path):
    path, _ = copied
    with zipfile.ZipFile(tmp_path / "zipped.ood", "w") as archive:
        archive.write(path, "../../energy.ood")
    with pytest.raises(OodbenchError, match="no detector that oodbench saved"):
        oodbench.load_detector(tmp_path / "zipped.ood")
    with pytest.raises(OodbenchError, match="it is no file"):
        oodbench.load_detector(tmp_path)
    deep = json.dumps({"schema": 1})[:-1] + ', "about": ' + "[" * 50_000 + "]" * 50_000 + "}"
    (tmp_path / "deep.ood").write_bytes(safetensors.torch.save({"w": torch.zeros(1)}, {HEADER: deep}))
    with pytest.raises(OodbenchError, match="no detector that oodbench saved"):
        oodbench.load_detector(tmp_path / "deep.ood")


def test_another_network_or_size_is_refused(saved):
    path, _ = saved
    with pytest.raises(OodbenchError, match="fitted on another network than this Own, or on other weights"):
        oodbench.load_detector(path, Own(seed=1).eval())
    with pytest.raises(OodbenchError, match="is not the network|another network"):
        oodbench.load_detector(path, build("small-cnn", 10, seed=0))
    with pytest.raises(OodbenchError, match="32 x 16, and the detector was fitted on 32 x 32"):
        oodbench.load_detector(path, Own().eval())(LETTERS.images[:, :, :16])


def changed(path, change):
    """The file with its JSON changed, and no digest of its content, as in files of before there was one."""
    with safe_open(path, framework="pt") as file:
        head = json.loads(file.metadata()[HEADER])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    change(head)
    path.write_bytes(safetensors.torch.save(tensors, {HEADER: json.dumps(head)}))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda head: head.update(schema=2), "newer oodbench .*upgrade"),
        (lambda head: head.update(code="0" * 64), "another state of the code of 'knn'"),
        (lambda head: head.update(detector="mine"), "detector 'mine', which is not known"),
        (lambda head: head.pop("state"), "is damaged"),
        (lambda head: head.update(state={"_bank": {"tensor": ["tensor7", [0, 1]]}}), "is damaged"),
        (lambda head: head.update(state={"_bank": {"tensor": ["tensor0", [0, 5]]}}), "is damaged"),
        (lambda head: head.update(state={"_bank": {"object": ["os", "_wrap_close", {}]}}), "'_wrap_close', which knn"),
        (lambda head: head.update(state={"_bank": {"object": ["builtins", "object", {}]}}), "'object', which knn does"),
        (lambda head: head.update(state={"_bank": "x"}), "is damaged"),
        (lambda head: head.update(state={"__class__": 1}), "names an attribute '__class__'"),
        (lambda head: head["input"].update(side=[10**9, 1]), "size of its images"),
        (lambda head: head["input"].update(preprocessing={"evil": 1}), "is damaged"),
        (lambda head: head.update(parameters={"k": "3"}), "is damaged: k: expected a whole number"),
        (lambda head: head.update(parameters={"k": -1}), "is damaged: k is -1"),
    ],
)
def test_a_file_that_was_meddled_with_is_refused(saved, change, told):
    path, _ = saved
    changed(path, change)
    with pytest.raises(OodbenchError, match=told):
        oodbench.load_detector(path, Own().eval())


def flipped(path, place):
    """The file with the highest bit of one byte the other way round."""
    content = bytearray(path.read_bytes())
    content[place] ^= 0x80
    path.write_bytes(content)


def test_one_flipped_bit_of_any_tensor_is_refused(tmp_path):
    path = tmp_path / "knn.ood"
    oodbench.fit(Own().eval(), "knn", train=TRAIN, calibrate=HELDOUT, **NORMALISATION).save(path)
    content = path.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    tensors = json.loads(content[8:start])
    tensors.pop("__metadata__")
    assert CALIBRATION in tensors and len(tensors) > 2  # what was learned, too
    for one in tensors.values():
        path.write_bytes(content)
        flipped(path, start + one["data_offsets"][1] - 1)
        with pytest.raises(OodbenchError, match="is damaged: its content is no longer what was saved; copy it again"):
            oodbench.load_detector(path, Own().eval())


def test_a_changed_number_in_the_header_is_refused(saved):
    path, _ = saved
    content = path.read_bytes()
    path.write_bytes(content.replace(rb"\"k\": 3", rb"\"k\": 4", 1))
    assert path.read_bytes() != content
    with pytest.raises(OodbenchError, match="is damaged: its content is no longer what was saved"):
        oodbench.load_detector(path, Own().eval())


def test_a_file_of_before_there_was_a_digest_still_loads(saved):
    path, scores = saved
    changed(path, lambda head: None)
    assert np.array_equal(oodbench.load_detector(path, Own().eval())(LETTERS), scores)


def test_a_file_of_something_else_or_cut_off_is_refused(saved, tmp_path):
    path, _ = saved
    content = path.read_bytes()
    for name, part in (("half.ood", content[: len(content) // 2]), ("few.ood", content[:20]), ("empty.ood", b"")):
        (tmp_path / name).write_bytes(part)
        with pytest.raises(OodbenchError, match="no detector that oodbench saved, or it is cut off"):
            oodbench.load_detector(tmp_path / name, Own().eval())
    (tmp_path / "weights.ood").write_bytes(safetensors.torch.save({"w": torch.zeros(1)}))
    with pytest.raises(OodbenchError, match="no detector that oodbench saved: give the file"):
        oodbench.load_detector(tmp_path / "weights.ood", Own().eval())
    with pytest.raises(OodbenchError, match="cannot read .*none.ood"):
        oodbench.load_detector(tmp_path / "none.ood", Own().eval())
