"""The corruptions by name, and the function that applies one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from oodbench.basics.errors import OodbenchError, unknown
from oodbench.corruptions import blur, digital, noise, weather
from oodbench.corruptions.draws import Draws
from oodbench.corruptions.filters import is_small
from oodbench.corruptions.frost import photographs
from oodbench.corruptions.levels import LEVELS, SEVERITIES, Constants


@dataclass(frozen=True)
class Corruption:
    """One type of corruption.

    Attributes:
        function: pixels, uint8 (N, 3, H, W), draws and constants to levels in [0, 255], not yet truncated.
        small: constants by severity for 32 x 32 images.
        large: constants by severity for 224 x 224 images.
    """

    function: Callable[..., Tensor]
    small: Constants
    large: Constants

    @property
    def description(self) -> str:
        """A description in one line."""
        return (self.function.__doc__ or "").strip().splitlines()[0]


def _function(name: str) -> Callable[..., Tensor]:
    """The function with the name of the corruption."""
    function_name = name.replace("-", "_")
    function: Callable[..., Tensor] = next(
        vars(module)[function_name] for module in (noise, blur, digital, weather) if function_name in vars(module)
    )
    return function


CORRUPTIONS: Mapping[str, Corruption] = {
    name: Corruption(_function(name), levels.small, levels.large) for name, levels in LEVELS.items()
}
"""In the order of `LEVELS`."""


def with_photographs(folder: Path) -> Mapping[str, Corruption]:
    """The `CORRUPTIONS` with frost from the public photographs in `folder`, see `corruptions.frost.photographs`."""
    panes = partial(photographs, folder)
    frosted = replace(CORRUPTIONS["frost"], function=partial(weather.frost, panes=panes))
    return {**CORRUPTIONS, "frost": frosted}


def corrupt(
    pixels: Tensor, name: str, severity: int, draws: Draws, catalogue: Mapping[str, Corruption] = CORRUPTIONS
) -> Tensor:
    """Apply one corruption to `pixels`, uint8 (N, 3, H, W); uint8 of the same shape, on the same device.

    Args:
        pixels: images.
        name: one of `CORRUPTIONS`.
        severity: one of `SEVERITIES`.
        draws: for these images, used up.
        catalogue: the corruptions, if others than `CORRUPTIONS`.

    Raises:
        OodbenchError: there is no such corruption or severity, the images are not 8-bit colour images, or the
            corruption made images of another shape of them.
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
    corruption = catalogue[name]
    constants = corruption.small if is_small(pixels) else corruption.large
    levels = corruption.function(pixels, draws, *constants[severity - 1])
    if levels.shape != pixels.shape:  # which many a network would take without a word
        raise OodbenchError(
            f"corruption {name!r} makes images of shape {tuple(levels.shape)} of images of shape "
            f"{tuple(pixels.shape)}: correct it, since both must be equal"
        )
    return levels if levels.dtype == torch.uint8 else levels.to(torch.uint8)
