"""OOD images that passed for ID after an attack: before, after, and what was changed, magnified."""

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain, islice, zip_longest
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from oodbench import networks
from oodbench.basics.errors import OodbenchError
from oodbench.images import catalogue
from oodbench.images.imageset import ImageSet
from oodbench.metrics import threshold_at_95
from oodbench.networks.named import AT
from oodbench.results.store import Scores

Pixels = npt.NDArray[np.uint8]

PICTURES = 8
"""At most as many on a sheet."""

BUDGET = 2 * 2**20
"""Bytes that all sheets of a page share, as data URIs; each has one picture at least."""

SIDE = 96
"""Larger images are shrunk to it."""

GAP = 2
"""Transparent pixels between the three parts of a picture."""

MIDDLE = 128
"""Grey of a difference of nothing."""


@dataclass(frozen=True)
class Picture:
    """An image before the attack, after it, and the difference, side by side.

    Attributes:
        source: the three as one data URI.
        ood: the image set.
        index: of the image in its set.
        before: share of the ID images that score lower than the image did before; None where that was not measured.
        after: the same after the attack.
        prediction: the class that the classifier gives the attacked image.
    """

    source: str
    ood: str
    index: int
    before: float | None
    after: float
    prediction: int


@dataclass(frozen=True)
class Sheet:
    """The images that passed under one task.

    Attributes:
        passed: by image set, how many passed and how many there are.
        pictures: some of them.
        magnified: by how much differences are.
        note: why pictures are missing; else empty.
    """

    passed: Mapping[str, tuple[int, int]]
    pictures: Sequence[Picture] = field(default_factory=list)
    magnified: int = 1
    note: str = ""


