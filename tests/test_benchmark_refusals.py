"""What `benchmark` refuses of networks, detectors and images of one's own, and in which words."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import oodbench
from oodbench.basics.errors import OodbenchError, OodbenchWarning
from oodbench.detectors.msp import MSP
from oodbench.metrics import evaluate as all_metrics
from tests.test_benchmark import HELDOUT, LETTERS, NETWORK, TEST, TRAIN, Shallow, tensor, values


class Rejecting(Shallow):
    """An eleventh output, which is no class."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(256, 11)


def test_outputs_that_are_no_class_are_taken_for_none():
    network, by_name = Rejecting().eval(), {"letters": LETTERS}
    with pytest.raises(OodbenchError, match="msp takes all 11 outputs of the network for ID classes, and there are 10"):
        oodbench.benchmark(network, TEST, by_name, detectors=["msp"], classes=10)
    with pytest.raises(OodbenchError, match="atom needs a network with 10 outputs, the 9 ID classes and 1 more"):
        oodbench.benchmark(network, TEST.part(TEST.labels < 9), by_name, detectors=["atom"], classes=9)
    with pytest.raises(OodbenchError, match="msp takes all 11 outputs"):
        oodbench.fit(network, "msp", images=tensor(TEST), classes=10)
    found = oodbench.benchmark(network, TEST, by_name, detectors=["energy"], classes=10)
    with torch.no_grad():
        energies = [torch.logsumexp(network(tensor(one))[:, :10].double(), 1).numpy() for one in (TEST, LETTERS)]
    assert values(found)["energy", "clean", "letters", "auroc"] == pytest.approx(all_metrics(*energies)["auroc"])
    with pytest.warns(OodbenchWarning, match="msp is left out: msp takes all 11 outputs"):
        everything = oodbench.benchmark(network, TEST, by_name, detectors="all", classes=10)
    assert "energy" in set(everything["detector"])
    assert "msp" not in set(everything["detector"])


def test_a_detector_that_was_named_and_cannot_be_fitted_is_an_error():
    for name, told in (
        ("knn", "learns from ID training images"),
        ("atom", "the 10 ID classes and 1 more"),
        ("mps", "'msp'"),
    ):
        with pytest.raises(OodbenchError, match=told):
            oodbench.benchmark(NETWORK, TEST, {"letters": LETTERS}, detectors=name)


class NoGradient(Shallow):
    """As many an exported model."""

    @torch.no_grad()
    def forward(self, images):
        return super().forward(images)


def test_without_gradients_images_are_scored_and_attacks_refused_by_name():
    module = NoGradient().eval()
    found = values(oodbench.benchmark(module, TEST, {"letters": LETTERS}, detectors="msp"))
    assert found.equals(values(oodbench.benchmark(NETWORK, TEST, {"letters": LETTERS}, detectors="msp")))
    with pytest.raises(OodbenchError, match="NoGradient cannot be differentiated.*'linf'"):
        oodbench.benchmark(module, TEST, {"letters": LETTERS}, detectors="msp", attack="linf", epsilon=8)


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ({"train": (TRAIN.images, TRAIN.labels + 5)}, "has the label 14, and the network has 10 outputs"),
        ({"classes": 11}, "classes is 11, and the network has 10 outputs"),
        ({"classes": 1}, "classes is 1, and the network has 10 outputs: give 2 to 10"),
        ({"device": "gpu"}, "^device 'gpu' is not a device: choose auto, cpu"),
        ({"id_images": tensor(TEST) * 2 - 1}, "id_images leave .* before normalisation, which mean= and std= say"),
        ({"detectors": []}, "there are no detectors"),
        ({"detectors": 5}, "detectors hold 5: give names"),
        ({"head": 3}, "head is 3: name a layer of"),
        ({"preprocessing": "resize"}, "preprocessing is 'resize': give a Preprocessing"),
        ({"ood_images": [LETTERS.images, LETTERS.images]}, "ood_images is a list of sets: give each by its name"),
        ({"train": TRAIN.images[:, :16]}, "different sizes"),
        ({"id_images": (TEST.images, TEST.labels + 1)}, "id_images has the label 10"),
        ({"id_images": (TEST.images, np.r_[TEST.labels[:5], [-1] * 55])}, "id_images has no label for 55 of its 60"),
        ({"train": TEST.images}, "id_images and train are the same images"),
        ({"outliers": LETTERS.images}, "outliers and ood_images 'letters' are the same images"),
        ({"train": TEST.images[::-1]}, "id_images and train are the same images"),
        ({"heldout": TRAIN.part(slice(1, 9)), "train": TRAIN}, "all 8 images of heldout are images of train: give"),
        ({"outliers": LETTERS.images[1:]}, "images of outliers are images of ood_images 'letters': give each its own"),
        ({"ood_images": {"letters": LETTERS, "again": LETTERS}}, "ood_images 'letters' and ood_images 'again'"),
        (
            {"train": replace(TRAIN, classes=("a",) * 9 + ("b",)), "id_images": replace(TEST, classes=("a",) * 10)},
            "'digits-test' and 'digits-train' have other classes",
        ),
    ],
)
def test_what_does_not_fit_is_refused(how, told):
    with pytest.raises(OodbenchError, match=told):
        asked = {"id_images": TEST, "ood_images": {"letters": LETTERS}, "detectors": "msp", **how}
        oodbench.benchmark(NETWORK, **asked)


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (lambda scores: None, "gave None for 60 images of 'digits-test'"),
        (lambda scores: scores.tolist(), "gave a result of the type list for 60 images"),
        (lambda scores: scores.numpy(), "gave a result of the type ndarray for 60 images"),
        (lambda scores: scores.to(torch.complex64), r"gave complex64 of shape \(60,\) for 60 images"),
    ],
)
def test_a_plugins_score_that_is_no_tensor_of_real_numbers_is_refused_in_words(made, told):
    class Odd(MSP):
        name = "odd"

        def score_representation(self, representation):
            return made(super().score_representation(representation).detach())

    with pytest.raises(OodbenchError, match=f"'odd' {told}.*must return a tensor of one real number an image"):
        oodbench.benchmark(NETWORK, TEST, LETTERS, detectors=Odd())


