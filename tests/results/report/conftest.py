"""Results made by hand, so that a page of any size takes no run."""

import json
import os
import shutil

import numpy as np
import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from oodbench.images.imageset import ImageSet
from oodbench.images.packs import write_pack
from oodbench.results.report import boards, render
from oodbench.results.store import Cell, Scores

ABOUT = {
    "suite": "toys",
    "suite_version": 1,
    "suite_fingerprint": "f" * 64,
    "paper": "nobody 2026, nowhere",
    "parameters": "{}",
    "tuned": "{}",
    "settings": "",
    "seed": 1,
    "limit": 0,
    "images": 0,
    "network": "small-cnn",
    "network_file": "toy.safetensors",
    "network_digest": "d" * 64,
    "checkpoint": "",
    "means": json.dumps({"all": ["cats", "dogs", "noise"], "near": ["cats"], "far": ["dogs", "noise"]}),
}
MACHINE = {"oodbench": "0.1.0", "torch": "2.0", "python": "3.11", "device": "cpu", "hardware": "abacus"}
TASKS = {
    "clean": {"kind": "clean"},
    "linf": {"kind": "linf", "epsilon": 8, "side": "out"},
    "linf-eps0": {"kind": "linf", "epsilon": 0, "side": "out"},
    "linf-eps8": {"kind": "linf", "epsilon": 8, "side": "out"},
    "linf-eps16": {"kind": "linf", "epsilon": 16, "side": "out"},
}
SETS = {"cats": "near", "dogs": "far", "noise": "far"}
SIZE = 40


def drawn(name, count=SIZE, side=8):
    """The images of a made-up set, the same every time."""
    generator = np.random.default_rng(sum(map(ord, name)))
    pixels = generator.integers(0, 256, (count, side, side, 3), dtype=np.uint8)
    return ImageSet(name, pixels, np.full(count, -1), f"drawn as {name}")


@pytest.fixture
def data(tmp_path):
    """A data folder with every set."""
    return write_sets(tmp_path / "data")


def write_sets(folder):
    """Every set as a pack in a folder."""
    for name in SETS:
        write_pack(folder / f"{name}.h5", drawn(name))
    return folder


def group(task, images, scores, *, role="ood", keep=True, constants=None, extras=None, **attributes):
    """Scores of a set under a task; attacked images are kept where there is an attack and `keep`."""
    constants = constants or TASKS.get(task, {})
    extras, count = dict(extras or {}), len(images)
    if role == "ood" and constants.get("epsilon") and keep:
        extras["images"] = np.clip(images.images.astype(int) + constants["epsilon"], 0, 255).astype(np.uint8)
    about = {
        "key": "k",
        "threat": "" if role == "id" else f"as in {task}",
        "constants": json.dumps(constants),
        "distance": SETS.get(images.name, ""),
        "fingerprint": images.fingerprint,
        "source": images.source,
        "looks": count * bool(constants.get("epsilon")),
        "date": "2026-11-24T00:00:00+00:00",
        **MACHINE,
        **attributes,
    }
    columns = {"predictions": np.zeros(count, np.int64), "labels": images.labels, "indices": images.indices}
    return Scores(task, images.name, role, np.asarray(scores, float), **columns, extras=extras, attributes=about)


@pytest.fixture
def made(tmp_path):
    """Write one cell below `tmp_path/results`, see `maker`."""
    return maker(tmp_path / "results")


def maker(results):
    """What writes cells below a results folder: `gap` parts ID from OOD, less so with every task."""
    written = []

    def write(detector="toy", *, tasks=("clean", "linf"), sets=tuple(SETS), gap=3.0, keep=True, file="", **about):
        generator = np.random.default_rng(len(written))
        name = file or f"seed{about.get('seed', 1)}-{'0' * 12}"
        cell = Cell(results / "toys" / f"detector{len(written)}" / f"{name}.h5")
        written.append(cell)
        attributes = {**ABOUT, "detector": detector, **about}
        cell.add(group("id", drawn("ids"), generator.normal(size=SIZE), role="id"), attributes)
        for number, task in enumerate(tasks):
            for image_set in sets:
                scores = generator.normal(-gap / (number + 1), size=SIZE)
                cell.add(group(task, drawn(image_set), scores, keep=keep), attributes)
        return cell

    return write


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A page with two boards, curves over radii, images that passed and a hostile name; its path."""
    folder = tmp_path_factory.mktemp("page")
    write, every = maker(folder / "results"), ("clean", "linf", "linf-eps0", "linf-eps8", "linf-eps16")
    cells = [write("able", tasks=every, gap=4.0), write("baker", tasks=every, gap=2.0), write("charlie", gap=1.0)]
    cells += [write("dog", limit=7), write("</script>'\"<b>fox</b>", tasks=("clean",))]
    path = folder / "report.html"
    path.write_bytes(render(boards(cells, write_sets(folder / "data"))))
    return path


FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)
PROGRAMS = ("chromium", "chromedriver")


@pytest.fixture(scope="session")
def chromium(tmp_path_factory):
    """One browser for all tests, with a profile of its own."""
    if missing := [name for name in PROGRAMS if not shutil.which(name)]:
        absent = f"there is no {' and no '.join(missing)}"
        assert os.environ.get("OODBENCH_BROWSER") != "required", f"OODBENCH_BROWSER=required, and {absent}"
        pytest.skip(f"{absent}: the page is not tried in a browser")
    options = webdriver.ChromeOptions()
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.binary_location = shutil.which("chromium")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    yield driver
    driver.quit()
