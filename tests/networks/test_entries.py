"""Checkpoints as people save them: wrapped, nested, with more beside the weights, or no checkpoints at all."""

import argparse
import gzip
import io
import json
import pickle
import tarfile
import zipfile
from collections import OrderedDict
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from oodbench import networks
from oodbench.basics.errors import OodbenchError
from oodbench.networks import checkpoints, statedicts
from oodbench.sources import trained
from oodbench.training.suite_network import _file_digest


def small(seed=1, **more):
    return networks.build("small-cnn", 10, seed=seed, **more)


def under(prefix, weights):
    return {prefix + name: tensor for name, tensor in weights.items()}


def trained_state(network):
    """A state_dict with what an optimizer keeps beside it: momentum of the very shapes of the weights."""
    optimizer = torch.optim.Adam(network.parameters())
    network(torch.rand(2, 3, 32, 32)).sum().backward()
    optimizer.step()
    return network.state_dict(), optimizer.state_dict()


@cache
def layouts():
    """What training scripts write, by name: all of them hold the weights of `small(seed=1)` once."""
    network = small()
    weights = network.state_dict()
    compiled = under("_orig_mod.", weights)
    normalising = {"0.mean": torch.zeros(1, 3, 1, 1), "0.std": torch.ones(1, 3, 1, 1)}
    neutral = {"mu": torch.zeros(3, 1, 1), "sigma": torch.ones(3, 1, 1)}
    return {
        "bare": weights,
        "compiled": compiled,
        "compiled, then parallel": under("module.", compiled),
        "parallel, then compiled": under("_orig_mod.", under("module.", weights)),
        "a layer compiled": {
            name.replace("conv2.", "conv2._orig_mod.").replace("fc.", "fc.module."): tensor
            for name, tensor in weights.items()
        },
        "Lightning": {
            "state_dict": under("model.", weights),
            "epoch": 3,
            "pytorch-lightning_version": "2.4.0",
            "hyper_parameters": {"lr": 0.1, "name": "net"},
            "callbacks": {"ModelCheckpoint": {"best_model_score": torch.tensor(0.9), "best_model_path": "a.ckpt"}},
            "optimizer_states": [{"state": {0: {"exp_avg": weights["conv1.weight"]}}, "param_groups": []}],
        },
        "Lightning, compiled, with a loss of weights": {
            "state_dict": under("net._orig_mod.", weights) | {"criterion.weight": torch.ones(10)}
        },
        "averaged, its prefix taken off": {"n_averaged": torch.tensor(7), **weights},
        "in a list": {"nets": [weights], "losses": [0.3, 0.2], "rng": [torch.get_rng_state()]},
        "in a pair": {"saved": (under("module.", weights), 3)},
        "averaged": AveragedModel(network).state_dict(),
        "behind a normalising layer": under("1.", weights) | normalising,
        "behind one without buffers": under("1.", weights),
        "robust": {"model_state_dict": under("model.", weights) | neutral},
        "net": {"net": weights, "acc": 93.2, "epoch": torch.tensor(3)},
        "model": {"model": weights, "optimizer": trained_state(small(seed=5))[1], "rng": torch.get_rng_state()},
        "any name": {"what I kept": OrderedDict(weights), "loss": torch.tensor([0.1, 0.2, 0.3])},
        "deep": {"epoch": 1, "trainer": {"student": {"weights": weights}}},
        "twice the same": {"state_dict": weights, "best": under("module.", {k: t.clone() for k, t in weights.items()})},
        "numbers beside": {
            "state_dict": weights,
            "accuracy": np.float64(0.93),
            "best": np.float32(1.5),
            "seed": np.int64(3),
            "done": np.bool_(True),
            "run": np.str_("third"),
            "history": np.arange(4.0),
            "args": argparse.Namespace(lr=0.1, out=Path("runs/1")),
        },
        "numbers among": dict(weights) | {"epoch": 3, "acc": np.float64(0.9), "name": "net"},
    }


@pytest.mark.parametrize("name", list(layouts()))
def test_weights_are_found_however_they_were_saved(name, tmp_path):
    content = layouts()[name]
    files = {"zip.pt": lambda path: torch.save(content, path)}
    files["old.pt"] = lambda path: torch.save(content, path, _use_new_zipfile_serialization=False)
    if all(isinstance(value, torch.Tensor) for value in content.values()):
        files["net.safetensors"] = lambda path: path.write_bytes(safetensors.torch.save(content))
    for file, write in files.items():
        write(tmp_path / file)
        network = small(seed=2)
        checkpoints.load(network, tmp_path / file)
        assert checkpoints.weights_digest(network) == checkpoints.weights_digest(small(seed=1)), file
        begun = small(seed=2)
        checkpoints.begin(begun, tmp_path / file)
        assert checkpoints.weights_digest(begun) == checkpoints.weights_digest(small(seed=1)), file


