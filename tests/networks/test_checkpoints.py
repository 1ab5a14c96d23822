"""Checkpoints: nothing is lost on disk, nothing foreign gets in, nothing in a file is executed."""

import io
import os
import pickle
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image
from torch import Tensor, nn

from oodbench import networks
from oodbench.basics.errors import OodbenchError
from oodbench.networks import checkpoints
from oodbench.networks.network import Network, as_input

SHARED = Path(os.environ.get("OODBENCH_SHARED", Path(__file__).parents[3] / "shared"))


def small(outputs: int = 10, seed: int = 0) -> Network:
    return networks.build("small-cnn", outputs, seed=seed)


def densenet(seed: int = 0) -> Network:
    return networks.build("densenet-bc-100-12", 10, seed=seed)


def assert_same(one: Network, other: Network) -> None:
    ours, theirs = one.state_dict(), other.state_dict()
    assert list(ours) == list(theirs)
    for name, tensor in ours.items():
        assert tensor.dtype == theirs[name].dtype and torch.equal(tensor, theirs[name]), name


def refusal(path: Path, network: Network) -> str:
    """The line with which `load` refuses a file; `network` must come out of it untouched."""
    before = checkpoints.weights_digest(network)
    with pytest.raises(OodbenchError) as caught:
        checkpoints.load(network, path)
    assert checkpoints.weights_digest(network) == before
    line = str(caught.value)
    assert "\n" not in line and str(path) in line
    return line


@pytest.mark.parametrize("build", [small, densenet])
def test_save_and_load_are_bit_identical(build: Callable[..., Network], tmp_path: Path) -> None:
    network, other = build(seed=1), build(seed=2)
    checkpoints.save(network, tmp_path / "new" / "net.safetensors", {"suite": "digits", "seed": "1"})
    checkpoints.load(other, tmp_path / "new" / "net.safetensors")
    assert_same(network, other)
    assert checkpoints.metadata(tmp_path / "new" / "net.safetensors") == {"suite": "digits", "seed": "1"}


def test_save_takes_channels_last_networks(tmp_path: Path) -> None:
    network, other = small(seed=1), small(seed=2)
    checkpoints.save(network.to(memory_format=torch.channels_last), tmp_path / "net", {})
    checkpoints.load(other, tmp_path / "net")
    assert_same(network, other)


@pytest.mark.parametrize("zipped", [True, False])
def test_reference_layout_round_trip(zipped: bool, tmp_path: Path) -> None:
    network, other = densenet(seed=1), densenet(seed=2)
    path = tmp_path / "checkpoint_100.pth.tar"
    content = {"epoch": 100, "state_dict": network.state_dict()}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    checkpoints.load(other, path)
    assert_same(network, other)


def test_content_decides_not_the_suffix(tmp_path: Path) -> None:
    weights = small(seed=1).state_dict()
    torch.save(weights, tmp_path / "torch.safetensors")
    (tmp_path / "safetensors.pth").write_bytes(safetensors.torch.save(weights))
    for path in tmp_path.iterdir():
        other = small(seed=2)
        checkpoints.load(other, path)
        assert_same(small(seed=1), other)


def test_data_parallel_prefix_is_taken_off(tmp_path: Path) -> None:
    network, other = small(seed=1), small(seed=2)
    torch.save({"state_dict": nn.DataParallel(network).state_dict()}, tmp_path / "net.pth")
    checkpoints.load(other, tmp_path / "net.pth")
    assert_same(network, other)


def test_counters_of_batch_norm_may_be_absent(tmp_path: Path) -> None:
    network, other = densenet(seed=1), densenet(seed=2)
    weights = {name: t for name, t in network.state_dict().items() if not name.endswith("num_batches_tracked")}
    torch.save(weights, tmp_path / "old.pth")
    checkpoints.load(other, tmp_path / "old.pth")
    assert_same(network, other)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_other_float_types_are_cast(dtype: torch.dtype, tmp_path: Path) -> None:
    network, other = small(seed=1), small(seed=2)
    weights = {name: tensor for name, tensor in network.state_dict().items() if tensor.is_floating_point()}
    torch.save({name: tensor.to(dtype) for name, tensor in weights.items()}, tmp_path / "net.pth")
    checkpoints.load(other, tmp_path / "net.pth")
    for name, tensor in weights.items():
        assert other.state_dict()[name].dtype == torch.float32
        assert torch.equal(other.state_dict()[name], tensor.to(dtype).float())


