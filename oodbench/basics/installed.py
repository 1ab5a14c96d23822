"""Entry points of installed packages, looked up once: each look reads every package's files."""

import sys
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path


def installed_entry_points(group: str) -> tuple[EntryPoint, ...]:
    """The entry points of `group`; anew where folders on Python's path have changed, as by an installation."""
    return _entry_points(group, tuple((folder, _changed_at(folder)) for folder in sys.path))


@lru_cache
def _entry_points(group: str, folders: tuple[tuple[str, int], ...]) -> tuple[EntryPoint, ...]:
    return tuple(entry_points(group=group))


def _changed_at(folder: str) -> int:
    """The time at which something was put into a folder or taken out of it, in nanoseconds; 0 if it cannot be read."""
    try:
        return Path(folder).stat().st_mtime_ns
    except OSError:
        return 0
