"""Preprocessing: how an image file of any size becomes the square that a network takes."""

import io
import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from oodbench.errors import OodbenchError

# Pillow refuses twice as many, and its warning before that could be made an error only for all threads at once.
Image.MAX_IMAGE_PIXELS = 50_000_000
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)

FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "GIF")
"""What is opened, whatever a file is called: Pillow knows more, and hands some of it to other programs."""

NARROWEST = 100
"""How many times as long as wide an image may be: resized by its shorter side, a line of pixels would fill memory."""


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

    def __call__(self, content: bytes, where: str) -> npt.NDArray[np.uint8]:
        """The content of an image file as uint8 (side, side, 3).

        Raises:
            OodbenchError: it is no image, or a damaged one; `where` says which.
        """
        pixels: npt.NDArray[np.uint8] = self._transform(opened(content, where)).permute(1, 2, 0).contiguous().numpy()
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


def opened(content: bytes, where: str) -> Image.Image:
    """The content of an image file as an RGB image.

    Raises:
        OodbenchError: it is no image, a damaged one, or one that unpacks to too many pixels; `where` says which.
    """
    try:
        with _opened(content) as image:
            return image.convert("RGB")
    except Exception as error:  # Pillow raises nearly anything on a hostile file
        raise OodbenchError(f"{where} is not a whole image ({error}): remove it, or fetch its archive again") from error


def checked(content: bytes, where: str) -> bytes:
    """The content of a file if it is an image, as far as can be told without decoding it.

    Raises:
        OodbenchError: it is not; `where` says which.
    """
    try:
        with _opened(content) as image:
            image.verify()
    except Exception as error:  # as above
        raise OodbenchError(f"{where} is not an image ({error}): remove it, or fetch its archive again") from error
    return content


def _opened(content: bytes) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(content), formats=FORMATS)
    except UnidentifiedImageError:
        raise ValueError(f"nothing that {', '.join(FORMATS)} readers know") from None
    if max(image.size) > NARROWEST * min(image.size):
        raise ValueError(f"{image.width} x {image.height} pixels, more than {NARROWEST} times as long as wide")
    return image
