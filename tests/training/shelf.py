"""A suite of drawn images whose networks are kept on a shelf, and what stands in its index."""

import json
from pathlib import Path

import numpy as np

from oodbench.images.imageset import ImageSet
from oodbench.results.store import cells

SUITE = """
version = 1
[id]
train = "mine-train"
test = "mine-test"
classes = 3
heldout = 20
[[ood]]
set = "theirs"
distance = "far"
[outliers]
set = "others"
reserved = 50
[network]
name = "small-cnn"
[training]
epochs = 1
[tasks.clean]
"""

RUN = ("run", "--suite", "mine.toml", "--detector", "msp", "--detector", "oe", "--jobs", "1")
KEEP = ("keep", "--suite", "mine.toml", "--detector", "all", "--into", "data/networks/shelf")
SHELF = Path("data/networks/shelf")


def images(name, count, seed, classes=3):
    pixels = np.random.default_rng(seed).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    return ImageSet(name, pixels, np.arange(count) % classes, "drawn")


def index():
    return json.loads((SHELF / "index.json").read_text())


def edit(change):
    about = index()
    change(about["networks"])
    (SHELF / "index.json").write_text(json.dumps(about))


def scores(folder):
    """The scores of each group, by detector, task and set."""
    return {
        (cell.attributes()["detector"], group.task, group.image_set): group.scores.tobytes()
        for cell in cells(Path(folder))
        for group in cell.read()
    }
