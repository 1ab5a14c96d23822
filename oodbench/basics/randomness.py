"""Random numbers that depend on what they are for, never on batch size, order or device."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import torch

from oodbench.basics.files import digest


def torch_generator(*purpose: int | str) -> torch.Generator:
    """A CPU generator whose stream is a function of `purpose`, say (seed, "training", epoch)."""
    return torch.Generator().manual_seed(_key(purpose)[0] >> 1)


@contextmanager
def drawing(device: torch.device, *purpose: int | str) -> Iterator[None]:
    """Inside, what torch draws by itself on the CPU and on `device` is a function of `purpose`; it goes on as before.

    For layers that draw, such as dropout: they take no generator.
    """
    key = _key(purpose)[0] >> 1
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.default_generator.manual_seed(key)
        if device.type == "cuda":
            with torch.cuda.device(device):
                torch.cuda.manual_seed(key)
        yield


def uniform_per_image(
    indices: Sequence[int] | npt.NDArray[np.int64], shape: tuple[int, ...], *purpose: int | str
) -> npt.NDArray[np.float64]:
    """Uniform draws in [0, 1), float64 (N, *shape): one counter-based stream (Philox) for each image index.

    Image i gets the same numbers whichever other images are drawn with it.
    """
    draws = np.empty((len(indices), *shape))
    for row, generator in zip(draws, generators_per_image(indices, *purpose), strict=True):
        row[...] = generator.random(shape)
    return draws


def generators_per_image(
    indices: Sequence[int] | npt.NDArray[np.int64], *purpose: int | str, stream: int = 0
) -> list[np.random.Generator]:
    """One counter-based generator (Philox) for each image index, whatever other images are asked for.

    Each number of a `stream`, from 0, gives a generator of its own, far from the others in the same sequence.
    """
    low, high = _key(purpose)
    counter = np.array([0, 0, 0, stream], np.uint64)
    # As uint64: of a list with one word below 2^63 and one above NumPy makes floats, which lose the index.
    keys = [np.array([low, high ^ int(index)], np.uint64) for index in indices]
    return [np.random.Generator(np.random.Philox(counter=counter, key=key)) for key in keys]


def _key(purpose: tuple[int | str, ...]) -> tuple[int, int]:
    name = digest(*(f"{type(part).__name__}:{part}" for part in purpose))
    return int(name[:16], 16), int(name[16:32], 16)
