"""The peak of memory while scoring many images against that while scoring few, each in a process of its own."""

import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from PIL import Image

from benchmarks.compare import Ratio, Row
from benchmarks.setting import FULL, OOD, TEST, TRAIN, Setting, images
from oodbench.basics.memory import keep_freed_memory
from oodbench.images.imageset import ImageSet
from oodbench.images.photographs import write_photographs

NETWORK = "small-cnn"
KIB = 1024


def measure(setting: Setting) -> Iterator[Row]:
    """Packs of pixels, which are read whole, and of image files, which are decoded batch by batch."""
    small, large = setting.sizes.remembered
    checkpoint = setting.write_checkpoint(NETWORK)
    for kind in ("pixels", "image files"):
        folders = {count: _packs(setting, kind, count) for count in (small, large)}
        peaks: dict[int, list[float]] = {small: [], large: []}
        for _ in range(setting.sizes.repetitions):
            for count, folder in folders.items():
                peaks[count].append(_peak(setting, checkpoint, folder))
        ratio = Ratio.of(peaks[large], peaks[small])
        growth = (min(peaks[large]) - min(peaks[small])) * KIB / (large - small)
        note = f"grows by {growth:.0f} bytes an image, whose pixels are {32 * 32 * 3}"
        what = f"peak, {large} test images as {kind}, msp, {NETWORK}"
        yield Row("memory", what, f"peak, {small} test images", "cost", ratio, note=note)


def _packs(setting: Setting, kind: str, count: int) -> Path:
    tests = [images(TEST, count // 2, seed=1), images(OOD, count // 2, seed=2)]
    folder = setting.write_packs(images(TRAIN, 128, seed=3), *(tests if kind == "pixels" else ()))
    for each in tests if kind == "image files" else ():
        write_photographs(folder / f"{each.name}.h5", _files(each), each.source)
    return folder


def _files(pixels: ImageSet) -> Iterator[tuple[str, bytes, int]]:
    for number, (image, label) in enumerate(zip(pixels.pixels(), pixels.labels, strict=True)):
        file = io.BytesIO()
        Image.fromarray(image).save(file, "PNG")
        yield f"{number}.png", file.getvalue(), int(label)


def _peak(setting: Setting, checkpoint: Path, data: Path) -> float:
    """Largest resident memory, in KiB, of a fresh process that scores the packs in `data`."""
    arguments = [str(setting.device), str(checkpoint), str(data), str(setting.new_folder())]
    command = [sys.executable, "-m", "benchmarks.memory", *arguments]
    done = subprocess.run(command, cwd=Path(__file__).parent.parent, check=True, capture_output=True, text=True)
    return float(json.loads(done.stdout))


def _score(device: str, checkpoint: str, data: str, folder: str) -> None:
    keep_freed_memory()  # as the command does
    setting = Setting(FULL, torch.device(device), Path(folder))
    setting.run(NETWORK, Path(checkpoint), Path(data), ["msp"])
    sys.stdout.write(json.dumps(peak()))


def peak() -> int:
    """Largest resident memory of this process so far, in KiB.

    Not `ru_maxrss`, which on Linux lives through exec: a small process has the peak of the large one that started it.

    Raises:
        RuntimeError: the system does not tell.
    """
    status = Path("/proc/self/status")
    lines = status.read_text(encoding="utf-8").splitlines() if status.is_file() else []
    for line in lines:
        if line.startswith("VmHWM:"):
            return int(line.split()[1])
    raise RuntimeError("peaks of memory are read from /proc/self/status, which only Linux has: use --only for others")


if __name__ == "__main__":
    _score(*sys.argv[1:])
