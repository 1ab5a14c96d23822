"""Preprocessing: how an image file of any size becomes the square that a network takes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from PIL import Image


@dataclass(frozen=True)
class Preprocessing:
    """Resize, then cut out the middle: what timm does before evaluation, up to 8-bit pixels.

    Channel normalisation is not part of it: networks do that inside, so that an attack's epsilon means pixels.

    Attributes:
        side: of the square, in pixels.
        crop: `side` over what the shorter side is resized to, in (0, 1].
        interpolation: "bilinear", "bicubic" and so on, Pillow's with antialiasing.
        mode: "center" cuts the middle out, "squash" ignores the aspect ratio, "border" pads.
    """

    side: int = 224
    crop: float = 0.875
    interpolation: str = "bilinear"
    mode: str = "center"

    def __str__(self) -> str:
        return f"{self.side} pixels, {self.interpolation}, crop {self.crop:g} {self.mode}"

    def __call__(self, image: Image.Image) -> npt.NDArray[np.uint8]:
        """An RGB image of any size as uint8 (side, side, 3)."""
        pixels: npt.NDArray[np.uint8] = self._transform(image).permute(1, 2, 0).contiguous().numpy()
        return pixels

    @cached_property
    def _transform(self) -> Any:
        # Imported where it is used: it takes seconds, and suites of small images do without.
        from timm.data.transforms_factory import create_transform

        return create_transform(
            (3, self.side, self.side),
            interpolation=self.interpolation,
            crop_pct=self.crop,
            crop_mode=self.mode,
            use_prefetcher=True,  # timm's word for 8-bit pixels without normalisation
        )
