"""What a file must hold to count as a result: the kind of every attribute that is read anywhere, and arrays that agree.

Files come from anywhere. What is refused here is named once, and no table, check or page has to expect it.
"""

import json
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from oodbench.results.attributes import FAILED, FAILED_AT, FAILED_ON
from oodbench.results.store import Scores
from oodbench.statistics.honesty import CHECK
from oodbench.tasks import ID_TASK
from oodbench.tasks.task import SIDES

MOST_IMAGES = 2**24
"""No image set has so many: places in it are counted, and memory is taken for each."""

FARTHEST = 2**31
"""No ball has such a radius, in 1/255."""

LARGEST = 1e300
"""No score is so large; beyond it, differences and means of scores are no numbers."""

DEEPEST = 50
"""No object of ours is nested so deep, and readers that go down into one have an end of their own."""

SOURCES = ("heldout", "id-test")
"""Images that a detector may have been tuned on."""

MAY_LACK = ("continued",)
"""Extras that are not a number for some images: only a few are climbed on with."""

MAY_BE_ANYTHING = ("objective_before", "objective_after")
"""Extras that a user's network may leave infinite; they are only held against each other."""


@dataclass(frozen=True)
class Kind:
    """What an attribute may be.

    Attributes:
        words: for people.
        admits: whether a value is one.
    """

    words: str
    admits: Callable[[Any], bool]


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63


def _is_number(value: object) -> bool:
    return isinstance(value, float) or _is_whole(value)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _are_texts(values: object) -> bool:
    return isinstance(values, list) and all(map(_is_text, values))


def _are_words(text: object) -> bool:
    """True if a shell could read it."""
    try:
        return isinstance(text, str) and shlex.split(text) is not None
    except ValueError:  # a quotation that does not end
        return False


def _are_means(sets_of_mean: Mapping[str, Any]) -> bool:
    lists_alone = all(_are_texts(sets) and len(set(sets)) == len(sets) for sets in sets_of_mean.values())
    return lists_alone and (not sets_of_mean or "all" in sets_of_mean)


def _is_tuning(record: Mapping[str, Any]) -> bool:
    counts = [record.get(name) for name in ("id_images", "outliers")]
    seen = record.get("perhaps_seen", [])
    return not record or (record.get("source") in SOURCES and all(map(_is_whole, counts)) and _are_texts(seen))


def _are_constants(constants: Mapping[str, Any]) -> bool:
    radius, side = constants.get("epsilon", 0), constants.get("side", SIDES[0])
    within = _is_number(radius) and 0 <= radius < FARTHEST  # which no NaN is
    return within and side in SIDES and _is_text(constants.get("kind", ""))


def _json(words: str, admits: Callable[[Mapping[str, Any]], bool]) -> Kind:
    """The kind of a text that holds an object as JSON, or nothing."""

    def is_one(text: object) -> bool:
        found = _parse_json(text or "{}") if isinstance(text, str) else None
        return isinstance(found, dict) and _is_shallow(found) and admits(found)

    return Kind(f"JSON of {words}", is_one)


def _parse_json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _is_shallow(value: object, depth: int = DEEPEST) -> bool:
    within = [*value.values()] if isinstance(value, dict) else value if isinstance(value, list) else []
    return depth > 0 and all(_is_shallow(one, depth - 1) for one in within)


TEXT = Kind("text", _is_text)
WHOLE = Kind("a whole number", _is_whole)
COUNT = Kind("a count", lambda value: _is_whole(value) and 0 <= value < 2**31)
FINITE = Kind("a finite number", lambda value: _is_number(value) and bool(np.isfinite(value)))
NUMBER = Kind("a number", _is_number)
CONSTANTS = _json("a task, with a finite radius and a side", _are_constants)

REQUIRED: Mapping[str, Kind] = {
    **dict.fromkeys(("suite", "suite_fingerprint", "detector", "network", "network_digest"), TEXT),
    **dict.fromkeys(("suite_version", "seed"), WHOLE),
    **dict.fromkeys(("limit", "images"), COUNT),
}
"""The attributes of a cell without which nobody could say what its numbers are."""

