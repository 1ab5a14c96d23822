"""A share of the ID training images, drawn by seed while they pass by, for methods that keep images to compare with."""

from math import ceil, sqrt

import numpy as np
import torch
from torch import Tensor

from oodbench.basics.errors import OodbenchError
from oodbench.basics.randomness import generators_per_image


class Drawn:
    """What is kept of a share of the images, a row each: every image has the same chance, wherever it stands.

    Each image draws a number in [0, 1), the i-th that is seen always the same one, and those with the lowest numbers
    are kept. How many images there will be need not be known, and no more is held at a time than five quarters of the
    share, some rows for chance, one batch, and as much again while rows are joined. Of 1.28 million images with 2048
    features in float32, one in a hundred takes 105 MB, 280 MB while they are drawn; all of them take 10.5 GB and 21 GB.

    Args:
        share: of the images, above 0, at most 1; the whole number next to it is kept.
        seed: of the draw.
        least: rows that are kept in any case, where there are as many images.
    """

    def __init__(self, share: float, seed: int, least: int = 0) -> None:
        self._share, self._least = share, least
        (self._generator,) = generators_per_image([0], "share of the training images", seed)
        self._bar = 1.0
        self.images = 0
        self._rows: list[Tensor] = []
        self._places, self._numbers = [np.empty(0, np.int64)], [np.empty(0)]
        self._held = 0

    def add(self, rows: Tensor) -> None:
        """Take in the next images, rows (B, D)."""
        numbers = self._generator.random(len(rows))
        below = np.flatnonzero(numbers < self._bar)
        if len(below):
            self._rows.append(rows[torch.from_numpy(below).to(rows.device)])
            self._places.append(self.images + below)
            self._numbers.append(numbers[below])
            self._held += len(below)
        self.images += len(rows)
        wanted = self._share * self.images
        # Six deviations more than the share: who is dropped now would not be among the lowest in the end either.
        room = self._least + ceil(wanted + 6 * sqrt(wanted)) + 36
        if self._held > 1.25 * room:
            self._keep(room)

    def rows(self) -> Tensor:
        """Those that are kept, in the order of their images; none may be added any more."""
        self._keep(max(round(self._share * self.images), min(self._least, self.images)))
        return self._rows[0]

    def _keep(self, count: int) -> None:
        """Only the `count` lowest."""
        places, numbers = np.concatenate(self._places), np.concatenate(self._numbers)
        lowest = np.sort(np.argsort(numbers, kind="stable")[:count])
        rows = torch.cat(self._rows) if self._rows else torch.empty(0, 0)
        if len(lowest) < len(places):
            self._bar = float(numbers[lowest].max(initial=0.0))
            rows = rows[torch.from_numpy(lowest).to(rows.device)]
        self._rows, self._places, self._numbers = [rows], [places[lowest]], [numbers[lowest]]
        self._held = len(lowest)


def require_share(bank: float) -> None:
    """ValueError for what is no share of the ID training images."""
    if not 0 < bank <= 1:
        raise ValueError(f"bank is {bank}: choose above 0 and at most 1, the share of the ID training images")


def require_neighbours(name: str, k: int, kept: int, images: int) -> None:
    """OodbenchError where a method looks for more neighbours than were kept of the ID training images."""
    if kept < k:
        of_them = "" if kept == images else f", of which {kept} are kept"
        larger = "" if kept == images else f", raise --set {name}.bank=..."
        raise OodbenchError(
            f"{name}: k is {k} and there are {images} ID training images{of_them}: "
            f"lower it with --set {name}.k=...{larger}, or give more images"
        )
