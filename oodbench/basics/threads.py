"""Threads: the number of them on which a network runs on a CPU.

Waiting is decided earlier, where `oodbench` is imported: threads that have finished their part of a loop sleep until
the others have, and leave the core to other work.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import joblib
import torch
from threadpoolctl import threadpool_limits

WORTH_SHARING = 30e6
"""Floating-point operations of a forward pass over one image, from which several threads are faster than one.

Measured in training on two cores: 4 million (`small-cnn`) take as long on two threads as on one, 576 million
(`densenet-bc-100-12`) do not.
"""


def cores() -> int:
    """CPU cores that this process may use, going by its affinity and by what a container allows."""
    count: int = joblib.cpu_count()
    return count


def suitable_threads(operations: int, device: torch.device) -> int:
    """The number of threads for a network of so many operations an image: `OMP_NUM_THREADS`, or else by its size.

    It does not depend on what else runs, since sums over several threads are rounded in another order. Never more than
    torch would take by itself; beside a GPU, as many.
    """
    if "OMP_NUM_THREADS" in os.environ or device.type != "cpu":
        return torch.get_num_threads()
    return min(torch.get_num_threads(), cores()) if operations >= WORTH_SHARING else 1


@contextmanager
def on_threads(number: int) -> Iterator[None]:
    """Inside, torch computes on `number` threads, and so do NumPy and SciPy where that is one; then as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        with threadpool_limits(1 if number == 1 else None, user_api="blas"):
            yield
    finally:
        torch.set_num_threads(before)
