"""What several test files share: golden vectors, toy networks, small suites."""

import gc
import json
import random
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from plugintext import PLUGINS
from torch import Tensor

from oodbench import cli
from oodbench.attacks import convergence
from oodbench.networks.network import Network, Representation
from oodbench.results.store import Cell, Scores

GOLDEN = Path(__file__).parent / "golden"
"""Vectors produced by executing the reference code of Chen et al. 2021 (ATOM); data only."""


gc.disable()  # until all is collected: little of that is garbage, and the collector goes through it again and again

LONG = (
    "basics/test_team.py",
    "running/test_ray.py",
    "test_gpu_slices.py",
    "fuzz/test_seeds.py",
    "running/test_parallel.py",
    "running/test_startmethods.py",
    "cli/test_cli_processes.py",
    "test_packaging.py",
    "test_readme.py",
)
"""Files with tests of many seconds, which come first: one of these at the end would be waited for by all processes."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {GOLDEN.parent / name: number for number, name in enumerate(LONG)}
    items.sort(key=lambda item: places.get(item.path, len(LONG)))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    try:
        return (yield)
    finally:
        gc.enable()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed", type=int, default=0, help="other draws in all tests: their tolerances must hold, too")


def seed_generators(config: pytest.Config, name: str) -> None:
    """Set the global generators by `name`: what is drawn depends neither on the order of tests nor on those left out.

    A seed each, and none that a test would write: 0 here and in a generator of the test's own would draw a layer's
    weights and its features from one stream.
    """
    seed = zlib.crc32(f"{config.getoption('seed')} {name}".encode())
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


@pytest.hookimpl(tryfirst=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest) -> None:
    """What a module or session shares is drawn alike, whichever test asks first."""
    if fixturedef.scope != "function":
        case = getattr(request, "param_index", 0)
        seed_generators(request.config, f"{fixturedef.baseid} {fixturedef.argname} {case}")


@pytest.fixture(autouse=True)
def seeded(request: pytest.FixtureRequest) -> None:
    """Comes after the fixtures of modules and before those of the test."""
    seed_generators(request.config, request.node.nodeid)


@pytest.fixture(autouse=True, scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache folder that is not the user's, in the processes that tests start as well."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def golden() -> Callable[[str], Any]:
    """Golden vectors by file name, without the suffix."""
    return lambda name: json.loads((GOLDEN / f"{name}.json").read_text())


class ToyNetwork(Network):
    """logits = C sin(A vec(x) + b) + d, for images (N, 3, 4, 4), float64: the toy of golden/attacks.json."""

    def __init__(self, weights: dict[str, Any]) -> None:
        super().__init__()
        for name in "AbCd":
            self.register_buffer(name, torch.tensor(weights[name], dtype=torch.float64))

    def represent(self, images: Tensor) -> Representation:
        hidden = torch.sin(images.to(self.A.dtype).flatten(1) @ self.A.T + self.b)
        return Representation(hidden @ self.C.T + self.d, hidden, ())


@pytest.fixture(scope="session")
def toy(golden: Callable[[str], Any]) -> Callable[[str], ToyNetwork]:
    """The toy networks of golden/attacks.json by name: out3, out4, out5."""
    nets = golden("attacks")["nets"]
    return lambda name: ToyNetwork(nets[name])


@pytest.fixture(scope="session")
def toy_images(golden: Callable[[str], Any]) -> Tensor:
    """The input of golden/attacks.json, float64 (6, 3, 4, 4) in [0, 1]."""
    return torch.tensor(golden("attacks")["input_uint8"], dtype=torch.float64) / 255


@pytest.fixture
def oodbench(monkeypatch, capsys, tmp_path):
    """Call the command as a shell would, in an empty folder: (exit code, standard output, standard error)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OODBENCH_DATA", raising=False)

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["oodbench", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        out, err = capsys.readouterr()
        return caught.value.code, out, err

    return call


def store_cell(
    folder,
    detector="msp",
    seed=1,
    task="linf",
    ood=(("letters", (0.0, 1.0, 2.5, 9.0)),),
    key="ab",
    aside=(),
    attacked_id=None,
    fingerprints=None,
    **about,
):
    """A cell with eight ID images that score 2 to 9 and are all recognised but one; `aside` names OOD sets.

    `attacked_id` are the scores of the ID images where they are attacked, too; `fingerprints` are of sets, by name.
    """
    cell = Cell(folder / about.get("suite", "digits") / detector / f"seed{seed}-{key * 6}.h5")
    attributes = {"suite": "digits", "suite_version": 2, "suite_fingerprint": "f" * 64, "detector": detector}
    attributes |= {"seed": seed, "parameters": "{}", "network": "small-cnn", "network_digest": "d" * 64}
    attributes |= {"settings": "", "limit": 0, "images": 0, "checkpoint": "", "tuned": "{}", **about}

    def add(task, name, role, scores, **more):
        numbers = np.arange(len(scores))
        labels, predictions = np.where(numbers == 3, 1, 0), np.zeros(len(scores), np.int64)
        made = {"torch": "2.0", "hardware": "a machine", "date": "2026-01-01T00:00:00+00:00", **more}
        made |= {"fingerprint": fingerprints[name]} if fingerprints else {}
        cell.add(
            Scores(task, name, role, np.asarray(scores, float), predictions, labels, numbers, attributes=made),
            attributes,
        )

    add("id", "digits-test", "id", np.arange(2.0, 10.0), constants="", source="scanned by hand")
    if attacked_id is not None:
        add(task, "digits-test", "id", attacked_id, constants="", threat="attacked")
    for name, scores in ood:
        constants = json.dumps({"kind": task, "epsilon": 32 if task == "linf" else 0})
        distance = "aside" if name in aside else "near"
        add(task, name, "ood", scores, constants=constants, source="drawn", distance=distance, threat="attacked")
    return cell


@pytest.fixture(scope="session")
def stored():
    """Writes a small cell with hand-made scores: `store_cell`."""
    return store_cell


@pytest.fixture
def briefly_continued(monkeypatch):
    """After an attack its images are climbed on with for a few steps, not for 200, which take longer than all else.

    Scores are the same, but for those of this climb; tests/attacks/test_convergence.py is about what it finds.
    Processes that a test starts know nothing of this.
    """
    monkeypatch.setattr(convergence, "ITERATIONS", 5)


@pytest.fixture
def plugin(tmp_path):
    """A file of `PLUGINS`."""
    path = tmp_path / "plugin.py"
    path.write_text(PLUGINS)
    return path
