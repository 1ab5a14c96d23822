"""Sets that a list of files cuts out of an archive: OpenOOD v1.5 defines all of its splits so.

Zhang et al. 2023, arXiv:2306.09301. A line of a list is the path of an image below the folder of all sets,
and its label.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from oodbench.basics.errors import OodbenchError
from oodbench.images.decoding import require_image
from oodbench.sources.archives import members, random_access
from oodbench.sources.photographs import PhotographReader
from oodbench.sources.readers import decode_square
from oodbench.sources.source import ImageFiles, Pixels, Reader


def listed_pictures(name: str, side: int) -> Reader:
    """The images that a list names, in its order and with its labels, resized as `readers.pictures` does.

    Files are the archive of images (zip or uncompressed tar) and the archive of lists.

    Args:
        name: of the list, in the archive of lists, below its first folder.
        side: of the result, in pixels.
    """
    return partial(_listed_pictures, name=name, side=side)


def _listed_pictures(paths: Sequence[Path], *, name: str, side: int) -> Pixels:
    images, labels = [], []
    for image, content, label in _read_listed(paths, name, 1):
        images.append(decode_square(content, side, f"{paths[0]}: {image}"))
        labels.append(label)
    return np.stack(images), np.asarray(labels, np.int64)


def listed_photographs(name: str, folders: int = 1) -> PhotographReader:
    """The image files that a list names, as `listed_pictures` has them, but as they are.

    Args:
        name: as there.
        folders: so many at the front of each path in the list do not stand in the archive.
    """
    return partial(_listed_photographs, name=name, folders=folders)


def _listed_photographs(paths: Sequence[Path], *, name: str, folders: int) -> ImageFiles:
    entries = _read_listed(paths, name, folders)
    return ImageFiles(
        (image, require_image(content, f"{paths[0]}: {image}"), label) for image, content, label in entries
    )


def _read_listed(paths: Sequence[Path], name: str, folders: int) -> Iterator[tuple[str, bytes, int]]:
    archive, lists = paths
    entries = [(path.split("/", folders)[-1], label) for path, label in _entries(lists, name)]
    with random_access(archive) as (names, read):
        place = _prefix_in_archive(entries[0][0], names, archive)
        known = set(names)
        if missing := [path for path, _ in entries if place + path not in known]:
            raise OodbenchError(
                f"{archive} lacks {len(missing)} of the {len(entries)} images of {name}, {missing[0]} for one: it is "
                "not the archive that the list speaks of"
            )
        for path, label in entries:
            yield path, read(place + path), label


def _prefix_in_archive(path: str, names: Sequence[str], archive: Path) -> str:
    """The prefix of a list's paths in the archive: some archives have a folder more than others."""
    matches = [name for name in names if name == path or name.endswith(f"/{path}")]
    if not matches:
        raise OodbenchError(f"{archive} has no {path}: it is not the archive that the list speaks of")
    return min(matches, key=len).removesuffix(path)


def _entries(lists: Path, name: str) -> list[tuple[str, int]]:
    content = _list_content(lists, lambda member: member.partition("/")[2] == name)
    if content is None:
        raise OodbenchError(f"{lists} has no list {name}: it is not the archive it should be")
    try:
        lines = [line.rsplit(" ", 1) for line in content.decode().splitlines() if line.strip()]
        entries = [(path, int(label)) for path, label in lines]
    except ValueError as error:
        raise OodbenchError(
            f"{lists}: {name} is not a list of paths and labels ({error}): it is not the archive it should be"
        ) from error
    if not entries:
        raise OodbenchError(f"{lists}: {name} is empty: it is not the archive it should be")
    return entries


def _list_content(lists: Path, wanted: Callable[[str], bool]) -> bytes | None:
    return next((content for member, content in members(lists) if wanted(member)), None)
