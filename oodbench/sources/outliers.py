"""Large sets of auxiliary outliers, some images at a time."""

import io
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from oodbench.basics.errors import OodbenchError
from oodbench.sources.archives import BoundedStream, reading_archive, streams
from oodbench.sources.pickles import pixels_of, read_batch
from oodbench.sources.readers import names_listed
from oodbench.sources.source import Parts, Pixels

PartsReader = Callable[[Sequence[Path]], Parts]

BATCHES = 10
"""Pickled batches of downsampled ImageNet's training images."""

LARGEST_BATCH = 2 << 30
"""Bytes that one of them may have; at 64 pixels they have 1.6 GB."""

TINY_IMAGES = 79_302_017
TINY_BYTES = 3 * 32 * 32
AT_A_TIME = 10_240
SEED = 8
"""Of the random records that stand in for images of CIFAR's classes."""


def downsampled(side: int) -> PartsReader:
    """Downsampled ImageNet's training images in the order of their batches: Chrabaszcz et al. 2017, arXiv:1707.08819.

    Labels are numbered from 1 in the files and from 0 here.

    Args:
        side: of the images, in pixels.
    """
    return partial(_downsampled, side=side)


def _downsampled(paths: Sequence[Path], *, side: int) -> Parts:
    return Parts(_downsampled_batches(paths, side))


def _downsampled_batches(paths: Sequence[Path], side: int) -> Iterator[Pixels]:
    """Yield batches in the order of their numbers; an archive in another order is refused: order is part of a set."""
    number = 1
    for path in paths:
        for name, stream in streams(path):
            if "train_data_batch_" not in name:
                continue
            if name.rpartition("/")[2] != f"train_data_batch_{number}":
                raise OodbenchError(f"{path} has {name} where train_data_batch_{number} should be: get it again")
            with reading_archive(path):
                where = f"{path}: {name}"
                batch = read_batch(io.BufferedReader(BoundedStream(stream, LARGEST_BATCH, where)), where)
            images, labels = pixels_of(batch, "labels", side, where)
            yield images, labels - 1
            number += 1
    if number <= BATCHES:
        raise OodbenchError(
            f"{', '.join(path.name for path in paths)} hold {number - 1} of the {BATCHES} batches: get the files again"
        )


def tiny_images(count: int) -> PartsReader:
    """Read `count` of the 80 Million Tiny Images from their flat file, at even distances.

    The file is sorted by noun, so all nouns have their share. Images of CIFAR's classes, which a list names, are
    replaced by random others, as Chen et al. 2021 do; the last record is left out, which their reader never reaches.
    """
    return partial(_tiny_images, count=count)


def _tiny_images(paths: Sequence[Path], *, count: int) -> Parts:
    (path,) = paths
    total = path.stat().st_size // TINY_BYTES
    if count > total - 1:
        raise OodbenchError(f"{path} holds {total:,} images: choose a --count of at most {total - 1:,}")
    overlap = np.unique([int(number) - 1 for number in names_listed("tinyimages-cifar-overlap.txt.gz")])
    chosen = tiny_selection(total - 1, count, overlap)
    return Parts(_read_records(path, chosen))


def tiny_selection(total: int, count: int, overlap: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Choose `count` of `total` records: at even distances, those in `overlap` replaced by random others."""
    random = np.random.default_rng(SEED)
    chosen = np.arange(count) * total // count
    while len(barred := np.flatnonzero(np.isin(chosen, overlap))):
        chosen[barred] = random.integers(0, total, len(barred))
    return chosen


def _read_records(path: Path, chosen: npt.NDArray[np.int64]) -> Iterator[Pixels]:
    with path.open("rb", buffering=0) as file:
        for start in range(0, len(chosen), AT_A_TIME):
            rows = np.empty((len(chosen[start : start + AT_A_TIME]), TINY_BYTES), np.uint8)
            for row, record in zip(rows, chosen[start:], strict=False):
                # Not mapped into memory: the kernel then reads ahead around every page, 25 times as slow when measured.
                file.seek(int(record) * TINY_BYTES)
                if file.readinto(row.data) != TINY_BYTES:
                    raise OodbenchError(f"{path} ends before record {record}: it is not the file it should be")
            # Each is stored column by column: byte = row + 32 * column + 1024 * channel.
            yield rows.reshape(-1, 3, 32, 32).transpose(0, 3, 2, 1), np.full(len(rows), -1, np.int64)
