"""Images where training and fitting read them: on the device as uint8, or streamed to it if they are photographs."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Generator, Tensor

from oodbench.basics.errors import OodbenchError
from oodbench.basics.memory import Portions
from oodbench.basics.progress import progress
from oodbench.basics.team import ALONE, Team
from oodbench.images.augment import Augmentation, draw
from oodbench.images.imageset import ImageSet
from oodbench.images.numbered import Numbered
from oodbench.images.photographs import Photographs
from oodbench.images.streaming import Streamed
from oodbench.images.tensors import channels_first

Pixels = Tensor | Streamed
"""Images, uint8 (N, C, H, W); rows of either are a tensor on the device."""


@dataclass(frozen=True)
class IDImages:
    """ID `images`, uint8 (N, C, H, W), and their `labels`, int64 (N,)."""

    images: Pixels
    labels: Tensor

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, rows: Tensor | slice) -> "IDImages":
        return IDImages(self.images[rows], self.labels[rows])

    def in_turn(self, groups: Sequence[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield images and labels of each of `groups`, int64 rows (B,)."""
        yield from zip(in_turn(self.images, groups), (self.labels[rows] for rows in groups), strict=True)


def in_turn(images: Pixels, groups: Iterable[Tensor]) -> Iterator[Tensor]:
    """Yield the images of each of `groups`, int64 rows (B,), uint8 (B, C, H, W) on the device."""
    if isinstance(images, Streamed):
        yield from images.in_turn(groups)
        return
    for rows in groups:
        yield images[rows.to(images.device)]


def together(images: Pixels, more: Tensor) -> Tensor:
    """Put both into one tensor.

    Raises:
        OodbenchError: `images` are photographs, which do not fit into one.
    """
    if isinstance(images, Streamed):
        raise OodbenchError(
            "this method trains on one tensor of all images, and a set of photographs makes none: "
            "name an ID set whose pack holds pixels"
        )
    return torch.cat([images, more])


@dataclass(frozen=True)
class Selection:
    """Images picked out of others, each with its augmentation drawn; made only when they are asked for.

    Attributes:
        images: to pick from.
        rows: int64 (M,) on the CPU.
        augmentations: applied in turn.
    """

    images: Pixels
    rows: Tensor
    augmentations: tuple[Augmentation, ...] = ()

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, which: Tensor | slice) -> "Selection":
        which = which.cpu() if isinstance(which, Tensor) else which
        return Selection(self.images, self.rows[which], tuple(drawn[which] for drawn in self.augmentations))

    def in_turn(self, size: int) -> Iterator[Tensor]:
        """Yield all images, uint8 (B, C, H, W) on the device, `size` at a time."""
        return self.in_groups(torch.split(torch.arange(len(self)), size) if len(self) else ())

    def in_groups(self, groups: Iterable[Tensor]) -> Iterator[Tensor]:
        """Yield the images at each of `groups`, int64 positions (B,): uint8 (B, C, H, W) on the device."""
        parts = [self[group] for group in groups]
        for pixels, part in zip(in_turn(self.images, [part.rows for part in parts]), parts, strict=True):
            for augmentation in part.augmentations:
                pixels = augmentation(pixels)
            yield pixels

    def all(self) -> Tensor:
        """Return all images at once, uint8 (M, C, H, W) on the device."""
        return next(self.in_turn(len(self))) if len(self) else self.images[:0]


@dataclass(frozen=True)
class OutlierPool:
    """The outliers that training may use, and how.

    Attributes:
        images: uint8 (N, C, H, W), in the set's own order; what the suite reserves for validation is not among them,
            unless it says that training uses that, too.
        mined_from: the first position at which a window of candidates for mining may begin; 0 unless reserved outliers
            are among the images.
        augmentations: names from `oodbench.images.augment`.
        team: the processes that look at them together.
    """

    images: Pixels
    mined_from: int
    augmentations: Sequence[str]
    team: Team = ALONE

    def consecutive(self, start: int, count: int, generator: Generator) -> Selection:
        """`count` neighbours in the set's order from `start`, past the end from the front again, each augmented."""
        return self.picked(torch.arange(start, start + count) % len(self.images), generator)

    def picked(self, rows: Tensor, generator: Generator) -> Selection:
        """The images in `rows`, int64 (M,), each augmented."""
        return Selection(self.images, rows, draw(self.augmentations, len(rows), generator))

    def measured(self, selection: Selection, measure: Callable[[Tensor], Tensor], size: int, doing: str) -> Tensor:
        """Measure each selected image, (M,); each process looks at its part of them.

        Args:
            selection: of the pool, the same in all processes.
            measure: uint8 (B, C, H, W) to one value an image (B,).
            size: images at a time.
            doing: a word for people.
        """
        mine, portions = selection[self.team.share(len(selection), size)], Portions()
        values: list[Tensor] = [torch.empty(0)]
        with progress(doing, len(mine)) as advance:
            for pixels in mine.in_turn(size):
                values += portions.each(len(pixels), partial(_measure_part, measure, pixels))
                advance(len(pixels))
        return torch.cat(self.team.all(lambda: torch.cat(values).cpu()))

    def as_they_are(self, start: int, count: int) -> Tensor:
        """The images that `consecutive` gives, without augmentation and all at once."""
        return Selection(self.images, torch.arange(start, start + count) % len(self.images)).all()


def _measure_part(measure: Callable[[Tensor], Tensor], pixels: Tensor, which: slice) -> Tensor:
    return measure(pixels[which]).cpu()


def resident(images: ImageSet, device: torch.device) -> IDImages:
    """Give the set to training and fitting: all of it on the device, channels first, unless it is photographs."""
    labels = torch.from_numpy(images.labels).to(device)
    if isinstance(images.images, Photographs):
        return IDImages(Streamed(images.images, device), labels)
    if isinstance(images.images, Numbered):
        return IDImages(images.images.strips_on(device), labels)
    return IDImages(channels_first(images.images, device), labels)
