"""The class of an image file: by the folders around it, or by a list of classes that its user gives."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from oodbench.basics.errors import OodbenchError
from oodbench.basics.words import counted, printable
from oodbench.sources.folders import Picture, Survey, few_names

PARTS = frozenset({"train", "training", "test", "testing", "val", "valid", "validation"})
"""Folders of these names are parts of a set, and no classes."""

IN_A_LINE = 40
"""Classes that get a line each; more are said in one."""

WORDNET_NAME = re.compile(r"(n\d{8})\s.*")
"""A line of a list of ImageNet's classes: the class, and behind it a description in words."""

KNOWN_LISTS = ("imagenet-1k",)
"""Names that may be given in place of a file: lists of classes that timm has."""

LARGEST_LIST = 16 << 20
"""Bytes that a list of classes may have; that of ImageNet-21k, with descriptions, has less than 2 MB."""


class Classes(Protocol):
    """The meaning of labels, and the label of each image."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the classes, by label; none where the images have no labels."""

    def label(self, picture: Picture) -> int:
        """The label of an image; -1 if it has none."""

    def notes(self, sizes: Counter[int], pictures: Sequence[Picture]) -> Iterator[str]:
        """Yield all that people should know of the classes, a line each; `sizes` are numbers of images by label."""


@dataclass(frozen=True)
class FolderClasses:
    """Classes by folder: the first folder below those that all images share.

    Attributes:
        depth: folders around the class folders, which hold nothing else.
        names: of the classes, by label; none where the images have no labels.
        empty: folders beside the class folders, or beside those around them, in which there is no image.
    """

    depth: int
    names: tuple[str, ...]
    empty: tuple[str, ...]

    def label(self, picture: Picture) -> int:
        """The label of an image; -1 if it lies beside the class folders, or if there are none."""
        if not self.names or len(picture.parts) < self.depth + 2:
            return -1
        return self.names.index(picture.parts[self.depth])

    def notes(self, sizes: Counter[int], pictures: Sequence[Picture]) -> Iterator[str]:
        """See `Classes`."""
        if self.names:
            yield from self._folder_notes(sizes, pictures)
        else:
            yield "labels: none, since there are no two folders of images that could be classes"
        if self.empty:
            yield f"no classes, as no image is in them: {few_names(self.empty)}"

    def _folder_notes(self, sizes: Counter[int], pictures: Sequence[Picture]) -> Iterator[str]:
        around = f" (inside {'/'.join(pictures[0].parts[: self.depth])})" if self.depth else ""
        how = "numbers" if list(self.names) != sorted(self.names) else "names"
        yield f"{len(self.names)} classes, labels in the order of the folders' {how}{around}:"
        yield from _class_lines(self.names, sizes, range(len(self.names)))
        if sizes[-1]:
            beside = counted(sizes[-1], "image")
            yield f"{beside} beside the class folders without a label (-1): no run takes that for ID"
        if deep := sum(len(picture.parts) > self.depth + 2 for picture in pictures):
            yield f"{counted(deep, 'image')} in further folders inside a class: the first folder is the class"
        if {name.lower() for name in self.names} <= PARTS:
            parts = few_names(self.names)
            yield f"are {parts} classes? They look like the parts of a set: pack each of them for itself"
        folded = Counter(name.casefold() for name in self.names)
        if alike := [name for name in self.names if folded[name.casefold()] > 1]:
            yield f"classes whose names differ by capital letters alone: {few_names(alike)}"


@dataclass(frozen=True)
class ListedClasses:
    """The classes of a list, of which there may be more than images show: labels are their places in it, from 0.

    An image is of the class that the innermost of its folders is called after; if none is, of the one whose name its
    own begins with, up to `_`, `-`, a blank or a full stop.

    Attributes:
        names: of the classes, by label.
        source: where the list comes from, for people.
    """

    names: tuple[str, ...]
    source: str

    @cached_property
    def _places(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self.names)}

    def label(self, picture: Picture) -> int:
        """The label of an image; -1 if it is of none of the classes."""
        *folders, name = picture.parts
        for folder in reversed(folders):
            if folder in self._places:
                return self._places[folder]
        ends = [mark.start() for mark in re.finditer(r"[_\-. ]", name)]
        return next((self._places[name[:end]] for end in reversed(ends) if name[:end] in self._places), -1)

    def require(self, pictures: Iterable[Picture]) -> None:
        """Check that every image is of one of the classes.

        Raises:
            OodbenchError: some are of none.
        """
        if unknown := [picture.name for picture in pictures if self.label(picture) < 0]:
            raise OodbenchError(
                f"{len(unknown):,} images are of no class of {self.source} ({few_names(self.names, 3)}), and nothing "
                f"was written: {few_names(unknown)}. A folder around an image has the name of its class, or the "
                "image's own name begins with that, as in n01440764_tench.JPEG; pack images of no class apart, without "
                "--classes"
            )

    def notes(self, sizes: Counter[int], pictures: Sequence[Picture]) -> Iterator[str]:
        """See `Classes`."""
        shown = sorted(label for label in sizes if label >= 0)
        yield f"{len(self.names):,} classes, labels in the order of {self.source}, with images of {len(shown):,}:"
        yield from _class_lines(self.names, sizes, shown)


