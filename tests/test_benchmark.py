"""Detectors on a network of one's own, in one call."""

import warnings
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

import oodbench
from oodbench.basics.errors import OodbenchError, OodbenchWarning
from oodbench.detector import Tuning
from oodbench.detectors.knn import KNN
from oodbench.detectors.msp import MSP
from oodbench.images import builtin
from oodbench.images.preprocessing import Preprocessing
from oodbench.metrics import evaluate as all_metrics
from oodbench.sources.handed import take_images
from tests.prose import blocks, one


class Shallow(nn.Module):
    """Ten classes from a strided convolution."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.conv = nn.Conv2d(3, 16, 8, stride=8)
            self.fc = nn.Linear(256, 10)

    def forward(self, images):
        return self.fc(torch.relu(self.conv(images)).flatten(1))


NETWORK = Shallow().eval()
TEST, TRAIN, LETTERS = (builtin.make(name) for name in ("digits-test", "digits-train", "letters"))
HELDOUT = TRAIN.part(slice(1000, 1060))
TEST, TRAIN, LETTERS = TEST.first(60), TRAIN.part(slice(0, 1000)).spread(200), LETTERS.first(40)


def tensor(images):
    return torch.from_numpy(np.array(images.images)).permute(0, 3, 1, 2) / 255


def values(frame, **where):
    for column, wanted in where.items():
        frame = frame[frame[column] == wanted]
    return frame.set_index(["detector", "task", "ood", "metric"])["value"]


def test_scores_are_those_of_the_module_by_hand():
    found = oodbench.benchmark(NETWORK, TEST, {"letters": LETTERS}, detectors=["energy", "msp"])
    with torch.no_grad():
        energies = [torch.logsumexp(NETWORK(tensor(images)).double(), 1).numpy() for images in (TEST, LETTERS)]
        right = (NETWORK(tensor(TEST)).argmax(1).numpy() == TEST.labels).mean()
    for metric, expected in all_metrics(*energies).items():
        assert values(found)["energy", "clean", "letters", metric] == pytest.approx(expected, abs=1e-9)
    assert values(found)["msp", "id", "", "accuracy"] == right
    assert list(found["detector"].unique()) == ["energy", "msp"]


class Pictures(Dataset):
    """Pillow images with labels."""

    def __init__(self, images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def __getitem__(self, place):
        return Image.fromarray(self.images.images[place]), int(self.images.labels[place])


def test_whatever_holds_the_images_the_numbers_are_the_same(tmp_path):
    def folder(images, name):
        for place, (pixels, label) in enumerate(zip(images.images, images.labels, strict=True)):
            (tmp_path / name / f"{label:02}").mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(tmp_path / name / f"{label:02}" / f"{place:03}.png")
        return tmp_path / name

    labels = torch.from_numpy(TEST.labels)
    expected = values(oodbench.benchmark(NETWORK, TEST, {"letters": LETTERS}, detectors="msp"))
    for id_images, ood in (
        ((TEST.images, TEST.labels), LETTERS.images),
        (TensorDataset(tensor(TEST), labels), tensor(LETTERS)),
        (DataLoader(TensorDataset(tensor(TEST), labels), batch_size=7), DataLoader(TensorDataset(tensor(LETTERS)), 9)),
        (Pictures(TEST), Pictures(LETTERS)),
        (folder(TEST, "test"), str(folder(LETTERS, "letters"))),
    ):
        found = values(oodbench.benchmark(NETWORK, id_images, {"letters": ood}, detectors="msp"))
        assert found.sort_index().to_dict() == pytest.approx(expected.sort_index().to_dict())


def test_files_of_any_size_become_what_the_network_takes(tmp_path):
    for name, count in (("ids", 3), ("boats", 2)):
        (tmp_path / name).mkdir()
        for place in range(count):
            pixels = np.random.default_rng(10 * count + place).integers(0, 256, (40 + place, 50, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{place}.png")
    with pytest.raises(OodbenchError, match="several sizes .*preprocessing="):
        oodbench.benchmark(NETWORK, tmp_path / "ids", {"boats": tmp_path / "boats"}, detectors="msp")
    how = {"detectors": "maxlogit", "preprocessing": Preprocessing(32, 1.0)}
    found = oodbench.benchmark(NETWORK, tmp_path / "ids", tmp_path / "boats", **how)
    assert set(zip(found["n_id"], found["n_ood"], strict=True)) == {(3, 2)}
    (tmp_path / "boats" / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(OodbenchError, match=r"1 of 3 image files.*torn\.png"):
        oodbench.benchmark(NETWORK, tmp_path / "ids", tmp_path / "boats", **how)


class Opened(Dataset):
    """Pillow images of any size."""

    def __init__(self, folder):
        self.files = sorted(folder.iterdir())

    def __len__(self):
        return len(self.files)

    def __getitem__(self, place):
        return Image.open(self.files[place])


def test_labels_in_another_order_than_the_networks_are_doubted_once_and_by_name():
    with torch.no_grad():
        predicted = NETWORK(tensor(TRAIN)).argmax(1).numpy()
    frequent = np.argsort(-np.bincount(predicted, minlength=10))[:3]
    images = TRAIN.part(np.isin(predicted, frequent))
    right = predicted[np.isin(predicted, frequent)]
    order = np.arange(10)
    order[frequent] = np.roll(frequent, 1)

    def told(labels):
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            named = replace(images, labels=labels, classes=tuple("abcdefghij"))
            oodbench.benchmark(NETWORK, named, {"letters": LETTERS}, detectors=["msp", "energy"])
        return [str(one.message) for one in said if str(one.message).startswith("id_images")]

    assert told(right) == []
    assert told(np.full(len(right), -1)) == []
    (shifted,) = told(order[right])
    label = order[frequent[0]]
    assert "with labels in another order about 100% would be right instead of 0%" in shifted
    assert f"label {label} ({'abcdefghij'[label]}) to the network's class {frequent[0]}" in shifted


def test_labels_to_learn_from_in_another_order_than_the_networks_are_doubted_before_a_detector_goes_to_work():
    with torch.no_grad():
        predicted = NETWORK(tensor(TRAIN)).argmax(1).numpy()
    one, other = np.argsort(-np.bincount(predicted, minlength=10))[:2]
    swapped = np.arange(10)
    swapped[[one, other]] = other, one

    def told(ask, **sets):
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            ask(NETWORK, **sets)
        return [str(one.message) for one in said if "in another order" in str(one.message)]

    fit = partial(oodbench.fit, detector="msp")
    benchmark = partial(oodbench.benchmark, id_images=TEST, ood_images={"letters": LETTERS}, detectors="msp")
    assert told(fit, train=replace(TRAIN, labels=predicted)) == []
    for ask in (fit, benchmark):
        for role in ("train", "heldout"):
            (shifted,) = told(ask, **{role: replace(TRAIN, labels=swapped[predicted])})
            assert shifted.startswith(f"{role}: ") and f"label {one} to the network's class {other}" in shifted


def test_preprocessing_is_that_of_a_folder_for_pillow_images_and_not_applied_to_tensors_without_a_word(tmp_path):
    for name in ("ids", "boats"):
        (tmp_path / name).mkdir()
        for place in range(4):
            pixels = np.random.default_rng([place, len(name)]).integers(0, 256, (40 + place, 50, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{place}.png")
    how = {"detectors": "energy", "preprocessing": Preprocessing(32, 0.5)}
    with warnings.catch_warnings():
        warnings.simplefilter("error", OodbenchWarning)
        files, opened = (tmp_path / "ids", tmp_path / "boats"), (Opened(tmp_path / "ids"), Opened(tmp_path / "boats"))
        expected = take_images(files[0], "x", "x", how["preprocessing"]).images.images
        assert np.array_equal(take_images(opened[0], "x", "x", how["preprocessing"]).images, expected)
        assert np.array_equal(take_images([*opened[0]], "x", "x", how["preprocessing"]).images, expected)
        batches = DataLoader(opened[0], batch_size=3, collate_fn=lambda images: (images, [0] * len(images)))
        assert np.array_equal(take_images(batches, "x", "x", how["preprocessing"]).images, expected)
    found = [values(oodbench.benchmark(NETWORK, *given, **how)) for given in (files, opened)]
    assert len(found[0]) and found[0].to_dict() == found[1].to_dict()
    with pytest.warns(OodbenchWarning, match="id_images came as tensors or arrays, so preprocessing .* is not applied"):
        oodbench.benchmark(NETWORK, TensorDataset(tensor(TEST)), files[1], **how)


def test_detectors_learn_from_training_images_and_are_attacked():
    knn = KNN(KNN.Parameters(k=5))
    found = oodbench.benchmark(
        NETWORK, TEST, {"letters": LETTERS}, detectors=["msp", knn], train=TRAIN, attack="linf", epsilon=8
    )
    with torch.no_grad():
        bank, *sides = (torch.relu(NETWORK.conv(tensor(one))).flatten(1) for one in (TRAIN, TEST, LETTERS))
        bank, *sides = (nn.functional.normalize(one.double()) for one in (bank, *sides))
        scores = [-torch.cdist(one, bank).sort(1).values[:, 4].numpy() for one in sides]
    assert values(found)["knn", "clean", "letters", "auroc"] == pytest.approx(all_metrics(*scores)["auroc"], abs=2e-3)
    for name in ("msp", "knn"):
        assert values(found)[name, "linf", "letters", "auroc"] < values(found)[name, "clean", "letters", "auroc"]


def test_all_names_what_cannot_be_fitted_and_does_the_rest():
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = oodbench.benchmark(NETWORK, TEST.first(20), {"letters": LETTERS.first(20)}, classes=10)
    told = [str(one.message) for one in said if issubclass(one.category, OodbenchWarning)]
    assert any(text.startswith("knn is left out: ") and "there are none" in text for text in told)
    assert any(text.startswith("rankfeat is left out: ") and "feature maps" in text for text in told)
    assert {"msp", "energy", "maxlogit", "gen"} <= set(found["detector"])
    assert not {"knn", "rankfeat", "atom", "oe"} & set(found["detector"])


def test_the_calls_of_readme_and_guide_run_as_they_stand(tmp_path, monkeypatch):
    calls = [block for block in blocks("python") if "oodbench.benchmark(\n" in block]
    work = one("python", "oodbench.fit(")
    monkeypatch.chdir(tmp_path)
    folders = {"birds/test": TEST, "birds/train": TRAIN, "birds/new": TEST.part(slice(20, 60))}
    folders |= {"boats": LETTERS.first(4), "photos": LETTERS.part(slice(4, 8))}
    for folder, images in folders.items():
        for place, (pixels, label) in enumerate(zip(images.images, images.labels, strict=True)):
            (tmp_path / folder / f"{label:02}").mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(tmp_path / folder / f"{label:02}" / f"{place:03}.png")
    known = {"oodbench": oodbench, "module": NETWORK}
    found = []
    for call in calls:
        exec(compile(call.replace("linf-adaptive", "linf"), "guide", "exec"), known)  # our own text
        found.append((set(known["frame"]["detector"]), set(known["frame"]["ood"])))
    short, long = found
    assert short == ({"msp", "energy", "knn"}, {"", "boats"})
    assert long == ({"msp", "energy", "knn", "vim"}, {"", "boats"})
    exec(compile(work, "guide", "exec"), known)
    assert known["scores"].shape == (4,)


def test_the_names_that_sets_are_given_are_those_of_the_figures():
    found = oodbench.benchmark(NETWORK, TEST, {"a": LETTERS, "b": LETTERS.first(20)}, detectors="msp")
    assert set(found["ood"]) == {"", "a", "b"}
    alone = oodbench.benchmark(NETWORK, TEST, LETTERS, detectors="msp")
    assert set(alone["ood"]) == {"", "letters"}


def test_what_tunes_on_outliers_sees_all_kinds_whatever_their_order():
    noise = np.random.default_rng(0).integers(0, 3, (1100, 32, 32, 3), np.uint8)
    letters = builtin.make("letters").first(400).images
    heldout, others = builtin.make("digits-train").part(slice(300, 360)), builtin.make("letters").part(slice(400, 409))
    seen = []

    class Asking(MSP):
        name = "asking"

        def tuning(self):
            return Tuning(outliers=True)

        def tune(self, images):
            seen.append(images.outliers.float().flatten(1).std(1))
            return {}

    for outliers in (np.r_[noise, letters], np.r_[letters, noise]):
        oodbench.benchmark(NETWORK, TEST, others, detectors=Asking(), heldout=heldout, outliers=outliers)
    alike = (seen[0][:, None] == seen[1]).any(1).float().mean()
    assert 0.5 < alike < 1  # most images of one drawing are in the other
    for levels in seen:
        assert 0.1 < (levels > 10).float().mean() < 0.9


def test_images_that_two_sets_share_are_counted():
    mixed = np.concatenate([LETTERS.images[:9], TRAIN.images[:3]])
    with pytest.warns(OodbenchWarning, match="3 of 12 images of ood_images 'mixed' are images of train"):
        oodbench.benchmark(NETWORK, TEST, {"mixed": mixed}, detectors="msp", train=TRAIN)


@pytest.mark.parametrize("some", [slice(None), slice(1, None), slice(None, None, -1), slice(3)])
def test_a_detector_is_not_calibrated_on_what_it_learned_from(some):
    knn, seen = KNN(KNN.Parameters(k=1)), TRAIN.images[some]
    for calibrate in (seen, np.concatenate([TEST.images, seen])):
        told = f"{len(seen)} (of {len(calibrate)} )?images of calibrate are images of train, so they cannot say"
        with pytest.raises(OodbenchError, match=told):
            oodbench.fit(NETWORK, knn, train=TRAIN, calibrate=calibrate)


def test_held_out_images_calibrate_what_does_not_tune_on_them():
    fitted = oodbench.fit(NETWORK, "msp", heldout=TEST, calibrate=TEST.part(slice(20)))
    assert len(fitted.calibration) == 20

    class Tuned(MSP):
        name = "tuned"

        def tuning(self):
            return Tuning()

        def tune(self, images):
            return {}

    with pytest.raises(OodbenchError, match="all 20 images of calibrate are images of heldout"):
        oodbench.fit(NETWORK, Tuned(), heldout=TEST, calibrate=TEST.part(slice(20)))


def test_one_method_with_two_parameters_has_two_names():
    several = [KNN(KNN.Parameters(k=1)), KNN(KNN.Parameters(k=100)), "msp"]
    found = oodbench.benchmark(NETWORK, TEST, LETTERS, detectors=several, train=TRAIN)
    assert list(found["detector"].unique()) == ["knn (k=1)", "knn (k=100)", "msp"]
