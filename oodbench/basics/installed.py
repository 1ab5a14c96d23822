"""What installed packages offer under an entry-point group, looked up once: each look reads every package's files."""

import sys
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path


def offered(group: str) -> tuple[EntryPoint, ...]:
    """The entry points of `group`; anew where folders on Python's path have changed, as by an installation."""
    return _offered(group, tuple((folder, _changed(folder)) for folder in sys.path))


@lru_cache
def _offered(group: str, folders: tuple[tuple[str, int], ...]) -> tuple[EntryPoint, ...]:
    return tuple(entry_points(group=group))


def _changed(folder: str) -> int:
    """When something was put into a folder or taken out of it, in nanoseconds; 0 where it cannot be looked into."""
    try:
        return Path(folder).stat().st_mtime_ns
    except OSError:
        return 0
