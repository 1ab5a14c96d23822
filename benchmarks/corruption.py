"""Corrupted versions in batches against one image at a time with the usual CPU libraries, on one core each."""

from collections.abc import Iterator

import cv2
import numpy as np
import torch

from benchmarks.compare import Ratio, Row, interleaved
from benchmarks.per_image import TYPES, Pixels, corrupted
from benchmarks.setting import OOD, Setting, images
from oodbench.corruptions.catalogue import CORRUPTIONS
from oodbench.corruptions.levels import SEVERITIES
from oodbench.images.imageset import ImageSet
from oodbench.scoring.batches import batches
from oodbench.tasks.versions import Versions

PLODDING = "glass-blur"
"""Whose per-image form is a Python loop over pixels, as in the published code: it would carry the sum alone."""


def measure(setting: Setting) -> Iterator[Row]:
    """All types compared, all but the one that flatters, and each."""
    pixels = images(OOD, setting.sizes.corrupted, seed=8)
    threads, threads_of_cv2 = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    try:
        times = {name: _compared(name, pixels, setting) for name in TYPES}
    finally:
        torch.set_num_threads(threads)
        cv2.setNumThreads(threads_of_cv2)
    note = f"{len(pixels)} images, {len(SEVERITIES)} severities, one core a side"
    if setting.device.type != "cpu":
        note += f" against {setting.device}"
    rest = [name for name in TYPES if name != PLODDING]
    for what, names, target in (
        (f"all {len(TYPES)} types", list(TYPES), 10.0),
        (f"{len(rest)} types, without {PLODDING}", rest, None),
        *((name, [name], None) for name in TYPES),
    ):
        theirs = np.sum([times[name][0] for name in names], axis=0)
        ours = np.sum([times[name][1] for name in names], axis=0)
        yield Row("corruption", what, "one image at a time", "speed-up", Ratio.of(theirs, ours), target, note)


def _compared(name: str, pixels: ImageSet, setting: Setting) -> list[list[float]]:
    def theirs() -> None:
        one_at_a_time(name, pixels.pixels())

    def ours() -> None:
        in_batches(name, pixels, setting.device)

    return interleaved([theirs, ours], setting.sizes.repetitions, setting.device)


def one_at_a_time(name: str, pixels: Pixels) -> Pixels:
    """Every severity of a type for each image, uint8 (severities, N, H, W, 3)."""
    generator = np.random.default_rng(9)
    constants = CORRUPTIONS[name].small
    return np.stack([[corrupted(image, name, generator, *each) for image in pixels] for each in constants])


def in_batches(name: str, pixels: ImageSet, device: torch.device) -> torch.Tensor:
    """The same as the harness makes them: every version of a batch in turn; uint8 (severities, N, 3, H, W)."""
    versions = Versions((name,))
    made = [torch.stack(list(versions.of(batch, rows, "benchmark"))[1:]) for batch, rows in batches(pixels, device)]
    return torch.cat(made, 1)
