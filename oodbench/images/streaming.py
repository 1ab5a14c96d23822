"""Photographs on their way to the device: decoded by threads, a few batches ahead, never all at once.

Threads rather than processes: Pillow and torch let go of the interpreter while they work, and a thread needs no main
guard, no shared memory and no second copy of anything, however a platform starts processes.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from oodbench.basics.threads import cores
from oodbench.images.photographs import Photographs, Rows
from oodbench.images.tensors import channels_first

MOST_DECODERS = 16

AHEAD = 2
"""Batches that are decoded in advance for each thread."""

DECODED = 64
"""Images that are decoded at a time where all of them are wanted at once."""

Decoded = npt.NDArray[np.uint8]
"""(B, H, W, C)."""


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
        """Yield one batch for each of `groups`, int64 rows (B,), in their order.

        Raises:
            OodbenchError: an image is damaged.
        """
        batches = [group.cpu().numpy() for group in groups]
        decoders = min(cores(), len(batches), MOST_DECODERS)
        for pixels in _decode_ahead(self._decode, batches, decoders) if decoders > 1 else map(self._decode, batches):
            yield channels_first(pixels, self.device)

    def _decode(self, rows: Rows) -> Decoded:
        return np.asarray(self.photographs[rows])


def _decode_ahead(decode: Callable[[Rows], Decoded], batches: Sequence[Rows], decoders: int) -> Iterator[Decoded]:
    """Decode `batches` by `decoders` threads that are a few batches ahead, and yield them in their order."""
    with ThreadPoolExecutor(decoders, "decoder") as pool:
        underway: deque[Future[Decoded]] = deque()
        try:
            for number, _ in enumerate(batches):
                ahead = batches[number + len(underway) : number + AHEAD * decoders + 1]
                underway.extend(pool.submit(decode, rows) for rows in ahead)
                yield underway.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
