"""What a module in memory is known by."""

import copy
import importlib
import linecache
import sys
import threading
import types
from dataclasses import dataclass
from enum import Enum
from functools import partial
from types import MethodType, SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from oodbench.basics.errors import OodbenchError
from oodbench.networks.identity import identity

CELL = """
from torch import nn


class Cell(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 2)

    def forward(self, images):
        return self.fc(images.mean((2, 3)))  # the mean
"""


def made(module, weights=0.5):
    with torch.no_grad():
        for one in module.parameters():
            one.fill_(weights)
    return module.eval()


@pytest.fixture
def notebook(monkeypatch):
    """Runs a cell as a notebook does: in a module without a file, whose text is remembered by the cell's name."""

    def run(text, name="<cell 1>"):
        module = types.ModuleType("a_notebook")
        monkeypatch.setitem(sys.modules, "a_notebook", module)
        monkeypatch.setitem(linecache.cache, name, (len(text), None, text.splitlines(keepends=True), name))
        exec(compile(text, name, "exec"), vars(module))
        return made(module.Cell())

    return run


def test_a_class_of_a_notebook_is_known_by_its_cell_and_remarks_do_not_count(notebook):
    first = identity(notebook(CELL))
    assert identity(notebook(CELL.replace("  # the mean", ""), "<cell 2>")) == first
    assert identity(notebook(CELL.replace("mean(", "amax("), "<cell 3>")) != first


def test_a_class_that_nobody_has_the_source_of_is_refused(notebook):
    module = notebook(CELL)
    linecache.cache.pop("<cell 1>")
    with pytest.raises(OodbenchError, match="cannot be read.*put it into a file"):
        identity(module)


def test_weights_settings_buffers_and_layers_count():
    def network():
        return made(nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU(), nn.Flatten()))

    first = identity(network())
    assert identity(network()) == first
    assert identity(network().train()) == first
    others = [network() for _ in range(4)]
    made(others[0], 0.25)
    others[1].scale = 2.0
    others[2].register_buffer("mean", torch.ones(3), persistent=False)
    others[3][1] = nn.LeakyReLU()
    found = [identity(other) for other in others]
    others[2].mean += 1
    assert len({first, *found, identity(others[2])}) == 6


def test_code_of_a_package_counts_by_its_version(monkeypatch):
    from torchvision.ops import Conv2dNormActivation

    from oodbench.networks import identity as module

    network = made(nn.Sequential(Conv2dNormActivation(3, 2)))
    first = identity(network)
    monkeypatch.setattr(module, "version", lambda name: "another")
    assert identity(network) != first


class Held(nn.Module):
    """Whatever somebody keeps in an attribute, beside one layer."""

    def __init__(self, value=None):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(3, 2)
        self.value = value

    def forward(self, images):
        return self.layer(images)


class Kind(Enum):
    ONE, OTHER = 1, 2


@dataclass
class Options:
    scale: float


def clamped(limit):
    return lambda module, given: given[0].clamp(max=limit)


VALUES = {
    "tensor": (torch.ones(2), torch.zeros(2)),
    "array": (np.ones(2), np.zeros(2)),
    "mapping": ({"scale": [1.0, {"deep": 2}]}, {"scale": [1.0, {"deep": 3}]}),
    "dataclass": (Options(1.0), Options(2.0)),
    "namespace": (SimpleNamespace(scale=1), SimpleNamespace(scale=2)),
    "enumeration": (Kind.ONE, Kind.OTHER),
    "type of numbers": (torch.float16, torch.float32),
    "function of torch": (torch.relu, torch.sin),
    "function with a default": (lambda images, scale=1: images, lambda images, scale=2: images),
    "arguments": (partial(torch.clamp, max=1), partial(torch.clamp, max=2)),
    "closure": (clamped(1), clamped(2)),
    "class": (nn.ReLU, nn.GELU),
    "module in a list": ([Held(1)], [Held(2)]),
}


@pytest.mark.parametrize("kind", VALUES)
def test_whatever_an_attribute_holds_is_part_of_it(kind):
    one, other = VALUES[kind]
    assert identity(Held(one)) == identity(Held(copy.deepcopy(one)))
    assert identity(Held(one)) != identity(Held(other))


def test_hooks_and_another_forward_are_part_of_it():
    hooked, otherwise, moved = Held(), Held(), Held()
    hooked.layer.register_forward_pre_hook(clamped(1))
    otherwise.layer.register_forward_pre_hook(clamped(2))
    moved.forward = MethodType(lambda self, images: self.layer(images) + 1, moved)
    assert len({identity(one) for one in (Held(), hooked, otherwise, moved)}) == 4


def test_what_leads_in_circles_or_cannot_be_told_is_told_by_its_type():
    circle = []
    circle.append(circle)
    assert identity(Held(circle)) == identity(Held(circle))
    assert identity(Held(threading.Lock())) == identity(Held(threading.Lock()))


def test_in_a_notebook_what_other_cells_define_is_part_of_it():
    def made(scale, helper, called="x"):
        cells = {"__name__": "a_notebook", "nn": nn}
        texts = [
            f"SCALE = {scale}\ndef helped(x):\n    return {helper}\n",
            f"class Before:\n    def __call__(self, x):\n        return {called}\n",
            "class Net(nn.Module):\n"
            "    def __init__(self):\n        super().__init__()\n        self.before = Before()\n"
            "    def forward(self, x):\n        return helped(self.before(x)) * SCALE\n",
        ]
        for number, text in enumerate(texts):
            name = f"<cell {number}: {hash(text)}>"
            linecache.cache[name] = (len(text), None, text.splitlines(True), name)
            exec(compile(text, name, "exec"), cells)
        return identity(cells["Net"]())

    assert made(1, "x") == made(1, "x")
    assert len({made(1, "x"), made(2, "x"), made(1, "x + 1"), made(1, "x", "x + 1")}) == 4


OF_A_FILE = """
from torch import nn
import constants_of_a_net

GAIN, SHIFT, OTHER = 1.0, {"by": [0.0]}, 3


def gained(x):
    return [GAIN * one for one in (x,)][0]


class Net(nn.Module):
    scale = 1.0

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 2)

    def forward(self, x):
        return self.fc(gained(x.mean((2, 3))) * self.scale + SHIFT["by"][0]) ** constants_of_a_net.POWER
"""


def test_what_was_set_by_hand_since_a_file_was_read_is_part_of_it(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "constants_of_a_net.py").write_text("POWER = 1\nUNUSED = 1\n")
    (tmp_path / "a_net_of_a_file.py").write_text(OF_A_FILE)
    file, constants = (importlib.import_module(name) for name in ("a_net_of_a_file", "constants_of_a_net"))
    module = made(file.Net())
    first = identity(module)
    assert identity(made(file.Net())) == first
    file.OTHER, constants.UNUSED = 4, 2  # which nothing refers to
    assert identity(module) == first
    changes = [
        (vars(file), "GAIN"),
        (file.SHIFT["by"], 0),
        (vars(constants), "POWER"),
    ]
    found = {first}
    for held, key in changes:
        before, held[key] = held[key], 7.0
        found.add(identity(module))
        held[key] = before
    file.Net.scale = 7.0
    found.add(identity(module))
    assert len(found) == 5
    file.Net.scale = 1.0
    assert identity(module) == first
    for name in ("a_net_of_a_file", "constants_of_a_net"):
        del sys.modules[name]
