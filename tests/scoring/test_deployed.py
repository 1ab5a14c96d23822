"""A detector in a file: read back it scores to the same bits, and whatever else is in a file is refused."""

import copy
import json
from functools import cache

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
from oodbench.registry import discover
from oodbench.scoring.deployed import HEADER

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


@pytest.mark.parametrize("name", REGISTRY.names())
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


def test_a_file_remembers_normalisation_and_parameters_and_works_on_the_module_alone(saved):
    path, scores = saved
    again = oodbench.load_detector(path, Own().eval())
    assert np.array_equal(again(LETTERS.images), scores)
    assert again.detector.parameters == KNN.Parameters(k=3, bank=0.5)
    as_floats = torch.from_numpy(np.array(LETTERS.images)).permute(0, 3, 1, 2) / 255
    assert np.array_equal(again(as_floats), scores)


def test_another_network_or_size_is_refused(saved):
    path, _ = saved
    with pytest.raises(OodbenchError, match="fitted on another network than this Own, or on other weights"):
        oodbench.load_detector(path, Own(seed=1).eval())
    with pytest.raises(OodbenchError, match="is not the network|another network"):
        oodbench.load_detector(path, build("small-cnn", 10, seed=0))
    with pytest.raises(OodbenchError, match="32 x 16, and the detector was fitted on 32 x 32"):
        oodbench.load_detector(path, Own().eval())(LETTERS.images[:, :, :16])


def changed(path, change):
    """The file with its JSON changed."""
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


PLUGIN = """
from oodbench.detector import Detector

class Mine(Detector):
    name = "mine"
    paper = "nobody, nowhere"

    def observe(self, representation, labels):
        self.mean = representation.features.mean(0).double()
        self.more = {MORE}

    def score_representation(self, representation):
        return -(representation.features.double() - self.mean).norm(dim=1)
"""


def test_a_plugins_tensors_are_kept_for_free_and_what_no_file_can_hold_is_named(tmp_path):
    (tmp_path / "mine.py").write_text(PLUGIN.replace("{MORE}", "{1: [self.mean, 0.5, None]}"))
    made = oodbench.fit(Own().eval(), "mine", train=TRAIN, plugins=[tmp_path / "mine.py"])
    made.save(tmp_path / "mine.ood")
    again = oodbench.load_detector(tmp_path / "mine.ood", Own().eval(), plugins=[tmp_path / "mine.py"])
    assert np.array_equal(again(LETTERS), made(LETTERS))
    (tmp_path / "mine.py").write_text(PLUGIN.replace("{MORE}", "lambda: 1"))
    made = oodbench.fit(Own().eval(), "mine", train=TRAIN, plugins=[tmp_path / "mine.py"])
    with pytest.raises(OodbenchError, match="mine keeps 'more', of the type function"):
        made.save(tmp_path / "no.ood")
    assert not (tmp_path / "no.ood").exists()


def test_what_cannot_go_to_work_is_refused():
    for how, told in (
        ({"detector": "all", "train": TRAIN}, "one detector goes to work"),
        ({"detector": "msp"}, "there are no images"),
        ({"detector": "knn", "images": LETTERS}, "learns from ID training images"),
    ):
        with pytest.raises(OodbenchError, match=told):
            oodbench.fit(Own().eval(), **how)
