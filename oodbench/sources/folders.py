"""Surveys of folders and archives: the images in them, and what there is beside them.

Nothing is left out without a word: whatever is not taken as an image is named, with the reason.
"""

import mimetypes
import os
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO

from oodbench.basics.errors import OodbenchError
from oodbench.basics.words import printable
from oodbench.images.decoding import SUFFIXES, suffix
from oodbench.sources.archives import LARGEST, entries, reading_archive

SYSTEM = frozenset(
    {
        "__macosx",
        "__pycache__",
        "$recycle.bin",
        "system volume information",
        "lost+found",
        "@eadir",
        "@recycle",
        "#recycle",
        "#snapshot",
        "@tmp",
        "network trash folder",
        "temporary items",
        "thumbs.db",
        "ehthumbs.db",
        "desktop.ini",
        "icon\r",
    }
)
"""Folders and files that systems leave behind, in lower case; those that begin with a dot need no list."""

MARKS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*")
"""First bytes of images whose name does not say that they are; WebP's are not at the beginning alone."""

HEAD = 16
"""Bytes at the beginning of a file that are looked at."""

UNREAD = frozenset(
    f".{kind}"
    for kind in (
        *("heic", "heif", "avif", "jxl", "svg", "svgz", "eps", "wmf", "emf", "exr", "hdr"),
        *("dng", "raw", "cr2", "cr3", "nef", "arw", "orf", "rw2", "raf"),
    )
)
"""Suffixes of images that Pillow does not decode (AVIF: on some machines); `mimetypes` knows more."""

HIDDEN = "hidden or left behind by a system"
OUTSIDE = "name leads outside the archive"
LOOPS = "link to a folder that is read already"
DANGLES = "link that leads nowhere"
NO_FILE = "neither file nor folder"
ARCHIVED_LINK = "link inside an archive"
TWICE = "same name once more, the last one is taken"
NO_IMAGE = "no image"
"""The reasons for which files are left out."""


@dataclass(frozen=True)
class Picture:
    """An image file.

    Attributes:
        key: its path, or its place in an archive.
        parts: folders below the one given, or in the archive, and its name; as text.
        amiss: why it cannot be read, as far as that is known without decoding it.
    """

    key: Path | int
    parts: tuple[str, ...]
    amiss: str = ""

    @property
    def name(self) -> str:
        """Its path below the folder given, or in the archive."""
        return "/".join(self.parts)


@dataclass
class Survey:
    """The files in a folder or an archive.

    Attributes:
        path: the folder or archive.
        pictures: image files, by class and name; of an archive whose files come one after the other, see `contents`.
        folders: all of them, also without images.
        left_out: names by the reason why they are.
    """

    path: Path
    pictures: list[Picture] = field(default_factory=list)
    folders: set[tuple[str, ...]] = field(default_factory=set)
    left_out: dict[str, list[str]] = field(default_factory=dict)

    def leave_out(self, name: str, reason: str) -> None:
        """Note that a file is left out, once."""
        names = self.left_out.setdefault(reason, [])
        if name not in names[-1:]:
            names.append(name)


def survey(path: Path) -> Survey:
    """Survey all that is in a folder, whose links are followed, or in an archive.

    Raises:
        OodbenchError: a folder cannot be read, or the archive is damaged.
    """
    surveyed = Survey(path)
    if path.is_dir():
        _walk_all(surveyed)
        surveyed.pictures.sort(key=lambda picture: picture.parts)
    else:
        _list(surveyed)
    return surveyed


def contents(surveyed: Survey) -> Iterator[tuple[Picture, bytes]]:
    """Yield each image file and its content; of an archive in its order. Unreadable ones have `amiss` and no content.

    Raises:
        OodbenchError: the archive is damaged.
    """
    if surveyed.path.is_dir():
        for picture in surveyed.pictures:
            yield _read(picture, _opener(Path(str(picture.key))))
        return
    by_place = {picture.key: picture for picture in surveyed.pictures}
    for place, entry in enumerate(entries(surveyed.path)):
        if place in by_place:
            with reading_archive(surveyed.path):
                picture_content = _read(by_place[place], entry.open)
            yield picture_content


def _read(picture: Picture, opening: Callable[[], IO[bytes]]) -> tuple[Picture, bytes]:
    if picture.amiss:
        return picture, b""
    try:
        with opening() as stream:
            content = stream.read(LARGEST + 1)
    except OSError as error:
        if isinstance(picture.key, int):  # it is the archive that cannot be read
            raise
        return replace(picture, amiss=str(error.strerror)), b""
    if len(content) > LARGEST:
        return replace(picture, amiss=f"it is larger than {LARGEST >> 20} MiB"), b""
    return picture, content


def _opener(path: Path) -> Callable[[], IO[bytes]]:
    return lambda: path.open("rb")


