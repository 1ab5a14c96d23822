"""Weights on the Hugging Face hub, from a server of one's own that answers as the hub does."""

import pytest
import safetensors.torch
import torch

from oodbench.basics.errors import OodbenchError
from oodbench.networks import build
from oodbench.networks.checkpoints import load, save
from oodbench.sources.trained import checkpoint
from tests.localhub import COMMIT, local_hub


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A hub with the repository org/net: its files, to be put in, and what was asked."""
    with local_hub("models", "org/net", monkeypatch, tmp_path / "cache") as there:
        yield there


def test_weights_come_from_a_commit_once_and_say_which(hub, tmp_path):
    files, asked = hub
    network = build("small-cnn", 10, seed=3)
    save(network, tmp_path / "own.safetensors", {})
    files["deep/net.safetensors"] = (tmp_path / "own.safetensors").read_bytes()
    address = f"hf://org/net@{COMMIT}/deep/net.safetensors"
    path = checkpoint(address, tmp_path)
    assert path.read_bytes() == files["deep/net.safetensors"]
    assert COMMIT in str(path)
    assert "org--net" in str(path)
    other = build("small-cnn", 10, seed=4)
    load(other, path)
    assert torch.equal(other.fc.weight, network.fc.weight)
    before = len(asked)
    assert checkpoint(address, tmp_path) == path
    assert len(asked) == before  # a commit does not change: nothing is asked again


def test_one_of_several_sets_of_weights_is_named_as_in_files(hub, tmp_path):
    files, _ = hub
    files["both.safetensors"] = safetensors.torch.save({"ema.w": torch.zeros(1), "w": torch.ones(1)})
    path = checkpoint(f"hf://org/net@{COMMIT}/both.safetensors#ema", tmp_path)
    assert path.name == "both.safetensors#ema"


@pytest.mark.parametrize("revision", ["", "@main", "@v1.0", f"@{COMMIT[:12]}"])
def test_what_is_not_pinned_is_refused_and_the_commit_named(hub, tmp_path, revision):
    with pytest.raises(OodbenchError, match=f"not pinned.*write hf://org/net@{COMMIT}/net.safetensors"):
        checkpoint(f"hf://org/net{revision}/net.safetensors", tmp_path)


@pytest.mark.parametrize(
    ("address", "told"),
    [
        (f"hf://org/net@{COMMIT}/net.bin", "only safetensors"),
        (f"hf://org/net@{COMMIT}/pytorch_model.pt", "can run code"),
        ("hf://org", "write hf://org/name@revision/file.safetensors"),
        (f"hf://org/net@{COMMIT}/none.safetensors", "cannot fetch none.safetensors of org/net at c0ffee"),
        (f"hf://org/other@{COMMIT}/net.safetensors", "cannot fetch net.safetensors of org/other"),
    ],
)
def test_what_cannot_be_taken_is_refused_and_says_why(hub, tmp_path, address, told):
    with pytest.raises(OodbenchError, match=told):
        checkpoint(address, tmp_path)
