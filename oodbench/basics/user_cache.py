"""Texts that take long to find, kept in the user's cache folder beside the digest of what they depend on."""

import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from oodbench.basics.errors import StorageError
from oodbench.basics.files import digest, write_atomic


def cached_texts(name: str, key: str, find: Callable[[], Mapping[str, str]]) -> Mapping[str, str]:
    """Return texts by name: those that are kept under `key`, or what `find` gives, which is then kept in their place.

    Where nothing can be kept, or what is there cannot be read, they are found again each time.

    Args:
        name: of the file, without a suffix.
        key: digest of all that they depend on.
        find: what takes long.
    """
    folder = _cache_folder()
    file = folder and folder / f"{name}.json"
    stored = _read(file) if file else {}
    texts = stored.get("texts")
    if stored.get("key") == key and isinstance(texts, dict) and all(isinstance(text, str) for text in texts.values()):
        return texts
    fresh = find()
    if file:
        with suppress(StorageError):
            write_atomic(file, json.dumps({"key": key, "texts": dict(fresh)}).encode())
    return fresh


def sources_digest(*folders: Path) -> str:
    """SHA-256 over every file of Python below some folders, whatever is written in it."""
    files = [(folder, file) for folder in folders for file in sorted(folder.rglob("*.py"))]
    return digest(*(part for folder, file in files for part in (str(file.relative_to(folder)), file.read_bytes())))


def _cache_folder() -> Path | None:
    """The folder for cached files; None where the user has no home."""
    given = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    try:
        return (Path(given) if given else Path.home() / ".cache") / "oodbench"
    except RuntimeError:
        return None


def _read(file: Path) -> Mapping[str, object]:
    try:
        content = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
