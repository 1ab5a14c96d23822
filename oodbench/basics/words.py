"""Words for people."""

import re


def counted(number: int, noun: str) -> str:
    """A number of things: "1 step", "1,200 steps"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def in_full(number: float) -> str:
    """A number that people copy, such as a threshold: all its digits, so that it can be read back exactly."""
    return repr(float(number))


LONGEST = 300
"""The number of letters that are shown of what somebody's file says of itself."""


def excerpt(text: str) -> str:
    """The beginning of what somebody's file says of itself, without letters that command a terminal."""
    return "".join(letter for letter in text if letter.isprintable())[:LONGEST]


def printable(text: str) -> str:
    """A name from somebody's file or archive with escapes for the letters that command a terminal."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def in_one_line(text: str) -> str:
    """A text from somebody's file as `printable`, its lines behind each other: a note ends where its line does."""
    return text if text.isprintable() else printable(" ".join(text.splitlines()))


def in_markdown_cell(text: str) -> str:
    """A text as one cell of a table in GitHub's markdown: in one line, its bars escaped, so that it ends no column."""
    # A backslash before a bar would take the escape's own backslash with it.
    return re.sub(r"(\\*)\|", r"\1\1\|", " ".join(text.splitlines()))
