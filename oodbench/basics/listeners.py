"""Functions that are told in words what long work does."""

from collections.abc import Callable

Say = Callable[[str], None]
"""Called with one line for people, without an end of line."""


def unheard(_: str) -> None:
    """Drop the line: for callers who do not want to be told."""
