"""The memory of a process, and work in parts where it does not fit into the device's."""

import ctypes
import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from oodbench.basics.errors import OodbenchError

T = TypeVar("T")

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3


def keep_freed_memory() -> bool:
    """Tell the allocator to keep freed blocks for the next layer instead of giving them back to the system.

    By default glibc returns every block of more than some MiB when it is freed, and a network on a CPU asks for the
    same blocks again layer by layer: DenseNet spent half of its time in page faults. The peak stays what it was. Call
    it once, where a process begins.

    Returns:
        Whether the allocator took it; others than glibc's do not, and nothing happens.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    settings = {M_MMAP_THRESHOLD: 2**30, M_TRIM_THRESHOLD: 2**31 - 1, M_TOP_PAD: 2**26}
    return all(mallopt(name, value) == 1 for name, value in settings.items())


@contextmanager
def loading() -> Iterator[None]:
    """Around the import of torch and what builds on it, where a process begins: in five sixths of the time.

    Importing makes a million objects, nearly all of which stay, and Python's collector would go through all of them
    again and again for those that do not. It rests inside, and leaves alone afterwards what was loaded here. Nothing
    happens where torch has been imported before.
    """
    if "torch" in sys.modules or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


class Portions:
    """Splits images into parts that fit into the device's memory: a part that does not is halved, then and later on."""

    def __init__(self) -> None:
        self._most: int | None = None

    def each(self, count: int, work: Callable[[slice], T]) -> Iterator[T]:
        """Yield what `work` gives for `count` images, part after part; it is called again for a part that did not fit.

        Raises:
            OodbenchError: not even one image fits.
        """
        import torch  # here, so that a command which runs no network does without

        start = 0
        while start < count:
            stop = min(count, start + (self._most or count))
            try:
                result = work(slice(start, stop))
            except torch.OutOfMemoryError as error:
                if stop - start == 1:
                    raise OodbenchError(
                        "not even one image at a time fits into the GPU's memory: end what else runs there, or use "
                        "--device cpu"
                    ) from error
                self._most = (stop - start + 1) // 2
                fits = False
            else:
                fits = True
            if not fits:
                # Not before the error is gone, which holds on to everything that was being computed.
                torch.cuda.empty_cache()
                continue
            yield result
            start = stop


def available() -> int | None:
    """Bytes of memory that nothing uses yet, going by the system and by what a container allows; None if unknown."""
    limits = []
    with suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        limits.append(1024 * int(next(line for line in lines if line.startswith("MemAvailable:")).split()[1]))
    with suppress(OSError, ValueError):  # ValueError: the limit is "max", which is none
        limit, used = (int(Path(f"/sys/fs/cgroup/memory.{name}").read_text()) for name in ("max", "current"))
        limits.append(max(0, limit - used))
    return min(limits, default=None)
