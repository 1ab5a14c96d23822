"""Whether a given network is shown pixels as it was trained on them."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from oodbench.running import label_check

TRAINED = Path(__file__).parents[2] / "results" / "reference" / "networks" / "digits" / "plain.safetensors"
"""It was trained on pixels from -1 to 1."""

SUITE = """
extends = "digits"
version = 1
[network]
name = "small-cnn"
mean = [0.9, 0.9, 0.9]
std = [0.1, 0.1, 0.1]
"""

RUN = ("run", "--detector", "msp", "--only", "letters", "--suite")


@pytest.fixture
def weights(tmp_path):
    """The same weights in a file that says nothing of itself."""
    torch.save(load_file(TRAINED), tmp_path / "bare.pt")
    (tmp_path / "wrong.toml").write_text(SUITE)


def test_another_normalisation_that_would_be_right_is_named(oodbench, weights):
    code, out, err = oodbench(*RUN, "wrong.toml", "--checkpoint", "bare.pt")
    assert code == 0, err
    said = "would be right instead of "
    assert said in err and said in out and said in oodbench("table", "results")[1]
    line = next(line for line in err.splitlines() if said in line)
    assert "normalised otherwise, by mean = [0" in line and "what bare.pt was trained with" in line
    assert int(line.partition("% would")[0].rpartition(" ")[2]) > 90


def test_of_a_few_images_a_few_more_right_ones_prove_nothing(oodbench, weights):
    """Of twenty images seven more or less are right by chance: as many as the network gets right here, and more."""
    code, out, err = oodbench(*RUN, "wrong.toml", "--checkpoint", "bare.pt", "--limit", "2")
    assert code == 0, err
    assert "would be right instead of" not in err + out


def test_what_the_file_says_itself_is_believed(oodbench, weights):
    code, _, err = oodbench(*RUN, "wrong.toml", "--checkpoint", TRAINED)
    assert code == 0, err
    assert "plain.safetensors says that it was trained as NetworkSpec(name='small-cnn', mean=(0.5, 0.5, 0.5)" in err
    assert "and the suite has NetworkSpec(name='small-cnn', mean=(0.9, 0.9, 0.9)" in err


def test_a_network_that_is_used_as_it_was_trained_is_not_doubted(oodbench, weights):
    for file in ("bare.pt", TRAINED):
        code, out, err = oodbench(*RUN, "digits", "--checkpoint", file)
        assert code == 0, err
        assert "normalised by" not in out + err and "was trained as" not in out + err


def test_a_kept_network_that_is_right_less_often_than_it_was_is_named():
    known = {"digits-test": 0.99}
    assert "was right on 99.00% of digits-test when it was kept, and is on 93.00%" in label_check.accuracy_fall_text(
        "digits/plain", known, "digits-test", 0.93
    )
    assert label_check.accuracy_fall_text("digits/plain", known, "digits-test", 0.985) == ""
    assert label_check.accuracy_fall_text("digits/plain", known, "letters", 0.1) == ""
    assert label_check.accuracy_fall_text("digits/plain", known, "digits-test", float("nan")) == ""