def folder_classes(survey: Survey) -> FolderClasses:
    """Take the first folder below those that all images share for the class; fewer than two such make no labels."""
    depth, places = 0, [picture.parts[:-1] for picture in survey.pictures]
    while len({place[depth : depth + 1] for place in places}) == 1 and any(len(place) > depth + 1 for place in places):
        depth += 1
    around = places[0][:depth] if places else ()
    names = {place[depth] for place in places if len(place) > depth}
    taken = {place[: level + 1] for place in places for level in range(depth + 1)}
    beside = {place for place in survey.folders if len(place) <= depth + 1 and place[:-1] == around[: len(place) - 1]}
    empty = tuple(sorted("/".join(place[-1:] if len(place) == depth + 1 else place) for place in beside - taken))
    return FolderClasses(depth, tuple(sorted_names(names)) if len(names) > 1 else (), empty)


def listed_classes(given: str) -> ListedClasses:
    """Read the classes in a text file, one a line, or take those of a data set that timm knows.

    Behind a WordNet name, as ImageNet's classes have, and behind a tab there may be a description: it is passed over.

    Args:
        given: path of the file, or one of `KNOWN_LISTS`.

    Raises:
        OodbenchError: there is no such file, or it is no list of classes.
    """
    if given in KNOWN_LISTS and not Path(given).exists():
        # Imported where it is used: it takes seconds.
        from timm.data.imagenet_info import ImageNetInfo

        known: Any = ImageNetInfo(given)
        return ListedClasses(tuple(known.label_names()), given)
    names = tuple(_class_name(line) for line in _lines(Path(given).expanduser()))
    if len(names) < 2 or not all(names):
        raise OodbenchError(
            f"{given} names {len(names)} class{'' if len(names) == 1 else 'es'}, or has empty lines among them: give a "
            "text file with the names of two or more classes, one a line, in the order of the network's outputs"
        )
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise OodbenchError(f"{given} has {few_names(twice)} more than once: a line for each class, in order of labels")
    return ListedClasses(names, given)


def sorted_names(names: Iterable[str]) -> list[str]:
    """Sort names; where all begin with a number, by that."""
    names = sorted(names)
    leading_numbers = [re.match("[0-9]+", name) for name in names]
    if not all(leading_numbers):
        return names
    known = {name: number[0].lstrip("0") for name, number in zip(names, leading_numbers, strict=True) if number}
    return sorted(names, key=lambda name: (len(known[name]), known[name], name))


def _lines(path: Path) -> list[str]:
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_LIST + 1)
        if len(content) > LARGEST_LIST:
            raise ValueError(f"it is larger than {LARGEST_LIST >> 20} MiB")
        return content.decode("utf-8-sig").rstrip().splitlines()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise OodbenchError(
            f"{path} cannot be read as a list of classes ({reason}): give a text file with the name of a class in each "
            f"line, in order of labels, or {', '.join(KNOWN_LISTS)}"
        ) from error


def _class_name(line: str) -> str:
    first = line.partition("\t")[0].strip()
    described = WORDNET_NAME.fullmatch(first)
    return described[1] if described else first


def _class_lines(names: Sequence[str], sizes: Counter[int], labels: Sequence[int]) -> Iterator[str]:
    """Yield label, name and number of images of each class."""
    names = [printable(name) for name in names]
    if len(labels) > IN_A_LINE:
        yield "  " + ", ".join(f"{label} {names[label]} ({sizes[label]:,})" for label in labels)
    else:
        yield from (f"  {label:>3}  {names[label]}: {counted(sizes[label], 'image')}" for label in labels)