class Originals:
    """Images before an attack, by the names of their sets; each set is read once."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self._sets: dict[tuple[str, str], ImageSet] = {}

    def of(self, network: str, group: Scores) -> ImageSet:
        """The images that `group` has scores of, as `network` saw them.

        Raises:
            OodbenchError: their set is missing, or holds other images than those that were attacked.
        """
        name, indices = group.image_set, group.indices
        if (network, name) not in self._sets:
            prepared = None if AT in network else networks.preprocessing(network)  # a page runs nobody's code
            self._sets[network, name] = catalogue.load(name, self._data, prepared)
        image_set = self._sets[network, name]
        if not indices.size or indices.min() < 0 or indices.max() >= len(image_set):
            raise OodbenchError(f"image set {name!r} has {len(image_set)} images, other ones than were attacked")
        images = ImageSet(name, image_set.images[indices], image_set.labels[indices], image_set.source, indices)
        if images.fingerprint != group.attributes.get("fingerprint"):
            raise OodbenchError(f"image set {name!r} holds other images now than were attacked")
        return images


@dataclass(frozen=True, eq=False)
class Attacked:
    """One image set after an attack.

    Attributes:
        group: its scores, with the images where they were kept.
        id_scores: that it is held against.
        clean: the scores of the same images before, where they were measured.
    """

    group: Scores
    id_scores: npt.NDArray[np.float64]
    clean: Scores | None

    @cached_property
    def passing(self) -> npt.NDArray[np.int64]:
        """Positions of the images that are accepted where 95 % of ID is kept: those first that were rejected before,
        then by their scores.
        """
        passed = np.flatnonzero(self.group.scores >= self._threshold)
        accepted_before = self._before[passed] >= self._threshold
        return passed[np.lexsort([-self.group.scores[passed], accepted_before])]

    def passes(self, position: int) -> tuple[float | None, float]:
        """Share of the ID images that score lower than the image before, if that was measured, and after."""
        before = self._before[position]
        return None if np.isnan(before) else self._rank(before), self._rank(self.group.scores[position])

    @cached_property
    def _threshold(self) -> float:
        return threshold_at_95(self.id_scores)

    @cached_property
    def _before(self) -> npt.NDArray[np.float64]:
        """Scores before (N,); not a number where they are unknown."""
        same = self.clean is not None and np.array_equal(self.clean.indices, self.group.indices)
        return self.clean.scores if self.clean is not None and same else np.full(len(self.group.scores), np.nan)

    def _rank(self, score: float) -> float:
        return float(np.mean(self.id_scores < score))


def sheet(attacked: Sequence[Attacked], originals: Callable[[Scores], ImageSet], share: int) -> Sheet:
    """Make the sheet of the images that passed under one task.

    Args:
        attacked: the task's image sets.
        originals: the images before the attack, by their scores; see `Originals.of`.
        share: of `BUDGET`, in bytes.
    """
    passed = {item.group.image_set: (len(item.passing), len(item.group.scores)) for item in attacked}
    with_images = [attacked_set for attacked_set in attacked if "images" in attacked_set.group.extras]
    if not with_images:
        return Sheet(passed, note="The attacked images were not kept: run the same command with --keep-images.")
    usable, notes = [], []
    for attacked_set in with_images:
        try:
            usable.append((attacked_set, _alike(originals(attacked_set.group), attacked_set.group)))
        except OodbenchError as error:
            notes.append(str(error))
    pictures, magnified = _pictures(usable, share)
    return Sheet(passed, pictures, magnified, "; ".join(notes))


def _alike(before: ImageSet, group: Scores) -> ImageSet:
    """The images before an attack; OodbenchError where those that a file holds from after it are of another shape."""
    kept, first = group.extras["images"], before.pixels(slice(1))
    if kept.dtype != first.dtype or kept.shape[1:] != first.shape[1:]:
        raise OodbenchError(f"the images kept of {group.image_set!r} are of another shape than those of the set")
    return before


def _pictures(usable: Sequence[tuple[Attacked, ImageSet]], share: int) -> tuple[list[Picture], int]:
    """Pictures of images that passed, from every set in turn, and by how much their differences are magnified.

    Args:
        usable: image sets after an attack, with their images before it.
        share: as `sheet` has it; the first picture is there whatever it takes.
    """
    turns = zip_longest(
        *([(attacked_set, before, position) for position in attacked_set.passing] for attacked_set, before in usable)
    )
    picks = islice((pick for pick in chain.from_iterable(turns) if pick), PICTURES)
    chosen = [(attacked_set, before.pixels(slice(at, at + 1))[0], at) for attacked_set, before, at in picks]
    changes = (_change(before, attacked_set.group.extras["images"][at]) for attacked_set, before, at in chosen)
    largest = max(changes, default=0)
    magnified = max(1, MIDDLE // largest) if largest else 1
    pictures: list[Picture] = []
    for attacked_set, before, at in chosen:
        group = attacked_set.group
        source = data_uri(before, group.extras["images"][at].astype(np.uint8), magnified)
        share -= len(source)
        if share < 0 and pictures:
            break
        rank_before, rank_after = attacked_set.passes(at)
        index, prediction = int(group.indices[at]), int(group.predictions[at])
        pictures.append(Picture(source, group.image_set, index, rank_before, rank_after, prediction))
    return pictures, magnified


def data_uri(before: Pixels, after: Pixels, magnified: int) -> str:
    """WebP of two images (H, W, 3) and their difference, side by side; lossless for small ones."""
    difference = (after.astype(np.int64) - before) * magnified + MIDDLE
    parts = [before, after, np.clip(difference, 0, 255).astype(np.uint8)]
    drawn = [_fitted(Image.fromarray(part)) for part in parts]
    width, height = drawn[0].size
    row = Image.new("RGBA", (3 * width + 2 * GAP, height))
    for number, part in enumerate(drawn):
        row.paste(part, (number * (width + GAP), 0))
    file = io.BytesIO()
    row.save(file, "WEBP", lossless=max(before.shape[:2]) <= SIDE, quality=90, method=4)
    return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"


def _fitted(image: Image.Image) -> Image.Image:
    if max(image.size) <= SIDE:
        return image
    factor = SIDE / max(image.size)
    return image.resize(
        (max(1, round(image.width * factor)), max(1, round(image.height * factor))), Image.Resampling.LANCZOS
    )


def _change(before: Pixels, after: npt.NDArray[np.uint8] | npt.NDArray[np.float64]) -> int:
    return int(np.abs(after.astype(np.int64) - before).max())
