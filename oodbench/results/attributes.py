"""Attributes of stored results that hold an object as JSON: "constants" of a group, "means" and others of a cell."""

import json
from typing import Any


def json_object(text: object) -> dict[str, Any]:
    """Return the object that an attribute, or a column of a tidy frame, holds as JSON; an empty one for "" and None.

    Raises:
        ValueError: it is not JSON. Results from `oodbench.results.folder.read_result` hold none that is not.
    """
    found: dict[str, Any] = json.loads(str(text or "{}"))
    return found
