"""Frost on a window pane: drawn, since no licence is known of the photographs that others use.

Where a user has fetched those photographs, they can be used instead.
"""

import hashlib
import io
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter, zoom
from scipy.spatial import KDTree
from torch import Tensor

from oodbench.basics.errors import OodbenchError
from oodbench.corruptions.frost_files import PHOTOGRAPHS


@dataclass(frozen=True)
class Pane:
    """Measures of one photograph: height and width, and mean and deviation of its red, green and blue levels."""

    size: tuple[int, int]
    mean: tuple[int, int, int]
    deviation: tuple[int, int, int]


PANES = (
    Pane((600, 900), (78, 149, 166), (27, 16, 15)),
    Pane((315, 560), (201, 205, 214), (21, 22, 23)),
    Pane((315, 560), (201, 205, 214), (21, 22, 23)),
    Pane((350, 527), (138, 153, 165), (28, 28, 30)),
    Pane((495, 660), (112, 123, 135), (44, 43, 42)),
)
"""The five photographs that the public ImageNet-C code draws from (of six that it ships), measured."""

SMALL = 0.2
"""The factor by which that code shrinks them for 32 x 32 images."""


@lru_cache
def textures(small: bool) -> tuple[Tensor, ...]:
    """Five frost textures, uint8 (3, H, W), of the photographs' sizes and colours; a fifth of that for `small` images.

    Crystals are cells around random points, bright along their borders, on noise of several octaves. Each is drawn from
    a fixed seed, so everybody has the same.
    """
    shrink = SMALL if small else 1.0
    return tuple(
        torch.from_numpy(_texture(number, pane, int(pane.size[0] * shrink), int(pane.size[1] * shrink)))
        for number, pane in enumerate(PANES)
    )


def photographs(folder: Path, small: bool) -> tuple[Tensor, ...]:
    """Read the five public photographs, uint8 (3, H, W), from where `oodbench data fetch frost-photographs` put them.

    For `small` images every fifth pixel is taken, which is what the public code's resizing to a fifth comes to.

    Raises:
        OodbenchError: one is missing or is another file.
    """
    return tuple(_photograph(folder / name, digest, small) for name, digest in PHOTOGRAPHS.items())


@lru_cache
def _photograph(path: Path, digest: str, small: bool) -> Tensor:
    if not path.is_file():
        raise OodbenchError(
            f"there is no frost photograph {path}: `oodbench data fetch frost-photographs`, or leave `frost` out"
        )
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != digest:
        raise OodbenchError(
            f"{path} is not the public photograph of that name: name another folder, into which `oodbench data fetch "
            "frost-photographs --data DIR` puts that (DIR/frost)"
        )
    with Image.open(io.BytesIO(content)) as image:
        pixels = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)
    stride = round(1 / SMALL)
    return pixels[:, stride // 2 :: stride, stride // 2 :: stride].contiguous() if small else pixels


def _texture(seed: int, pane: Pane, height: int, width: int) -> npt.NDArray[np.uint8]:
    random = np.random.Generator(np.random.Philox(key=seed))
    # Shares of the longer side, so that a shrunk texture shows the same crystals.
    unit = width / 100
    ground = sum(
        _noise(random, height, width, cells) * weight for cells, weight in ((3, 0.5), (7, 0.3), (15, 0.2), (40, 0.15))
    )
    crystals = np.zeros((height, width))
    for points, brightness, thickness in ((40, 1.0, 0.5), (160, 0.6, 0.35), (500, 0.35, 0.25)):
        wobble = [_noise(random, height, width, 25) * 4 * unit for _ in range(2)]
        crystals = np.maximum(crystals, brightness * _cracks(random, height, width, points, wobble, thickness * unit))
    patches = np.clip(2.5 * _noise(random, height, width, 4) + 0.2, 0, 1)
    level = gaussian_filter(0.4 * ground + crystals * patches, 0.25 * max(unit, 1))
    level = (level - level.mean()) / level.std()
    channels = [mean + deviation * level for mean, deviation in zip(pane.mean, pane.deviation, strict=True)]
    texture: npt.NDArray[np.uint8] = np.clip(np.stack(channels), 0, 255).astype(np.uint8)
    return texture


def _noise(random: np.random.Generator, height: int, width: int, cells: int) -> npt.NDArray[np.float64]:
    """Draw smooth noise in [-1, 1] with `cells` bumps across the width."""
    down = max(2, round(cells * height / width)) + 1
    grid = random.uniform(-1, 1, (down, cells + 1))
    smooth: npt.NDArray[np.float64] = zoom(grid, (height / down, width / (cells + 1)), order=3, mode="nearest")
    return np.asarray(np.clip(smooth[:height, :width], -1, 1))


def _cracks(
    random: np.random.Generator,
    height: int,
    width: int,
    points: int,
    wobble: list[npt.NDArray[np.float64]],
    thickness: float,
) -> npt.NDArray[np.float64]:
    """1 along the borders of the cells around random `points`, falling to 0 over `thickness` pixels."""
    centers = random.uniform(0, 1, (points, 2)) * (height, width)
    rows, columns = np.mgrid[:height, :width]
    places = np.stack([rows + wobble[0], columns + wobble[1]], -1)
    nearest, _ = KDTree(centers).query(places, k=2)
    return np.asarray(np.exp(-((nearest[..., 1] - nearest[..., 0]) / thickness / 2)))
