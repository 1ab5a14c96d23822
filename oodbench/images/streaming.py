"""Photographs on their way to the device: decoded by worker processes, a few batches ahead, never all at once."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from oodbench.errors import OodbenchError
from oodbench.images.photographs import Photographs

MOST_WORKERS = 16

AHEAD = 2
"""Batches that each worker decodes in advance."""

DECODED = 64
"""Images that are decoded at a time where all of them are wanted at once."""


@dataclass(frozen=True, eq=False)
class Streamed:
    """Photographs as training and fitting read images: uint8 (N, C, H, W) on a device, decoded when asked for."""

    photographs: Photographs
    device: torch.device

    @property
    def shape(self) -> torch.Size:
        """(N, C, H, W)."""
        count, height, width, channels = self.photographs.shape
        return torch.Size((count, channels, height, width))

    def __len__(self) -> int:
        return len(self.photographs)

    def __getitem__(self, rows: Tensor | slice) -> Tensor:
        chosen = torch.arange(len(self))[rows.cpu() if isinstance(rows, Tensor) else rows]
        parts = list(self.in_turn(torch.split(chosen, DECODED))) if len(chosen) else []
        return torch.cat(parts) if parts else torch.empty((0, *self.shape[1:]), dtype=torch.uint8, device=self.device)

    def in_turn(self, groups: Iterable[Tensor]) -> Iterator[Tensor]:
        """One batch for each of `groups`, int64 rows (B,), in their order.

        Raises:
            OodbenchError: an image is damaged.
        """
        batches = [group.tolist() for group in groups]
        workers = _workers(len(batches))
        loader = DataLoader(
            _Decoder(self.photographs),
            batch_sampler=batches,
            num_workers=workers,
            prefetch_factor=AHEAD if workers else None,
            collate_fn=_as_they_are,
        )
        for decoded in loader:
            if isinstance(decoded, str):
                raise OodbenchError(decoded)
            yield torch.from_numpy(decoded).to(self.device).permute(0, 3, 1, 2).contiguous()


class _Decoder(Dataset[npt.NDArray[np.uint8]]):
    """Batches as arrays, or what is wrong with one of their images as text.

    Arrays travel through a pipe; tensors would go through shared memory, of which containers have little. An exception
    would arrive with the worker's traceback around it.
    """

    def __init__(self, photographs: Photographs) -> None:
        self._photographs = photographs

    def __len__(self) -> int:
        return len(self._photographs)

    def __getitems__(self, rows: Sequence[int]) -> npt.NDArray[np.uint8] | str:
        try:
            return np.asarray(self._photographs[np.asarray(rows, np.int64)])
        except OodbenchError as error:
            return str(error)


def _as_they_are(decoded: Any) -> Any:
    return decoded


def _workers(batches: int) -> int:
    """One a core and none for a single batch, which this process decodes as fast as a new one."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return 0 if batches < 2 or cores < 2 else min(cores, batches, MOST_WORKERS)
