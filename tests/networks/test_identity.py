"""What a module in memory is known by."""

import linecache
import sys
import types

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
