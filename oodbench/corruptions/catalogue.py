"""Every corruption with its constants, and the one function that applies them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from oodbench.basics.errors import OodbenchError, unknown
from oodbench.corruptions import blur, digital, noise, weather
from oodbench.corruptions.draws import Draws
from oodbench.corruptions.filters import is_small
from oodbench.corruptions.frost import photographs

SEVERITIES = (1, 2, 3, 4, 5)

Levels = tuple[tuple[Any, ...], ...]


@dataclass(frozen=True)
class Corruption:
    """One type.

    Attributes:
        function: pixels, uint8 (N, 3, H, W), draws and constants to levels in [0, 255], not yet truncated.
        small: constants by severity for 32 x 32 images.
        large: constants by severity for 224 x 224 images.
    """

    function: Callable[..., Tensor]
    small: Levels
    large: Levels

    @property
    def description(self) -> str:
        """One line for people."""
        return (self.function.__doc__ or "").strip().splitlines()[0]


def _single(*values: float) -> Levels:
    return tuple((value,) for value in values)


CORRUPTIONS: Mapping[str, Corruption] = {
    "gaussian-noise": Corruption(
        noise.gaussian_noise, _single(0.04, 0.06, 0.08, 0.09, 0.10), _single(0.08, 0.12, 0.18, 0.26, 0.38)
    ),
    "shot-noise": Corruption(noise.shot_noise, _single(500, 250, 100, 75, 50), _single(60, 25, 12, 5, 3)),
    "impulse-noise": Corruption(
        noise.impulse_noise, _single(0.01, 0.02, 0.03, 0.05, 0.07), _single(0.03, 0.06, 0.09, 0.17, 0.27)
    ),
    "defocus-blur": Corruption(
        blur.defocus_blur,
        ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
        ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
    ),
    "glass-blur": Corruption(
        blur.glass_blur,
        ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),
        ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
    ),
    "motion-blur": Corruption(
        blur.motion_blur,
        ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)),
        ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
    ),
    "zoom-blur": Corruption(
        blur.zoom_blur,
        ((1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01)),
        ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)),
    ),
    "snow": Corruption(
        weather.snow,
        (
            (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
            (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
            (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
            (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
            (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
        ),
        (
            (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
            (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
            (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
            (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
            (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
        ),
    ),
    "frost": Corruption(
        weather.frost,
        ((1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45)),
        ((1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75)),
    ),
    "fog": Corruption(
        weather.fog,
        ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)),
        ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4)),
    ),
    "brightness": Corruption(digital.brightness, _single(0.05, 0.1, 0.15, 0.2, 0.3), _single(0.1, 0.2, 0.3, 0.4, 0.5)),
    "contrast": Corruption(digital.contrast, _single(0.75, 0.5, 0.4, 0.3, 0.15), _single(0.4, 0.3, 0.2, 0.1, 0.05)),
    "elastic": Corruption(
        digital.elastic,
        tuple(
            (32 * scale, 32 * sigma, 32 * corners)
            for scale, sigma, corners in (
                (0, 0, 0.08),
                (0.05, 0.2, 0.07),
                (0.08, 0.06, 0.06),
                (0.1, 0.04, 0.05),
                (0.1, 0.03, 0.03),
            )
        ),
        # 244 and not 224: the source's own slip, which published ImageNet-C has.
        tuple(
            (244 * scale, 244 * sigma, 244 * corners)
            for scale, sigma, corners in (
                (2, 0.7, 0.1),
                (2, 0.08, 0.2),
                (0.05, 0.01, 0.02),
                (0.07, 0.01, 0.02),
                (0.12, 0.01, 0.02),
            )
        ),
    ),
    "pixelate": Corruption(digital.pixelate, _single(0.95, 0.9, 0.85, 0.75, 0.65), _single(0.6, 0.5, 0.4, 0.3, 0.25)),
    "jpeg": Corruption(digital.jpeg, _single(80, 65, 58, 50, 40), _single(25, 18, 15, 10, 7)),
    "speckle-noise": Corruption(
        noise.speckle_noise, _single(0.06, 0.1, 0.12, 0.16, 0.2), _single(0.15, 0.2, 0.35, 0.45, 0.6)
    ),
    "gaussian-blur": Corruption(blur.gaussian_blur, _single(0.4, 0.6, 0.7, 0.8, 1), _single(1, 2, 3, 4, 6)),
    "spatter": Corruption(
        weather.spatter,
        (
            (0.62, 0.1, 0.7, 0.7, 0.5, False),
            (0.65, 0.1, 0.8, 0.7, 0.5, False),
            (0.65, 0.3, 1, 0.69, 0.5, False),
            (0.65, 0.1, 0.7, 0.69, 0.6, True),
            (0.65, 0.1, 0.5, 0.68, 0.6, True),
        ),
        (
            (0.65, 0.3, 4, 0.69, 0.6, False),
            (0.65, 0.3, 3, 0.68, 0.6, False),
            (0.65, 0.3, 2, 0.68, 0.5, False),
            (0.65, 0.3, 1, 0.65, 1.5, True),
            (0.67, 0.4, 1, 0.65, 1.5, True),
        ),
    ),
    "saturate": Corruption(
        digital.saturate,
        ((0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2)),
        ((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2)),
    ),
}
"""In the order in which the reference code of Chen et al. 2021, arXiv:2006.15207, tries them."""


def with_photographs(folder: Path) -> Mapping[str, Corruption]:
    """`CORRUPTIONS` with frost from the public photographs in `folder`, see `corruptions.frost.photographs`."""
    panes = partial(photographs, folder)
    frosted = replace(CORRUPTIONS["frost"], function=partial(weather.frost, panes=panes))
    return {**CORRUPTIONS, "frost": frosted}


def corrupt(
    pixels: Tensor, name: str, severity: int, draws: Draws, catalogue: Mapping[str, Corruption] = CORRUPTIONS
) -> Tensor:
    """`pixels`, uint8 (N, 3, H, W), under one corruption; uint8 of the same shape, on the same device.

    Args:
        pixels: images.
        name: one of `CORRUPTIONS`.
        severity: one of `SEVERITIES`.
        draws: for these images, used up.
        catalogue: the corruptions, if others than `CORRUPTIONS`.

    Raises:
        OodbenchError: no such corruption or severity, or something else than 8-bit colour images.
    """
    if name not in catalogue:
        raise unknown("corruption", name, catalogue)
    if severity not in SEVERITIES:
        raise OodbenchError(f"severity is {severity}: choose one of {', '.join(map(str, SEVERITIES))}")
    if pixels.dtype != torch.uint8 or pixels.ndim != 4 or pixels.shape[1] != 3:
        raise OodbenchError(
            f"corruptions take 8-bit RGB images (N, 3, H, W), and these are {pixels.dtype} of shape "
            f"{tuple(pixels.shape)}: convert them first"
        )
    chosen = catalogue[name]
    constants = chosen.small if is_small(pixels) else chosen.large
    levels = chosen.function(pixels, draws, *constants[severity - 1])
    return levels if levels.dtype == torch.uint8 else levels.to(torch.uint8)
