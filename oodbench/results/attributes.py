"""Attributes of stored results that several rooms read: objects as JSON, such as "constants", and a failure."""

import json
from typing import Any

from oodbench.basics.words import in_one_line

FAILED = "failed"
"""The attribute of a cell that says why its detector could not be trained, fitted or scored; none where it could."""

FAILED_AT = "failed_at"
"""The attribute with the task/set that it failed at; empty where it could not even learn what it needs."""

FAILED_ON = "failed_on"
"""The attribute with the time of the failure, in ISO 8601."""


def json_object(text: object) -> dict[str, Any]:
    """Return the object that an attribute, or a column of a tidy frame, holds as JSON; an empty one for "" and None.

    Its texts can be printed, whatever letters JSON spelled out.

    Raises:
        ValueError: it is not JSON. Results from `oodbench.results.folder.read_result` hold none that is not.
    """
    found: dict[str, Any] = json.loads(str(text or "{}"), object_pairs_hook=_printable_object)
    return found


def _printable_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return {in_one_line(name): _printable_value(value) for name, value in pairs}


def _printable_value(value: Any) -> Any:
    """A value of an object; objects within it are printable already."""
    if isinstance(value, list):
        return [_printable_value(one) for one in value]
    return in_one_line(value) if isinstance(value, str) else value
