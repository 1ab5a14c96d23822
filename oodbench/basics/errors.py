"""The exceptions that people are meant to read."""

from collections.abc import Iterable
from difflib import get_close_matches


class OodbenchError(Exception):
    """A mistake that the user can mend.

    The message is one line: what was wrong, what was expected, what to do. The command line prints it without a
    traceback and exits with code 2.
    """


class OodbenchWarning(UserWarning):
    """A number is there and cannot be taken at face value; the message says why."""


class NoGradientError(OodbenchError):
    """A score cannot be differentiated by the images; an attack that needs no gradient may still be possible."""


class StorageError(OodbenchError):
    """A file cannot be written, so that further work would be lost."""


def unknown(kind: str, name: str, known: Iterable[str], more: str = "") -> OodbenchError:
    """The error for a `name` that is not among the `known` ones of its `kind`, with the nearest one suggested.

    `more` says what else there would have been.
    """
    known = sorted(known)
    near = get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return OodbenchError(
        f"unknown {kind} {name!r}: {hint}known: {', '.join([*known, *filter(None, [more])]) or 'none'}"
    )
