"""What several test files share: golden vectors, toy networks, small suites."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from oodbench import cli
from oodbench.networks.network import Network, Representation

GOLDEN = Path(__file__).parent / "golden"
"""Vectors produced by executing the reference code of Chen et al. 2021 (ATOM); data only."""


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
