"""Whether labels and network speak of the same classes."""

import numpy as np
import pytest
from PIL import Image

from oodbench.networks import build, checkpoints
from oodbench.running import label_check
from oodbench.statistics import label_order

SUITE = """
version = 1
ood = [{set = "letters", distance = "far"}]
network = {name = "small-cnn"}
id = {test = "mine", classes = 3}
[tasks.clean]
"""


def guesses(count=300, classes=10, wrong=0.1, seed=0):
    """Labels sorted by class, and predictions of which a part is wrong."""
    random = np.random.default_rng(seed)
    labels = np.sort(random.integers(0, classes, count))
    predictions = np.where(random.random(count) < wrong, random.integers(0, classes, count), labels)
    return labels, predictions


def test_what_is_mostly_right_is_not_doubted():
    for wrong in (0, 0.1, 0.5):
        assert label_order.doubt(*guesses(wrong=wrong), 10) == ""


@pytest.mark.parametrize("order", [[0, 2, 3, 4, 5, 6, 7, 8, 9, 1], [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]])
def test_labels_in_another_order_are_found_out(order):
    labels, predictions = guesses()
    said = label_order.doubt(labels, np.asarray(order)[predictions], 10, [f"c{label}" for label in range(10)])
    share = (labels == predictions).mean()
    assert f"about {share:.0%} would be right" in said
    assert f"label 1 (c1) to the network's class {order[1]}" in said


def test_two_classes_that_changed_places_are_found_out_among_right_ones():
    labels, predictions = guesses(1000)
    swapped = np.where(labels == 3, 7, np.where(labels == 7, 3, labels))
    said = label_order.doubt(swapped, predictions, 10)
    assert "label 3 to the network's class 7, label 7 to the network's class 3" in said
    assert "guessing" not in said


def test_guessing_is_called_so_and_has_no_better_order():
    random = np.random.default_rng(1)
    said = label_order.doubt(random.integers(0, 10, 400), random.integers(0, 10, 400), 10)
    assert "no better than guessing among 10 classes" in said
    assert "another order" not in said


def test_six_of_twenty_right_among_ten_classes_may_be_guesses_and_seven_are_not():
    # Who guesses has 6 or more right with a probability of 1.13 %, and 7 or more with one of 0.24 %.
    labels = np.repeat(np.arange(10), 2)
    for right, doubted in ((6, True), (7, False)):
        predictions = np.where(np.arange(20) < right, labels, (labels + np.arange(20) % 9 + 1) % 10)
        assert ("no better than guessing" in label_order.doubt(labels, predictions, 10)) == doubted


def test_few_images_a_class_or_none_with_a_label_prove_nothing():
    assert label_order.doubt(np.full(100, -1), np.zeros(100, np.int64), 10) == ""
    assert label_order.doubt(np.arange(10), np.arange(10)[::-1], 10) == ""
    # One image a class: any order fits half of them, and says nothing of the others.
    found = label_order.doubt(np.arange(200), np.random.default_rng(0).permutation(200), 200)
    assert "another order" not in found


def test_images_without_a_predicted_class_say_nothing_of_the_order_of_classes():
    labels, predictions = guesses()
    few = np.where(np.arange(len(labels)) % 10 == 0, predictions, -1)  # right: 9 % of all, 90 % of those with a class
    assert label_order.doubt(labels, few, 10) == ""


def folders(path, names, first=0):
    for level, name in enumerate(names):
        for number in range(first, first + 8):
            (path / name).mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (32, 32), (90 * level, 15 * number, 0)).save(path / name / f"{number}.png")
    return path


@pytest.fixture
def net(tmp_path):
    def make(**metadata):
        network = build("small-cnn", 3, mean=(0.5,) * 3, std=(0.5,) * 3, seed=0)
        checkpoints.save(network, tmp_path / "net.safetensors", metadata)
        (tmp_path / "mine.toml").write_text(SUITE)
        return "run", "--suite", "mine.toml", "--detector", "msp", "--checkpoint", "net.safetensors"

    return make


def test_a_pack_with_a_class_less_than_the_suite_is_refused(oodbench, tmp_path, net):
    assert oodbench("data", "pack", str(folders(tmp_path / "set", ["cat", "dog"])), "mine")[0] == 0
    code, _, err = oodbench(*net())
    assert code == 2
    assert "names 2 classes (cat, dog) and suite 'mine' has classes = 3" in err
    assert not (tmp_path / "results" / "mine").exists()


def test_what_nothing_could_check_is_said_at_the_run_and_under_the_table(oodbench, tmp_path, net):
    assert oodbench("data", "pack", str(folders(tmp_path / "set", ["cat", "dog", "ant"])), "mine")[0] == 0
    code, out, err = oodbench(*net())
    assert code == 0, err
    said = "labels of mine, 0 to 2 in the order ant, cat, dog: checkpoint net.safetensors does not say"
    assert said in err and said in " ".join(out.split())
    assert said in oodbench("table", "results", "--long")[1]


def test_the_networks_own_names_are_compared(oodbench, tmp_path, net):
    assert oodbench("data", "pack", str(folders(tmp_path / "set", ["cat", "dog", "ant"])), "mine")[0] == 0
    code, out, err = oodbench(*net(classes='["ant", "cat", "dog"]'))
    assert code == 0, err
    assert "ID accuracy rests" not in err + out
    code, _, err = oodbench(*net(classes='["ant", "cat", "emu"]'))
    assert code == 2
    assert "trained on other classes than ID set 'mine' has (dog, emu)" in err


def test_networks_trained_here_carry_the_names_of_their_classes(oodbench, tmp_path, net):
    assert oodbench("data", "pack", str(folders(tmp_path / "set", ["cat", "dog", "ant"])), "mine")[0] == 0
    assert oodbench("data", "pack", str(folders(tmp_path / "more", ["cat", "dog", "ant"], 8)), "mine-train")[0] == 0
    net()
    (tmp_path / "train.toml").write_text(
        SUITE.replace('test = "mine"', 'train = "mine-train", test = "mine"') + "[training]\nepochs = 1\n"
    )
    code, out, err = oodbench("run", "--suite", "train.toml", "--detector", "msp")
    assert code == 0, err
    assert "ID accuracy rests" not in err + out
    (file,) = (tmp_path / "results" / "networks").glob("*.safetensors")
    assert label_check.class_names_in(file) == ("ant", "cat", "dog")
