"""A tiny world, made once: image packs, a suite, a trained network, results, a reference, folders of image files."""

import io
import shutil
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from oodbench.images.imageset import ImageSet
from oodbench.images.packs import write_pack
from tests.fuzz.calling import call

SUITE = """version = 1
title = "tiny"

[id]
train = "tiny-train"
test = "tiny-test"
classes = 2
heldout = 6

[[ood]]
set = "tiny-ood"
distance = "far"

[[ood]]
set = "tiny-near"
distance = "near"

[outliers]
set = "tiny-outliers"
reserved = 8
augment = ["crop", "flip"]

[network]
name = "small-cnn"
mean = [0.5, 0.5, 0.5]
std = [0.5, 0.5, 0.5]

[training]
epochs = 1
drops = []
learning_rate = 0.01
augment = ["flip"]

[tasks.clean]

[tasks.linf]
epsilon = 8
steps = 2
step = 4

[detectors.atom]
q = 0.0
steps = 1

[detectors.knn]
k = 3
"""

BOARD = """Training,Postprocessor,Near-OOD_AUROC,Far-OOD_AUROC,ID_Accuracy,Outlier_Data,Arch,Additional_Description
CrossEntropy,MSP,88.03 ± 0.25,90.73 ± 0.43,95.06 ± 0.30,No,ResNet18,100 epochs
OE,MSP,94.82 ± 0.21,96.00 ± 0.13,/,Yes,ResNet18,100 epochs
"""

PLUGIN = '''"""The brightness of an image."""

from oodbench.detector import Detector


class Brightness(Detector):
    """Its mean."""

    name = "brightness"
    paper = "nobody"

    def score_representation(self, representation):
        return representation.logits[:, 0]
'''


def make(folder: Path) -> Path:
    """The world: images, a suite, a plugin, results, a network, features, a detector, a reference, a leaderboard."""
    generator = np.random.default_rng(0)
    for name, count in (
        ("tiny-train", 36),
        ("tiny-test", 16),
        ("tiny-ood", 10),
        ("tiny-near", 8),
        ("tiny-outliers", 40),
    ):
        images = generator.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
        labels = np.arange(count) % 2 if name in ("tiny-train", "tiny-test") else np.full(count, -1)
        write_pack(folder / "data" / f"{name}.h5", ImageSet(name, images, labels, "drawn at random"))
    (folder / "tiny.toml").write_text(SUITE)
    (folder / "plug.py").write_text(PLUGIN)
    for said in (
        ("run", "--suite", "tiny.toml", "--detector", "msp", "--detector", "knn", "--keep-images"),
        ("keep", "--suite", "tiny.toml", "--detector", "msp", "--into", "data/networks/shelf"),
        ("check", "results", "--reference", "reference.csv", "--update"),
        ("fit", "--suite", "tiny.toml", "--detector", "knn", "--calibrate", "test", "-o", "tiny.ood"),
        ("data", "pack", str(_photos(folder / "photos")), "photographs", "--files"),
    ):
        outcome = call(*said)
        assert outcome.code == 0, outcome
    shutil.copy(next((folder / "results" / "networks").glob("*.safetensors")), folder / "network.safetensors")
    features = ("features", "--suite", "tiny.toml", "--checkpoint", "network.safetensors", "-o", "tiny.features")
    assert call(*features).code == 0
    (folder / "cifar10.csv").write_text(BOARD)
    return folder


def _photos(folder: Path) -> Path:
    """Image files of several kinds in two class folders, and the same as archives beside them."""
    generator = np.random.default_rng(1)
    archive = zipfile.ZipFile(folder.with_suffix(".zip"), "w")
    for number, (suffix, mode) in enumerate([("png", "RGB"), ("jpg", "RGB"), ("gif", "L"), ("png", "RGBA")] * 2):
        content = io.BytesIO()
        channels = Image.new(mode, (1, 1)).getbands()
        pixels = generator.integers(0, 256, (20, 24, len(channels)), dtype=np.uint8)
        Image.fromarray(pixels.squeeze()).convert(mode).save(content, {"jpg": "JPEG"}.get(suffix, suffix.upper()))
        file = folder / ("cat" if number < 4 else "dog") / f"{number}.{suffix}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.getvalue())
        archive.writestr(f"{file.parent.name}/{file.name}", content.getvalue())
    archive.close()
    shutil.make_archive(str(folder), "gztar", folder)
    return folder