def test_a_device_may_be_one_of_torch():
    found = oodbench.benchmark(NETWORK, TEST, LETTERS, detectors="msp", device=torch.device("cpu"))
    assert set(found["ood"]) == {"", "letters"}


class Single(Shallow):
    """One sigmoid output."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(256, 1)


class Grey(Shallow):
    """Takes one channel."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 16, 8, stride=8)


@pytest.mark.parametrize(
    ("network", "told"),
    [
        (Single, "the network has one output, and a single sigmoid output is not enough.*two outputs"),
        (Grey, r"given three channels, RGB, and takes 1: wrap it .* such as images.mean\(1, keepdim=True\)"),
    ],
)
def test_networks_of_one_output_or_one_channel_are_told_what_to_do(network, told):
    with pytest.raises(OodbenchError, match=told):
        oodbench.benchmark(network().eval(), TEST, LETTERS, detectors="msp")
    with pytest.raises(OodbenchError, match=told):
        oodbench.fit(network().eval(), "msp", images=TEST)


def test_what_is_tuned_is_told_where_images_for_it_are_given_in_python():
    with pytest.raises(OodbenchError, match="there are none: give the suite .*, or in Python heldout="):
        oodbench.fit(NETWORK, "tempscale", train=TRAIN)


def test_what_reads_labels_is_left_out_by_name_where_there_are_none():
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = oodbench.benchmark(NETWORK, TEST, LETTERS, train=TRAIN.images, heldout=HELDOUT.images)
    told = " ".join(str(one.message) for one in said)
    for name in ("mahalanobis++", "rmds", "tempscale"):
        assert f"{name} is left out: {name} learns from the labels of ID" in told
        assert name not in set(found["detector"])
    assert {"msp", "knn", "react", "klm"} <= set(found["detector"])
    with pytest.raises(OodbenchError, match="rmds learns from the labels of ID training images"):
        oodbench.fit(NETWORK, "rmds", train=TRAIN.images)


@pytest.mark.parametrize(
    ("network", "how", "told"),
    [
        (Shallow, {}, "network is the class Shallow: make one"),
        (lambda images: images, {}, "network is of the type function"),
        (torch.jit.trace(Shallow().eval(), torch.zeros(1, 3, 32, 32)), {}, "is TorchScript"),
        (Shallow().eval().half(), {}, "its weights are float16, so call .float"),
        (NETWORK, {"mean": 0.5}, "not lists of numbers"),
        (NETWORK, {"mean": torch.full((1, 3, 1, 1), 0.5)}, "mean has 1 numbers|not lists of numbers"),
    ],
)
def test_what_is_no_network_is_refused_in_words(network, how, told):
    with pytest.raises(OodbenchError, match=told):
        oodbench.benchmark(network, TEST, LETTERS, detectors="msp", **how)
