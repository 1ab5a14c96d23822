"""Against corruptions made by the reference code of Chen et al. 2021 (tests/golden/corruptions.json)."""

import base64
import json
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from oodbench.corruptions.catalogue import corrupt
from oodbench.corruptions.levels import SEVERITIES
from tests.conftest import GOLDEN

SEED = 123
"""What the global generator of numpy was set to right before each seeded corruption."""

WITHIN_ONE_LEVEL = {"elastic": 0.002}
"""The largest share of elements that may be off by one; all other types are exact. Shot noise is tested apart."""


class Replay:
    """The reference's own random numbers."""

    def __init__(self) -> None:
        self.random = np.random.RandomState(SEED)

    def uniform(self, *shape: int) -> Tensor:
        return torch.from_numpy(self.random.random_sample((1, *shape)))

    def normal(self, *shape: int) -> Tensor:
        return torch.from_numpy(self.random.normal(size=(1, *shape)))

    def integers(self, low: int, high: int, *shape: int) -> Tensor:
        return torch.from_numpy(self.random.randint(low, high, size=(1, *shape)))


def decode(text: str) -> Tensor:
    pixels = np.frombuffer(base64.b64decode(text), np.uint8).reshape(32, 32, 3)
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None]


def vectors() -> dict[str, Any]:
    found = json.loads((GOLDEN / "corruptions.json").read_text())
    kinds = found["deterministic"] | found["seeded"]
    return {"image": found["image"]} | {kind.lower().replace(" ", "-"): versions for kind, versions in kinds.items()}


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("name", sorted(set(vectors()) - {"image", "shot-noise", "jpeg"}))
def test_as_the_reference(name: str, severity: int) -> None:
    image, expected = decode(vectors()["image"]), decode(vectors()[name][str(severity)])
    off = (corrupt(image, name, severity, Replay()).int() - expected.int()).abs()
    assert off.max() <= (1 if name in WITHIN_ONE_LEVEL else 0)
    assert (off > 0).double().mean() <= WITHIN_ONE_LEVEL.get(name, 0)


@pytest.mark.parametrize("severity", SEVERITIES)
def test_jpeg_as_the_reference_up_to_the_library_build(severity: int) -> None:
    image, expected = decode(vectors()["image"]), decode(vectors()["jpeg"][str(severity)])
    off = (corrupt(image, "jpeg", severity, Replay()).int() - expected.int()).abs()
    assert off.double().mean() < 2
