"""Networks of libraries by their names there: torchvision's, those of transformers, and timm's without a head."""

import json

import numpy as np
import pytest
import safetensors.torch
import timm
import torch
import torchvision
from PIL import Image

from oodbench import networks
from oodbench.basics.errors import OodbenchError
from oodbench.detectors.residual import Residual
from oodbench.metrics import accuracy
from oodbench.networks import checkpoints, named, of_transformers
from oodbench.networks.headless import Headless, NoLogitsError
from oodbench.results.tables import load_results
from oodbench.sources import torchvision_weights
from oodbench.sources.trained import checkpoint

SMALL = (3, 32, 32)
COMMIT = "c0ffee" * 6 + "c0de"


def images(count=2, side=32):
    return torch.rand((count, 3, side, side), generator=torch.Generator().manual_seed(1))


def built(name, outputs=3):
    return networks.build(name, outputs, mean=(), std=(), seed=0, shape=SMALL).eval()


@pytest.fixture
def offline(monkeypatch):
    def never(*_, **__):
        raise AssertionError("something was downloaded")

    monkeypatch.setattr("torch.hub.load_state_dict_from_url", never)
    monkeypatch.setattr("urllib.request.urlopen", never)


def test_torchvisions_network_takes_its_weights_and_its_normalisation(offline, tmp_path):
    own = torchvision.models.resnet18(num_classes=3).eval()
    torch.save(own.state_dict(), tmp_path / "fine-tuned.pt")
    network = built("torchvision:resnet18")
    checkpoints.load(network, tmp_path / "fine-tuned.pt")
    prepared = torchvision.models.ResNet18_Weights.DEFAULT.transforms()
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (prepared.mean, prepared.std))
    with torch.no_grad():
        torch.testing.assert_close(network(images()), own((images() - mean) / std))
    assert network.tap_names[-2:] == ("layer2.1", "layer3.1")  # of 32 pixels the last stage leaves one


def test_image_files_become_what_torchvisions_weights_want():
    file = Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 411, 3), dtype=np.uint8))
    for tag, weights in torchvision.models.ResNet50_Weights.__members__.items():
        wanted = weights.transforms()
        found = networks.preprocessing(f"torchvision:resnet50.{tag}")(file)
        normal = (found.transpose(2, 0, 1) / 255 - np.reshape(wanted.mean, (3, 1, 1))) / np.reshape(
            wanted.std, (3, 1, 1)
        )
        np.testing.assert_allclose(normal, wanted(file).numpy(), atol=1e-5)
    assert networks.preprocessing("torchvision:resnet50") == networks.preprocessing(
        "torchvision:resnet50.IMAGENET1K_V2"
    )


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("torchvision:resnet19", "unknown classifier of torchvision 'resnet19': did you mean 'resnet1"),
        ("torchvision:resnet18.V1", "unknown weights of torchvision's resnet18 'V1'"),
        ("torchvision:fcn_resnet50", "unknown classifier"),
        ("headless:resnet19", "timm has no network 'resnet19'"),
    ],
)
def test_other_names_are_refused_with_the_nearest(name, told):
    with pytest.raises(OodbenchError, match=told):
        named.find(name)