def _walk_all(surveyed: Survey) -> None:
    """Note all files, links to folders last: where two ways lead to one folder, its own name counts, and loops end."""
    seen, links = {surveyed.path.resolve()}, []
    links += _walk(surveyed, surveyed.path, (), seen)
    while links:
        link, parts = links.pop(0)
        target = link.resolve()
        if target in seen or target in surveyed.path.resolve().parents:
            surveyed.leave_out("/".join(parts), LOOPS)
        else:
            seen.add(target)
            surveyed.folders.add(parts)
            links += _walk(surveyed, link, parts, seen)


def _walk(
    surveyed: Survey, folder: Path, above: tuple[str, ...], seen: set[Path]
) -> list[tuple[Path, tuple[str, ...]]]:
    """Note what is in a folder and those below it, and return the links to folders that were met."""
    try:
        inside = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise OodbenchError(
            f"{folder} cannot be read ({error.strerror}): allow that, or pack another folder"
        ) from error
    links = []
    for entry in inside:
        path, parts = Path(entry.path), (*above, *_split(entry.name))
        if reason := _reason_to_leave_out(parts):
            surveyed.leave_out(_visible_name(parts), reason)
        elif entry.is_symlink() and path.is_dir():
            links.append((path, parts))
        elif entry.is_dir():
            if path.resolve() in seen:
                surveyed.leave_out("/".join(parts), LOOPS)
                continue
            seen.add(path.resolve())
            surveyed.folders.add(parts)
            links += _walk(surveyed, path, parts, seen)
        elif not path.is_file():
            surveyed.leave_out("/".join(parts), DANGLES if entry.is_symlink() else NO_FILE)
        else:
            _note_file(surveyed, path, parts, _opener(path))
    return links


def _list(surveyed: Survey) -> None:
    last: dict[tuple[str, ...], Picture] = {}
    for place, entry in enumerate(entries(surveyed.path)):
        split = _split(entry.name)
        if reason := _reason_to_leave_out(split):
            surveyed.leave_out(_visible_name(split), reason)
        elif entry.kind == "folder":
            surveyed.folders.add(split)
        elif entry.kind == "link":
            surveyed.leave_out("/".join(split), ARCHIVED_LINK)
        elif entry.kind == "device":
            surveyed.leave_out("/".join(split), NO_FILE)
        else:
            surveyed.folders |= {split[:depth] for depth in range(1, len(split))}
            before = len(surveyed.pictures)
            with reading_archive(surveyed.path):
                _note_file(surveyed, place, split, entry.open)
            if len(surveyed.pictures) > before:
                if split in last:
                    surveyed.leave_out("/".join(split), TWICE)
                last[split] = surveyed.pictures[-1]
    surveyed.pictures = [picture for picture in surveyed.pictures if last[picture.parts] is picture]


def _note_file(surveyed: Survey, key: Path | int, parts: tuple[str, ...], opening: Callable[[], IO[bytes]]) -> None:
    """Note a file, as an image if its name says that it is one, or else if its first bytes do."""
    kind = suffix(parts[-1])
    if kind in SUFFIXES:
        surveyed.pictures.append(Picture(key, parts))
        return
    if kind in UNREAD or (mimetypes.guess_type(parts[-1])[0] or "").startswith("image/"):
        surveyed.pictures.append(
            Picture(key, parts, f"{kind[1:].upper()} is a kind that Pillow does not read: convert it")
        )
        return
    try:
        with opening() as stream:
            head = stream.read(HEAD)
    except OSError as error:
        if isinstance(key, int):
            raise
        surveyed.pictures.append(Picture(key, parts, str(error.strerror)))
        return
    if head.startswith(MARKS) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP"):
        surveyed.pictures.append(Picture(key, parts))
    else:
        surveyed.leave_out("/".join(parts), NO_IMAGE)


def _split(name: str) -> tuple[str, ...]:
    """Split a path into folders and name; backslashes are separators, as some Windows programs write them."""
    return tuple(_printable_part(part) for part in name.replace("\\", "/").split("/") if part not in ("", "."))


def _printable_part(part: str) -> str:
    """A part of a path as text to print and store, whatever its bytes; accents are one character."""
    raw = part.encode("utf-8", "surrogateescape")
    return unicodedata.normalize("NFC", raw.decode("utf-8", "backslashreplace"))


def _reason_to_leave_out(parts: tuple[str, ...]) -> str:
    if not parts or ".." in parts:
        return OUTSIDE
    return HIDDEN if any(_is_hidden(part) for part in parts) else ""


def _is_hidden(part: str) -> bool:
    return part.startswith(".") or part.lower() in SYSTEM


def _visible_name(parts: tuple[str, ...]) -> str:
    """The path up to the first hidden folder: what is in that need not be listed."""
    hidden = next((place for place, part in enumerate(parts) if _is_hidden(part) and part != ".."), len(parts))
    return "/".join(parts[: hidden + 1]) or "."


def few_names(names: Iterable[str], most: int = 8) -> str:
    """The first names, at most `most`, and how many more there are, for people."""
    names = [printable(name) for name in names]
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