def test_several_in_a_list_are_asked_for_by_their_place(tmp_path):
    torch.save([small(seed).state_dict() for seed in (1, 2)], tmp_path / "ensemble.pt")
    with pytest.raises(OodbenchError, match=r"2 sets of weights.*ensemble\.pt#0 or .*ensemble\.pt#1"):
        checkpoints.load(small(), tmp_path / "ensemble.pt")
    network = small(3)
    checkpoints.load(network, tmp_path / "ensemble.pt#1")
    assert checkpoints.weights_digest(network) == checkpoints.weights_digest(small(2))


def test_averaged_weights_beside_plain_ones_are_asked_for(tmp_path):
    plain, averaged = small(seed=1), small(seed=2)
    path = tmp_path / "both.pth"
    torch.save({"model": plain.state_dict(), "model_ema": under("module.", averaged.state_dict()), "epoch": 1}, path)
    with pytest.raises(OodbenchError, match=r"2 sets of weights.*both\.pth#model or .*both\.pth#model_ema\.module"):
        checkpoints.load(small(seed=3), path)
    for entry, meant in {"model": plain, "model_ema.module": averaged}.items():
        network = small(seed=3)
        checkpoints.load(network, tmp_path / f"both.pth#{entry}")
        assert checkpoints.weights_digest(network) == checkpoints.weights_digest(meant)
    with pytest.raises(OodbenchError, match=r"called 'ema'.*choose one of model, model_ema\.module"):
        checkpoints.load(small(seed=3), tmp_path / "both.pth#ema")


def test_prefixes_that_both_fit_are_asked_for_also_where_one_is_none(tmp_path):
    plain, averaged = small(seed=1), small(seed=2)
    path = tmp_path / "flat.pth"
    torch.save(plain.state_dict() | under("ema.", averaged.state_dict()), path)
    with pytest.raises(OodbenchError, match=r"flat\.pth#\. or .*flat\.pth#ema"):
        checkpoints.load(small(seed=3), path)
    for entry, meant in {".": plain, "ema": averaged}.items():
        network = small(seed=3)
        checkpoints.load(network, tmp_path / f"flat.pth#{entry}")
        assert checkpoints.weights_digest(network) == checkpoints.weights_digest(meant)


def test_an_entry_is_part_of_what_is_given(tmp_path):
    torch.save({"model": small(1).state_dict(), "ema": small(2).state_dict()}, tmp_path / "net.pth")
    named = [trained.checkpoint(str(tmp_path / f"net.pth{entry}"), tmp_path) for entry in ("", "#model", "#ema")]
    assert len({_file_digest(path) for path in named}) == 3
    (tmp_path / "odd#name.pth").write_bytes((tmp_path / "net.pth").read_bytes())
    assert statedicts.split_entry(tmp_path / "odd#name.pth") == (tmp_path / "odd#name.pth", "")
    assert statedicts.split_entry(tmp_path / "odd#name.pth#ema") == (tmp_path / "odd#name.pth", "ema")
    with pytest.raises(OodbenchError, match="no trained network"):
        trained.checkpoint(str(tmp_path / "none.pth#ema"), tmp_path)


@pytest.mark.parametrize("scale", [1.0, 255.0])
def test_a_normalisation_of_its_own_must_be_the_suites(scale, tmp_path):
    mean, std = (0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616)
    brought = {"0.mean": scale * torch.tensor(mean), "0.std": scale * torch.tensor(std)}
    torch.save(brought | under("1.", small().state_dict()), tmp_path / "net.pth")
    checkpoints.load(small(seed=2, mean=mean, std=std), tmp_path / "net.pth")
    for other in ({}, {"mean": mean}, {"mean": std, "std": std}):
        network = small(seed=2, **other)
        before = checkpoints.weights_digest(network)
        with pytest.raises(
            OodbenchError, match=r"its own normalisation, (mean 0\.4914 0\.4822|std 0\.2470).*\[network\]"
        ):
            checkpoints.load(network, tmp_path / "net.pth")
        assert checkpoints.weights_digest(network) == before