OF_CELL: Mapping[str, Kind] = {
    **REQUIRED,
    **dict.fromkeys(("scoring_version", "training_version"), COUNT),
    **dict.fromkeys(("settings", "plugin", "data", "unlike", "paper", "code", "over", "over_code"), TEXT),
    **dict.fromkeys(("checkpoint", "features", "pretrained", "network_file", "trained_on", "objective"), TEXT),
    **dict.fromkeys((FAILED, FAILED_AT, FAILED_ON), TEXT),
    "options": Kind("words of a command", _are_words),
    "means": _json('lists of image sets, "all" among them', _are_means),
    "parameters": _json("parameters", lambda _: True),
    "tuned": _json("what its detector was tuned on", _is_tuning),
    "learned_from": _json("digests", lambda digests: all(map(_is_text, digests.values()))),
}
"""The attributes of a cell that are read, where they are there."""

OF_GROUP: Mapping[str, Kind] = {
    "constants": CONSTANTS,
    **dict.fromkeys(("threat", "distance", "source", "labels_note", "images_note", "id_task", "key"), TEXT),
    **dict.fromkeys(("fingerprint", "id_fingerprint", "network_digest", "images_sha256"), TEXT),
    **dict.fromkeys(("date", "device", "hardware", "torch", "python", "oodbench"), TEXT),
    **dict.fromkeys(("looks", "stops_at"), FINITE),
}
"""The attributes of a group that are read, where they are there; besides these its checks are numbers."""


def format_problem(attributes: Mapping[str, Any], groups: Sequence[Scores]) -> str:
    """Say what a file of our format lacks of what every run writes; "" if nothing."""
    return next(_problems(attributes, groups), "")


def _problems(attributes: Mapping[str, Any], groups: Sequence[Scores]) -> Iterator[str]:
    if missing := sorted({*REQUIRED} - attributes.keys()):
        yield f"it does not say its {', '.join(missing)}"
    yield from _attribute_problems("", attributes, OF_CELL)
    id_groups = [group.task for group in groups if group.role == "id"]
    if ID_TASK not in id_groups and not attributes.get(FAILED):
        yield "it has no scores of ID images"
    if repeated := [task for task in id_groups if id_groups.count(task) > 1]:
        yield f"it has several sets of ID images under {repeated[0]}"
    for group in groups:
        yield from _group_problems(group)


def _attribute_problems(whose: str, attributes: Mapping[str, Any], kinds: Mapping[str, Kind]) -> Iterator[str]:
    for name, value in attributes.items():
        kind = kinds.get(name)
        if kind and not kind.admits(value):
            yield f"the attribute {name}{whose} is {str(value)[:40]!r}, expected {kind.words}"


def _group_problems(group: Scores) -> Iterator[str]:
    where = f"{group.task}/{group.image_set}"
    checks = dict.fromkeys((name for name in group.attributes if name.startswith(CHECK)), NUMBER)
    yield from _attribute_problems(f" of {where}", group.attributes, {**OF_GROUP, **checks})
    if group.task == ID_TASK and group.role != "id":
        yield f"{where} are no ID images"
    if not len(group.scores):
        yield f"it has no scores in {where}"
    elif group.indices.min() < 0 or group.indices.max() >= MOST_IMAGES:
        yield f"of {where} the indices are no places in an image set"
    elif len(np.unique(group.indices)) < len(group.indices):
        yield f"of {where} some images are there twice"
    if not (np.abs(group.scores) <= LARGEST).all():
        yield f"of {where} the scores are beyond all measure"
    for name, values in group.extras.items():
        known = values[~np.isnan(values)] if name in MAY_LACK else values
        if name not in MAY_BE_ANYTHING and not (np.abs(known) <= LARGEST).all():
            yield f"of {where} {name!r} is not all numbers"
