"""Attributes of stored results that several rooms read: objects as JSON, such as "constants", and a failure."""

import json
from typing import Any

FAILED = "failed"
"""The attribute of a cell that says why its detector could not be trained, fitted or scored; none where it could."""

FAILED_AT = "failed_at"
"""The attribute with the task/set that it failed at; empty where it could not even learn what it needs."""

FAILED_ON = "failed_on"
"""The attribute with the time of the failure, in ISO 8601."""


def json_object(text: object) -> dict[str, Any]:
    """Return the object that an attribute, or a column of a tidy frame, holds as JSON; an empty one for "" and None.

    Raises:
        ValueError: it is not JSON. Results from `oodbench.results.folder.read_result` hold none that is not.
    """
    found: dict[str, Any] = json.loads(str(text or "{}"))
    return found