def test_a_deeper_network_under_the_same_prefix_is_another_architecture(tmp_path):
    torch.save(under("model.", small().state_dict() | {"conv4.weight": torch.zeros(1)}), tmp_path / "net.pth")
    with pytest.raises(OodbenchError, match=r"another architecture.*no 'conv4\.weight'"):
        checkpoints.load(small(), tmp_path / "net.pth")


def test_errors_name_some_of_what_is_missing_and_unexpected(tmp_path):
    weights = {name.replace("fc", "linear").replace("bn1", "norm"): t for name, t in small().state_dict().items()}
    torch.save({"state_dict": under("module.", weights)}, tmp_path / "net.pth")
    with pytest.raises(OodbenchError) as caught:
        checkpoints.load(small(), tmp_path / "net.pth")
    told = str(caught.value)
    assert "lacks 'bn1.weight', 'bn1.bias'" in told and "(6 missing in all)" in told
    assert "no 'norm.weight', 'norm.bias'" in told and "(7 unexpected in all)" in told


def zipped(*names):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, b"x")
    return buffer.getvalue()


def tarred():
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("net.pth"), io.BytesIO())
    return buffer.getvalue()


def whole_network():
    buffer = io.BytesIO()
    torch.save(nn.Sequential(nn.Linear(2, 2)), buffer)
    return buffer.getvalue()


FOREIGN = {
    "pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 3\n", "git lfs pull"),
    "page": (b"\n<!DOCTYPE html><html><body>404</body></html>", "a web page"),
    "page without a type": (b"<HTML><head></head></HTML>", "a web page"),
    "empty": (b"", "is empty"),
    "Keras": (b"\x89HDF\r\n\x1a\n" + bytes(64), "HDF5"),
    "new Keras": (zipped("metadata.json", "model.weights.h5"), "Keras"),
    "ONNX": (b"\x08\x07\x12\x07pytorch\x1a\x052.4.0" + bytes(64), "ONNX"),
    "TorchScript": (zipped("net/data.pkl", "net/code/__torch__.py", "net/constants.pkl"), "TorchScript"),
    "npz": (zipped("a.npy", "b.npy"), r"\.npz"),
    "zip": (zipped("readme.txt"), "zip archive of something else"),
    "tar": (tarred(), "tar archive"),
    "gzip": (gzip.compress(b"x"), "gzip"),
    "index": (json.dumps({"metadata": {}, "weight_map": {"a": "1.safetensors"}}).encode(), "several files"),
    "json": (b'{"a": 1}', "JSON"),
    "whole": (whole_network(), "whole pickled network"),
    "noise": (bytes(range(7, 256)) * 3, "damaged"),
    "text": (b"hello, this is my network\n", "damaged"),
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("kind", list(FOREIGN))
def test_what_is_no_checkpoint_is_called_what_it_is(kind, tmp_path):
    raw, told = FOREIGN[kind]
    (tmp_path / "net.pth").write_bytes(raw)
    with pytest.raises(OodbenchError, match=told) as caught:
        checkpoints.load(small(), tmp_path / "net.pth")
    assert "\n" not in str(caught.value) and "net.pth" in str(caught.value)


class Config:
    """Something that only its own module could bring back."""


def test_objects_beside_the_weights_are_named_and_not_made(tmp_path):
    torch.save({"state_dict": small().state_dict(), "config": Config()}, tmp_path / "net.pth")
    with pytest.raises(OodbenchError, match=r"test_entries\.Config.*refused"):
        checkpoints.load(small(), tmp_path / "net.pth")
    (tmp_path / "object.pth").write_bytes(pickle.dumps({"a": np.array([Config()], object)}))
    with pytest.raises(OodbenchError, match="refused"):
        checkpoints.load(small(), tmp_path / "object.pth")


def test_an_entry_by_name_scores_through_the_command(oodbench, tmp_path):
    given = Path(__file__).parents[2] / "results" / "reference" / "networks" / "digits" / "plain.safetensors"
    weights = safetensors.torch.load_file(given)
    averaged = {name: 0.9 * tensor for name, tensor in weights.items()}
    torch.save({"state_dict": under("model.", weights), "ema": averaged}, tmp_path / "both.ckpt")
    asked = ("run", "--suite", "digits", "--detector", "msp", "--limit", "20", "--checkpoint")
    code, _, err = oodbench(*asked, "both.ckpt")
    assert code == 2 and "both.ckpt#state_dict.model or both.ckpt#ema" in err
    code, out, err = oodbench(*asked, "both.ckpt#state_dict.model")
    assert code == 0, err
    assert "both.ckpt#state_dict.model" in out