def test_torchvisions_weights_are_fetched_by_name_and_held_against_their_digest(offline, tmp_path):
    name = "torchvision:resnet18.IMAGENET1K_V1"
    file = torchvision_weights.file_of(name)
    assert file.digest == "sha256:f37072fd" and file.name == "resnet18-f37072fd.pth" and file.proven
    with pytest.raises(OodbenchError, match=f"not there yet: `oodbench data fetch {name}`"):
        checkpoint(name, tmp_path)
    with pytest.raises(OodbenchError, match="say which, such as torchvision:resnet18.IMAGENET1K_V1"):
        checkpoint("torchvision:resnet18", tmp_path)
    (tmp_path / "networks").mkdir()
    (tmp_path / "networks" / file.name).write_bytes(b"mine")
    assert checkpoint(name, tmp_path).read_bytes() == b"mine"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny network of transformers with weights drawn at random, as save_pretrained leaves it."""
    transformers = pytest.importorskip("transformers", reason="needs the extra 'transformers'")
    place = tmp_path_factory.mktemp("hub") / "tiny-vit"
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
    config = transformers.ViTConfig(**sizes, image_size=32, patch_size=8, num_labels=4)
    transformers.ViTForImageClassification(config).save_pretrained(place)
    about = {"image_processor_type": "ViTImageProcessor", "size": {"height": 32, "width": 32}, "resample": 3}
    about |= {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.2, 0.2]}
    (place / "preprocessor_config.json").write_text(json.dumps(about))
    return place


def test_a_network_of_transformers_is_made_of_its_folder(folder):
    import transformers

    name = f"transformers:{folder}"
    network = built(name, 4)
    checkpoints.load(network, folder / "model.safetensors")
    own = transformers.ViTForImageClassification.from_pretrained(folder).eval()
    mean, std = torch.tensor([0.5, 0.4, 0.3]).view(1, 3, 1, 1), 0.2
    with torch.no_grad():
        torch.testing.assert_close(network(images()), own((images() - mean) / std).logits)
    assert sorted(network.state_dict()) == sorted(safetensors.torch.load_file(folder / "model.safetensors"))
    prepared = networks.preprocessing(name)
    assert (prepared.side, prepared.interpolation, prepared.mode) == (32, "bicubic", "squash")
    assert networks.called(name) == "transformers:tiny-vit"


def copied(folder, tmp_path, **changes):
    config = json.loads((folder / "config.json").read_text()) | changes
    (tmp_path / "config.json").write_text(json.dumps(config))
    return f"transformers:{tmp_path}"


def test_what_its_folder_says_is_in_keys(folder, tmp_path):
    first = networks.code(copied(folder, tmp_path))
    assert first == networks.code(copied(folder, tmp_path)) != networks.code(f"transformers:{folder}")
    assert networks.code(copied(folder, tmp_path, hidden_act="relu")) != first  # which no weight tells


@pytest.mark.parametrize(
    ("config", "told"),
    [
        (b"", "cannot be read"),
        (b"[]", "does not hold a JSON object"),
        (b'{"model_type": "nothing-known"}', "makes no image classifier"),
        (b'{"model_type": "bert"}', "makes no image classifier"),
        (b'{"model_type": "vit", "auto_map": {"AutoModel": "evil.Evil"}}', "brings code of its own, which is not run"),
    ],
)
def test_other_folders_are_refused(folder, tmp_path, config, told):
    (tmp_path / "config.json").write_bytes(config)
    with pytest.raises(OodbenchError, match=told):
        built(f"transformers:{tmp_path}")


def processor(**changes):
    usual = {"size": {"shortest_edge": 256}, "do_center_crop": True, "crop_size": {"height": 224, "width": 224}}
    return usual | {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "resample": 2, "rescale_factor": 1 / 255} | changes


CONVNEXT = {"crop_size": {}, "do_center_crop": False, "crop_pct": 0.875}
UNKNOWN = {"height": 224, "width": 200}, {"height": 300, "width": 300}


@pytest.mark.parametrize(
    ("changes", "side", "crop", "mode"),
    [
        ({}, 224, 0.875, "center"),
        ({"size": {"height": 224, "width": 224}, "do_center_crop": False}, 224, 1.0, "squash"),
        (
            {"size": {"shortest_edge": 224}, "crop_size": {}, "do_center_crop": False, "crop_pct": 0.875},
            224,
            0.875,
            "center",
        ),
        (
            {"size": {"shortest_edge": 384}, "crop_size": {}, "do_center_crop": False, "crop_pct": 0.95},
            384,
            1.0,
            "squash",
        ),
    ],
)
def test_sizes_are_taken_over_from_processors(changes, side, crop, mode):
    found = of_transformers._preprocessing("x", processor(**changes))
    assert (found.side, found.crop, found.mode, found.interpolation) == (side, crop, mode, "bilinear")


@pytest.mark.parametrize(
    "changes",
    [
        {"size": {"height": 224, "width": 200}},
        {"crop_size": {"height": 300, "width": 300}},
        {"resample": 9},
        {"size": {}},
    ],
)
def test_what_makes_no_known_square_is_refused(changes):
    with pytest.raises(OodbenchError, match=r"say it yourself, \[network.preprocessing\]"):
        of_transformers._preprocessing("x", processor(**changes))


def test_other_scales_of_pixels_are_refused_and_missing_normalisation_is_none():
    with pytest.raises(OodbenchError, match="scales 8-bit levels by 0.00784"):
        of_transformers._channels("x", processor(rescale_factor=1 / 127.5))
    assert of_transformers._channels("x", processor(do_normalize=False)) == ((0.0,) * 3, (1.0,) * 3)


def test_on_the_hub_a_network_is_pinned_and_its_files_fetched(folder, monkeypatch):
    asked = []

    def fetched(repo, revision, file):
        asked.append((repo, revision, file))
        return folder / file

    monkeypatch.setattr(of_transformers, "fetch_file", fetched)
    monkeypatch.setattr(of_transformers, "fetch_file_if_there", fetched)
    monkeypatch.setattr(of_transformers, "commit_of", lambda *_: COMMIT)
    found = named.find(f"transformers:hf://org/vit@{COMMIT}")
    assert found.builder.mean == (0.5, 0.4, 0.3) and found.code == networks.code(f"transformers:{folder}")
    assert {(repo, revision) for repo, revision, _ in asked} == {("org/vit", COMMIT)}
    with pytest.raises(OodbenchError, match=f"is not pinned.*write transformers:hf://org/vit@{COMMIT}"):
        named.find("transformers:hf://org/vit@main")


def test_without_transformers_it_says_what_to_install(monkeypatch, tmp_path):
    import sys

    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(OodbenchError, match=r"pip install 'oodbench\[transformers\]'"):
        named.find(f"transformers:{tmp_path}")


def test_a_network_without_a_head_has_timms_features_and_weights():
    own = timm.create_model("test_resnet", num_classes=0).eval()
    network = built("headless:test_resnet")
    assert list(network.state_dict()) == list(own.state_dict())
    network.load_state_dict(own.state_dict())
    with torch.no_grad():
        found = network.represent(images())
        torch.testing.assert_close(found.features, own(network.normalise(images())))
    assert all(tap.ndim == 4 for tap in found.taps) and found.taps
    for asked in (lambda: found.logits, lambda: network(images()), lambda: network.head(found.features)):
        with pytest.raises(NoLogitsError, match="no head"):
            asked()
    for asked in (lambda: network.head.weight @ found.features.T, lambda: network.head.weight[:3].sum()):
        with pytest.raises(NoLogitsError):
            asked()


def test_residual_is_centred_on_nought_where_there_is_no_head():
    """By hand: features in the plane x2 = 0, so that the residual of one direction is |x2|."""
    method = Residual(Residual.Parameters(dimensions=2))
    network = built("headless:test_resnet")
    network.body.num_features = 3
    method.attach(network, 2)
    features = torch.tensor([[1.0, 0, 0.01], [0, 2, 0], [3, 1, 0], [0, 1, -0.01]])
    method.observe(Headless(torch.empty(4, 0), features, ()), torch.zeros(4))
    method.settle()
    scores = method.score_representation(Headless(torch.empty(2, 0), torch.tensor([[5.0, 5, 0], [1, 1, 2]]), ()))
    assert scores[0] == pytest.approx(0, abs=0.05) and scores[1] == pytest.approx(-2, abs=0.02)


def test_accuracy_is_of_images_whose_class_the_network_tells():
    assert np.isnan(accuracy(np.array([-1, -1]), np.array([0, 1])))
    assert accuracy(np.array([0, 1, -1, 0]), np.array([0, 0, 0, 0])) == 0.5


def test_a_run_without_a_head_has_no_accuracy_and_refuses_by_name_what_asks_for_logits(oodbench, tmp_path):
    own = timm.create_model("test_resnet", num_classes=0)
    safetensors.torch.save_file(own.state_dict(), tmp_path / "own.safetensors")
    asked = ("run", "--suite", "digits", "--network", "headless:test_resnet", "--limit", "30", "--jobs", "1")
    code, out, err = oodbench(
        *asked, "--checkpoint", "own.safetensors", "--detector", "knn", "--detector", "msp", "--set", "knn.k=3",
        "--task", "clean", "--task", "linf-adaptive", "--set", "linf-adaptive.level=quick", "--only", "letters",
    )  # fmt: skip
    assert code == 2
    assert "digits: msp needs logits, and the network has no head" in err and "Traceback" not in err
    assert "mean 0.5, 0.5, 0.5" in err and "ID acc" not in out
    frame = load_results(tmp_path / "results")
    knn = frame[frame.detector == "knn"]
    assert knn[knn.metric == "accuracy"].value.isna().all()
    assert knn[knn.metric == "auroc"].value.notna().all() and set(knn[knn.metric == "auroc"].task) == {
        "clean",
        "linf-adaptive",
    }
    code, _, err = oodbench(*asked, "--checkpoint", "own.safetensors", "--detector", "all", "--task", "clean")
    (line,) = [line for line in err.splitlines() if line.startswith("left out: ") and "each needs logits" in line]
    assert {"msp", "energy", "vim"} <= {*line.removeprefix("left out: ").partition(" (")[0].split(", ")}
    code, _, err = oodbench(*asked, "--detector", "knn")
    assert code == 2 and "has no head that could be trained: give its weights with --checkpoint" in err
