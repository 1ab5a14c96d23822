"""Fitting: one pass for all, the right images for tuning, and what there is to say when some are missing."""

from dataclasses import dataclass

import pytest
import torch

from oodbench.basics.errors import OodbenchError
from oodbench.detector import Detector, Tuning
from oodbench.images.resident import IDImages
from oodbench.networks.network import Network, Representation
from oodbench.scoring.fitting import FittingImages, fit


class Mean(Network):
    """Two logits from the mean level; counts the images it has seen."""

    def __init__(self):
        super().__init__()
        self.passed = 0

    def represent(self, images):
        self.passed += len(images)
        levels = images.mean((1, 2, 3))
        return Representation(torch.stack([levels, -levels], 1), levels[:, None], ())


class Observer(Detector):
    """Remembers what it is shown."""

    name = "observer"
    paper = "none"

    @dataclass(frozen=True)
    class Parameters:
        source: str = ""
        images: int = 1000
        outliers: bool = False

    def attach(self, network, classes):
        super().attach(network, classes)
        self.calls, self.features, self.labels = [], [], []

    def observe(self, representation, labels):
        self.calls.append("observe")
        self.features.append(representation.features)
        self.labels.append(labels)

    def settle(self):
        self.calls.append("settle")

    def tuning(self):
        p = self.parameters
        return Tuning(p.source, p.images, p.outliers) if p.source else None

    def tune(self, images):
        self.calls.append("tune")
        self.tuning_images = images
        return {"chosen": 1}

    def score_representation(self, representation):
        return representation.features[:, 0].double()


class Idle(Detector):
    """Learns nothing."""

    name = "idle"
    paper = "none"

    def score_representation(self, representation):
        return representation.features[:, 0].double()


def levels(count, first=0):
    pixels = torch.arange(first, first + count, dtype=torch.uint8).view(-1, 1, 1, 1).expand(count, 3, 2, 2)
    return IDImages(pixels.contiguous(), torch.arange(count) % 2)


def test_all_observers_share_one_pass_in_the_sets_order():
    network, one, other = Mean(), Observer(), Observer()
    fitted = fit([one, Idle(), other], network, 2, FittingImages(levels(150)))
    assert [each.tuned for each in fitted] == [{}, {}, {}]
    assert network.passed == 150
    for observer in (one, other):
        torch.testing.assert_close(torch.cat(observer.features)[:, 0] * 255, torch.arange(150.0))
        assert torch.equal(torch.cat(observer.labels), torch.arange(150) % 2)
        assert observer.calls == ["observe"] * len(observer.features) + ["settle"]


def test_nothing_is_passed_where_nobody_observes():
    network = Mean()
    fit([Idle()], network, 2, FittingImages(levels(10)))
    assert network.passed == 0


def test_tuning_comes_last_from_the_images_that_were_asked_for():
    shown = FittingImages(levels(20), levels(30, 100), levels(40, 150), levels(25, 200).images)
    observer = Observer(Observer.Parameters("heldout", 8, True))
    (fitted,) = fit([observer], Mean(), 2, shown)
    tuned = fitted.tuned
    assert tuned == {"source": "heldout", "id_images": 8, "outliers": 8, "chosen": 1}
    assert observer.calls[-2:] == ["settle", "tune"]
    chosen = observer.tuning_images
    assert set(chosen.id[:, 0, 0, 0].tolist()) <= set(range(100, 130))
    assert torch.equal(chosen.labels, (chosen.id[:, 0, 0, 0].long() - 100) % 2)
    assert observer.tuning_images.outliers[:, 0, 0, 0].tolist() == list(range(200, 208))


def test_test_images_are_drawn_from_the_whole_set_and_the_same_each_time():
    shown = FittingImages(levels(20), None, levels(100, 100), None)
    drawn = []
    for _ in range(2):
        observer = Observer(Observer.Parameters("id-test", 10))
        fit([observer], Mean(), 2, shown)
        drawn.append(observer.tuning_images.id[:, 0, 0, 0])
        assert len(observer.tuning_images.outliers) == 0
    assert torch.equal(*drawn)
    assert drawn[0].max() - drawn[0].min() > 30


def test_who_reads_no_labels_learns_from_images_of_some_of_the_classes():
    class Unlabelled(Observer):
        reads_labels = False

    fit([observer := Unlabelled()], Mean(), 2, FittingImages(levels(1)))
    assert observer.calls == ["observe", "settle"]
    with pytest.raises(OodbenchError, match="^observer: there are 1 ID training images for 2 classes"):
        fit([Observer(), Unlabelled()], Mean(), 2, FittingImages(levels(1)))


@pytest.mark.parametrize(
    ("parameters", "shown", "said"),
    [
        (Observer.Parameters(), FittingImages(), r"learns from ID training images and there are none: .*\[id\] train"),
        (Observer.Parameters(), FittingImages(levels(1)), "1 ID training images for 2 classes"),
        (Observer.Parameters("heldout"), FittingImages(levels(9)), r"held out of training .*\[id\] heldout"),
        (
            Observer.Parameters("heldout", 9, True),
            FittingImages(levels(9), levels(9)),
            r"reserved outliers .*reserved = N",
        ),
    ],
)
def test_says_what_is_missing(parameters, shown, said):
    with pytest.raises(OodbenchError, match=f"observer.*{said}"):
        fit([Observer(parameters)], Mean(), 2, shown)


def test_an_unknown_source_is_refused():
    with pytest.raises(ValueError, match="choose one of 'heldout', 'id-test'"):
        Tuning("train")