class Bomb:
    """Unpickles by making the file `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("write", [torch.save, lambda content, path: path.write_bytes(pickle.dumps(content, 2))])
def test_pickled_code_is_refused_and_not_executed(write: Callable[[Any, Path], Any], tmp_path: Path) -> None:
    trap = tmp_path / "executed"
    content = {"state_dict": small().state_dict(), "bomb": Bomb(trap)}
    pickle.loads(pickle.dumps(content))
    assert trap.exists(), "the pickle is no bomb"
    trap.unlink()

    write(content, tmp_path / "bomb.pth")

    assert "refused" in refusal(tmp_path / "bomb.pth", small())
    assert not trap.exists()


def test_pickled_network_is_refused(tmp_path: Path) -> None:
    torch.save(small(), tmp_path / "net.pth")
    assert "torch.save(network.state_dict())" in refusal(tmp_path / "net.pth", small())


@pytest.mark.parametrize("kept", [0, 5, 9, 1000, -1])
@pytest.mark.parametrize("kind", ["safetensors", "zip", "legacy"])
def test_truncated_files_are_refused(kind: str, kept: int, tmp_path: Path) -> None:
    path = tmp_path / "net"
    if kind == "safetensors":
        checkpoints.save(small(), path, {})
    else:
        torch.save(small().state_dict(), path, _use_new_zipfile_serialization=kind == "zip")
    path.write_bytes(path.read_bytes()[:kept])
    assert "damaged" in refusal(path, small())


@pytest.mark.parametrize(
    "content",
    [
        {},
        [torch.zeros(2)],
        {"epoch": 3},
        {"state_dict": {}},
        {1: torch.zeros(2)},
        {"weight": torch.eye(2).to_sparse()},
        {"weight": torch.zeros(2, device="meta")},
    ],
    ids=["empty", "list", "numbers", "empty-inside", "no-names", "sparse", "meta"],
)
@pytest.mark.filterwarnings("ignore:Validating sparse")
def test_what_is_not_a_dict_of_tensors_is_refused(content: Any, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "other.pth")
    assert "state_dict" in refusal(tmp_path / "other.pth", small())


def test_safetensors_with_a_header_beyond_its_end_is_refused(tmp_path: Path) -> None:
    (tmp_path / "net").write_bytes(struct.pack("<Q", 2**62) + b'{"a":1}')
    assert "damaged" in refusal(tmp_path / "net", small())


def test_missing_files_and_folders_are_named(tmp_path: Path) -> None:
    assert "cannot open" in refusal(tmp_path / "absent.pth", small())
    assert "cannot open" in refusal(tmp_path, small())


def test_other_architecture_names_a_missing_entry(tmp_path: Path) -> None:
    checkpoints.save(small(), tmp_path / "small", {})
    line = refusal(tmp_path / "small", densenet())
    assert "another architecture" in line and "lacks 'block1.layer.0.bn1.weight'" in line


def test_other_architecture_names_an_unexpected_entry(tmp_path: Path) -> None:
    torch.save(small().state_dict() | {"extra.weight": torch.zeros(1)}, tmp_path / "net")
    line = refusal(tmp_path / "net", small())
    assert "another architecture" in line and "no 'extra.weight'" in line


def changed(name: str, tensor: Tensor, path: Path) -> Path:
    torch.save(small().state_dict() | {name: tensor}, path)
    return path


def test_other_architecture_names_both_shapes(tmp_path: Path) -> None:
    line = refusal(changed("conv2.weight", torch.zeros(64, 16, 3, 3), tmp_path / "net"), small())
    assert "another architecture" in line and "(64, 16, 3, 3)" in line and "(64, 32, 3, 3)" in line


@pytest.mark.parametrize(("name", "shape"), [("fc.weight", (10, 512)), ("fc.bias", ())])
def test_other_features_are_not_taken_for_other_outputs(name: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    line = refusal(changed(name, torch.zeros(shape), tmp_path / "net"), small())
    assert "another architecture" in line and str(shape) in line


def test_other_number_of_outputs_is_said_so(tmp_path: Path) -> None:
    checkpoints.save(small(outputs=10), tmp_path / "net", {})
    line = refusal(tmp_path / "net", small(outputs=11))
    assert "has 10 outputs, the network needs 11" in line and "reject class" in line


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 1e300])
def test_weights_that_are_not_finite_in_the_network_are_refused(bad: float, tmp_path: Path) -> None:
    path = changed("fc.bias", torch.tensor([0.0] * 9 + [bad], dtype=torch.float64), tmp_path / "net")
    assert "NaN or infinite" in refusal(path, small()) and "'fc.bias'" in refusal(path, small())


@pytest.mark.parametrize("dtype", [torch.int64, torch.complex64])
def test_weights_of_another_kind_of_number_are_refused(dtype: torch.dtype, tmp_path: Path) -> None:
    assert str(dtype) in refusal(changed("fc.bias", torch.zeros(10, dtype=dtype), tmp_path / "net"), small())


def test_metadata_is_empty_where_there_is_none_and_refused_where_it_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "bare").write_bytes(safetensors.torch.save(small().state_dict()))
    assert checkpoints.metadata(tmp_path / "bare") == {}
    torch.save(small().state_dict(), tmp_path / "torch")
    for path, reason in {"torch": "not a whole safetensors file", "absent": "cannot open", ".": "cannot open"}.items():
        with pytest.raises(OodbenchError, match=reason):
            checkpoints.metadata(tmp_path / path)


def test_digest_tells_networks_apart_and_survives_the_disk(tmp_path: Path) -> None:
    network = small(seed=1)
    checkpoints.save(network, tmp_path / "net", {})
    other = small(seed=2)
    assert checkpoints.weights_digest(other) != checkpoints.weights_digest(network)
    checkpoints.load(other, tmp_path / "net")
    assert checkpoints.weights_digest(other) == checkpoints.weights_digest(network)
    assert checkpoints.weights_digest(other.double()) != checkpoints.weights_digest(network)


def test_digest_sees_a_single_bit(tmp_path: Path) -> None:
    network = densenet()
    before = checkpoints.weights_digest(network)
    with torch.no_grad():
        network.get_parameter("fc.bias")[3] = -0.0
    assert checkpoints.weights_digest(network) != before


@pytest.mark.skipif(not SHARED.exists(), reason="needs real weights and images: set OODBENCH_SHARED")
def test_published_cifar10_weights_classify_cifar10() -> None:
    network = networks.build(
        "densenet-bc-100-12",
        outputs=10,
        mean=(125.3 / 255, 123.0 / 255, 113.9 / 255),
        std=(63.0 / 255, 62.1 / 255, 66.7 / 255),
    ).eval()
    path = SHARED / "weights" / "densenet-bc-100-12_cifar10.pth.tar"
    checkpoints.load(network, path)

    images, labels = first_images(SHARED / "data" / "cifar10-test.tar.gz", 256)
    with torch.inference_mode():
        predicted = torch.cat([network(batch).argmax(1) for batch in images.chunk(4)])

    assert (predicted == labels).float().mean() > 0.9


def first_images(archive: Path, count: int) -> tuple[Tensor, Tensor]:
    """Images as a network takes them, and labels: members are named INDEX_LABEL.webp."""
    pixels: list[np.ndarray[Any, np.dtype[np.uint8]]] = []
    labels: list[int] = []
    with tarfile.open(archive) as tar:
        for member in tar:
            if len(pixels) == count:
                break
            if member.name.endswith(".json"):
                continue
            file = tar.extractfile(member)
            assert file is not None
            pixels.append(np.asarray(Image.open(io.BytesIO(file.read())).convert("RGB")))
            labels.append(int(Path(member.name).stem.split("_")[1]))
    return as_input(torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2)), torch.tensor(labels)


def test_training_may_begin_with_weights_of_fewer_outputs(tmp_path: Path) -> None:
    given, network, fresh = small(10, seed=1), small(11, seed=2), small(11, seed=2)
    checkpoints.save(given, tmp_path / "ten.safetensors", {})
    checkpoints.begin(network, tmp_path / "ten.safetensors")
    assert torch.equal(network.conv1.weight, given.conv1.weight)
    assert torch.equal(network.fc.weight[:10], given.fc.weight)
    assert torch.equal(network.fc.weight[10:], fresh.fc.weight[10:])
    assert torch.equal(network.fc.bias[:10], given.fc.bias)


def test_a_last_layer_of_more_outputs_means_other_classes(tmp_path: Path) -> None:
    given, network, fresh = small(10, seed=1), small(7, seed=2), small(7, seed=2)
    checkpoints.save(given, tmp_path / "ten.safetensors", {})
    checkpoints.begin(network, tmp_path / "ten.safetensors")
    assert torch.equal(network.conv1.weight, given.conv1.weight)
    assert torch.equal(network.fc.weight, fresh.fc.weight)


def test_training_cannot_begin_with_another_architecture(tmp_path: Path) -> None:
    checkpoints.save(small(), tmp_path / "small.safetensors", {})
    with pytest.raises(OodbenchError, match="another architecture"):
        checkpoints.begin(densenet(), tmp_path / "small.safetensors")
