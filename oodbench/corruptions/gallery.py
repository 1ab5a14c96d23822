"""Draws every corrupted version of one image on one sheet."""

import numpy as np
import numpy.typing as npt
import torch

from oodbench.corruptions.catalogue import CORRUPTIONS, corrupt
from oodbench.corruptions.draws import CounterDraws
from oodbench.corruptions.levels import SEVERITIES
from oodbench.images.sheet import Picture, sheet


def gallery(image: npt.NDArray[np.uint8], name: str) -> bytes:
    """Draw a PNG file with a row for each type: `image`, uint8 (H, W, 3), itself, then its five severities."""
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None]
    pictures = []
    for kind in CORRUPTIONS:
        pictures.append(Picture(image, kind))
        for severity in SEVERITIES:
            version = corrupt(pixels, kind, severity, CounterDraws([0], "gallery", kind, severity))
            pictures.append(Picture(version[0].permute(1, 2, 0).numpy(), str(severity)))
    return sheet(pictures, 1 + len(SEVERITIES), name)
