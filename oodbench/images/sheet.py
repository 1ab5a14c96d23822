"""Contact sheets: many small images on one, with their names, for people to look at."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

MARGIN, LINE = 4, 14
"""Pixels around a picture, and for a line of text under it."""

SHOWN = 96
"""Smaller images are enlarged by a whole factor until they are about as large as this; larger ones are shrunk to it."""

PAPER, INK = (255, 255, 255), (40, 40, 40)


@dataclass(frozen=True)
class Picture:
    """One image, uint8 (H, W, 3), and the caption under it."""

    pixels: npt.NDArray[np.uint8]
    caption: str


def sheet(pictures: Sequence[Picture], columns: int, title: str = "") -> bytes:
    """A PNG file with `pictures` of one size in rows of `columns`."""
    side = _shown_side(pictures[0].pixels)
    cell = side + 2 * MARGIN
    rows = -(-len(pictures) // columns)
    top = LINE + 2 * MARGIN if title else 0
    page = Image.new("RGB", (columns * cell, top + rows * (cell + LINE)), PAPER)
    pen = ImageDraw.Draw(page)
    pen.text((MARGIN, MARGIN), title, INK)
    for number, picture in enumerate(pictures):
        left, upper = number % columns * cell + MARGIN, top + number // columns * (cell + LINE) + MARGIN
        enlarged = picture.pixels.shape[0] <= side
        drawn = Image.fromarray(picture.pixels).resize(
            (side, side), Image.Resampling.NEAREST if enlarged else Image.Resampling.BILINEAR
        )
        page.paste(drawn, (left, upper))
        pen.text((left, upper + side + 1), picture.caption, INK)
    file = io.BytesIO()
    page.save(file, "PNG")
    return file.getvalue()


def _shown_side(pixels: npt.NDArray[np.uint8]) -> int:
    side = pixels.shape[0]
    return side * max(1, round(SHOWN / side)) if side <= SHOWN else SHOWN
