"""Suites of photographs through a network of timm, as a user runs them."""

import re
import subprocess
import sys

import h5py
import pytest
import safetensors.torch
import torch
from photographs import encoded
from timm.data import create_transform

from oodbench import networks
from oodbench.images.decoding import decode_file
from oodbench.images.photographs import write_photographs
from oodbench.networks import checkpoints

pytestmark = pytest.mark.usefixtures("briefly_continued")

SUITE = """
version = 1
id = {test = "cats", train = "cats-train", classes = 3, heldout = 4}
ood = [{set = "dogs", distance = "near"}]
outliers = {set = "others", reserved = 8}
network = {name = "test_resnet"}
training = {epochs = 1, learning_rate = 0.01, augment = ["flip"]}
[tasks.clean]
[tasks.linf]
epsilon = 4
steps = 2
"""


def files(count, first):
    return [(f"{n}.png", encoded(170 + n % 7, 200 - n % 5, first + n), n % 3) for n in range(count)]


@pytest.fixture
def photos(tmp_path):
    sets = {"cats": (20, 0), "dogs": (20, 100), "cats-train": (40, 200), "others": (60, 300)}
    for name, (count, first) in sets.items():
        write_photographs(tmp_path / "data" / f"{name}.h5", files(count, first), "made up")
    (tmp_path / "pets.toml").write_text(SUITE)
    return tmp_path


def scores(folder, detector, task, name):
    (cell,) = (folder / "results" / "pets" / detector).glob("*.h5")
    with h5py.File(cell) as file:
        return file[task][name]["scores"][()]


def test_clean_scores_are_those_of_timms_own_pipeline(oodbench, photos):
    network = networks.build("test_resnet", 3, *networks.normalisation("test_resnet"), seed=5).eval()
    checkpoints.save(network, photos / "net.safetensors", {})
    given = ("--checkpoint", photos / "net.safetensors", "--task", "clean")
    code, _, err = oodbench(
        "run", "--suite", "pets.toml", "--detector", "maxlogit", "--detector", "knn", "--set", "knn.k=3", *given
    )
    assert code == 0, err
    mean, std = networks.normalisation("test_resnet")
    transform = create_transform((3, 160, 160), interpolation="bicubic", crop_pct=0.95, mean=mean, std=std)
    with torch.no_grad():
        theirs = network.body(torch.stack([transform(decode_file(content, "")) for _, content, _ in files(20, 100)]))
    assert scores(photos, "maxlogit", "clean", "dogs") == pytest.approx(theirs.amax(1).double().numpy(), abs=1e-4)


def test_methods_that_train_with_outliers_fine_tune_and_are_attacked(oodbench, photos):
    both = ("--detector", "atom", "--detector", "oe")
    code, _, err = oodbench("run", "--suite", "pets.toml", *both, "--limit", "8", "--jobs", "1")
    assert code == 0, err
    _, table, _ = oodbench("table", "results", "--long")
    assert len(re.findall(r"^\| (atom|oe) .* linf ", table, re.M)) == 2
    for detector in ("atom", "oe"):
        assert (scores(photos, detector, "linf", "dogs") >= scores(photos, detector, "clean", "dogs")).all()
    _, _, err = oodbench("run", "--suite", "pets.toml", "--detector", "atom", "--limit", "8")
    assert "everything is there already" in err


def test_training_starts_from_the_weights_that_the_suite_names(oodbench, photos):
    network = networks.build("test_resnet", 3, *networks.normalisation("test_resnet"), seed=5)
    checkpoints.save(network, photos / "start.safetensors", {})
    slow = SUITE.replace("learning_rate = 0.01", 'learning_rate = 1e-12, start = "start.safetensors"')
    (photos / "pets.toml").write_text(slow)
    code, _, err = oodbench("run", "--suite", "pets.toml", "--detector", "ntom", "--task", "clean", "--limit", "6")
    assert code == 0, err
    (kept,) = (photos / "results" / "networks").glob("*.safetensors")
    weights = safetensors.torch.load_file(kept)
    assert torch.allclose(weights["conv1.0.weight"], network.state_dict()["conv1.0.weight"], atol=1e-6)
    assert torch.allclose(weights["fc.weight"][:3], network.head.weight, atol=1e-6)
    code, _, err = oodbench("run", "--suite", "pets.toml", "--detector", "ntom", "--set", "start=nowhere.pt")
    assert code == 2
    assert "there is no trained network nowhere.pt" in err


@pytest.mark.parametrize(
    ("detector", "said"),
    [("ccu", "ccu measures distances between pixels, and 160 x 160"), ("rowl", "a set of photographs makes none")],
)
def test_methods_that_cannot_say_why(oodbench, photos, detector, said):
    code, out, err = oodbench("run", "--suite", "pets.toml", "--detector", detector)
    assert code == 2
    assert said in out + err
    assert "Traceback" not in out + err


def test_photographs_beside_pixels_of_another_size_are_refused(oodbench, photos):
    (photos / "pets.toml").write_text(SUITE.replace('"dogs"', '"letters"'))
    code, _, err = oodbench("run", "--suite", "pets.toml", "--detector", "msp")
    assert code == 2
    assert "'letters' are 32 x 32 and those of 'cats' 160 x 160 pixels" in err


def test_a_damaged_photograph_costs_only_its_set(oodbench, photos):
    broken = files(20, 100)
    broken[13] = ("13.png", broken[13][1][:300], 0)
    write_photographs(photos / "data" / "dogs.h5", broken, "made up")
    code, out, err = oodbench("run", "--suite", "pets.toml", "--detector", "msp", "--task", "clean")
    assert code == 2
    assert "dogs.h5: image 13, 13.png, is broken" in out + err
    assert "Traceback" not in out + err


PEAK = """
import resource, sys
from pathlib import Path
import torch
from oodbench import networks
from oodbench.images import packs
from oodbench.images.preprocessing import Preprocessing
from oodbench.scoring.batches import batches
for file in sys.argv[1:]:
    found = packs.read_pack(Path(file), "many", Preprocessing(side=224))
    total = sum(float(pixels[:, 0, 0, 0].sum()) for pixels, _ in batches(found, torch.device("cpu")))
    print(len(found), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in KiB on Linux only")
def test_memory_does_not_grow_with_the_number_of_images(tmp_path):
    """A thousand images more would be 150 MB more if they were kept: the largest that the process has ever been."""
    content, counts = encoded(240, 240), (200, 1200)
    files = [tmp_path / f"{count}.h5" for count in counts]
    for file, count in zip(files, counts, strict=True):
        write_photographs(file, ((str(n), content, 0) for n in range(count)), "made up")
    ran = subprocess.run([sys.executable, "-c", PEAK, *files], capture_output=True, text=True, check=True)
    said = [line.split() for line in ran.stdout.splitlines()]
    few, many = (int(peak) / 1024 for _, peak in said)
    assert [int(count) for count, _ in said] == list(counts)
    assert many - few < 50
